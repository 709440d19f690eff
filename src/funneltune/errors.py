"""Every error that a user can mend, under one root: the CLI prints it as one line and exits with 2 (failures: 1)."""

from signal import Signals


class FunnelError(Exception):
    """Root of the errors that a user can cause and mend.

    The message names the field, its value, the rule and the remedy, in one line.
    """

    status = 2
    """Exit status of a program that it ends."""


class ConfigError(FunnelError):
    """A config key or value is wrong, alone or together with others."""


class DataError(FunnelError):
    """A log, a column or a label breaks a rule of the data."""


class TuningError(FunnelError):
    """A tuning method cannot do what it was asked, or did not reach what it promised."""


class Interrupted(SystemExit):
    """A signal ended the program. Its exit status is the shell's for that signal: 143 for SIGTERM, 130 for SIGINT."""

    def __init__(self, signum: int, told: str = "") -> None:
        super().__init__(128 + signum)
        self.signum = signum
        self.told = told
        """What happened and how to go on, in one line."""

    def __str__(self) -> str:
        return self.told or f"stopped by {Signals(self.signum).name}"


class RunError(FunnelError):
    """A run, a study or their folders are not as they must be."""


class FailedRunError(RunError):
    """Rightly asked for, and it could not be carried out: a full disk, a model that diverged."""

    status = 1
    retry = True
    """Whether the very same command may do better."""


class LostProcessError(FailedRunError):
    """A process that a run needs (a loader's worker, another rank) ended or hangs; its checkpoints are good."""


class NoMemoryError(FailedRunError):
    """A batch did not fit into memory, and would not fit a second time."""

    retry = False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: on a device, in PyTorch's CPU allocator, or in Python and NumPy."""
    said = str(error).lower()
    told = ("can't allocate memory", "out of memory", "alloc_failed")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(words in said for words in told))
