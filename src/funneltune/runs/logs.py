"""What a run says: Lightning's chatter goes to the run's train.log, warnings alone to the terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from funneltune.secrets import redacted

TALKERS = ("lightning.pytorch", "lightning.fabric", "funneltune", "py.warnings")
logger = logging.getLogger("funneltune")


class Redacting(logging.Formatter):
    """Lines, and tracebacks below them, without secrets: an error may quote an address or a header."""

    def format(self, record: logging.LogRecord) -> str:
        """One line and what belongs to it."""
        return redacted(super().format(record))


@contextmanager
def train_log(folder: Path | None) -> Iterator[None]:
    """Collect what is logged meanwhile in `folder`/train.log (nowhere where it is None)."""
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if folder is not None:
        handlers = [logging.FileHandler(folder / "train.log")]
        handlers[0].setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    kept = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in TALKERS}
    logging.captureWarnings(True)
    try:
        for name in TALKERS:
            talker = logging.getLogger(name)
            talker.handlers, talker.propagate = handlers[:], False
            talker.setLevel(logging.INFO)
        with warnings.catch_warnings():
            # Advice about workers, a frozen backbone in eval mode (it is meant to be), a deprecation inside Lightning.
            warnings.filterwarnings("ignore", message=".*module\\(s\\) in eval mode.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        logging.captureWarnings(False)
        for name, (before, propagate) in kept.items():
            logging.getLogger(name).handlers, logging.getLogger(name).propagate = before, propagate
        handlers[0].close()
