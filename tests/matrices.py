"""Wide matrices: what of them each tier runs."""

import pytest


def sampled(values, every=3):
    """All of them as parameters; those that are not every third are left to `make slow ALL=1` and `make faults`."""
    return [
        value if place % every == 0 else pytest.param(value, marks=pytest.mark.exhaustive)
        for place, value in enumerate(values)
    ]
