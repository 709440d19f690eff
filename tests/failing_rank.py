"""`funneltune` with a rank that fails, for `test_ranks_that_die.py`: FAIL=kill|raise|refuse|terminate|stop|memory,
RANK_THAT_FAILS, AT_STEP, and FAILED_AT, a file that is made when it happens.
"""

import os
import signal
import sys
from pathlib import Path

from funneltune.cli import main
from funneltune.errors import DataError
from funneltune.modules import FunnelModule

training_step = FunnelModule.training_step


def fails(self, batch, batch_idx):
    """A training step that goes wrong, once."""
    mine = int(os.environ.get("LOCAL_RANK", "0")) == int(os.environ["RANK_THAT_FAILS"])
    if mine and self.global_step == int(os.environ["AT_STEP"]):
        Path(os.environ["FAILED_AT"]).touch()
        match os.environ["FAIL"]:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
            case "raise":
                raise ValueError("no such colour")
            case "refuse":
                raise DataError("row 7: label 5 must be 0 or 1.")
    return training_step(self, batch, batch_idx)


if __name__ == "__main__":
    if "FAIL" in os.environ:
        FunnelModule.training_step = fails
    sys.exit(main(sys.argv[1:]))
