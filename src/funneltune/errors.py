"""Every error that a user can cause, under one root: the CLI prints it as one line and exits with 2."""


class FunnelError(Exception):
    """Root of the errors that a user can cause and mend.

    The message names the field, its value, the rule and the remedy, in one line.
    """


class ConfigError(FunnelError):
    """A config key or value is wrong, alone or together with others."""


class DataError(FunnelError):
    """A log, a column or a label breaks a rule of the data."""


class TuningError(FunnelError):
    """A tuning method cannot do what it was asked, or did not reach what it promised."""


class RunError(FunnelError):
    """A run, a study or their folders are not as they must be."""
