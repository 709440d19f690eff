"""Everything that can go wrong, tried: the tests that carry the mark `tried`, counted by row and kind."""
