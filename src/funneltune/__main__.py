"""`python -m funneltune` is `funneltune`."""

import sys

from funneltune.cli import main

sys.exit(main())
