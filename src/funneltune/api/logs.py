"""What a log holds, before any training, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.api.results import told
from funneltune.api.verbs import arguments_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from funneltune.data.describe import Checked
    from funneltune.data.drift import Drift


@told
def validate(*words: str, config_dir: Path | str | None = None) -> Checked:
    """Read a whole log as a run would and look for leaks; `print(validate(...).in_words())` says what is there.

    Raises:
        DataError: with every fault of the log, row by row.
    """
    from funneltune.cli.data import validated

    return validated(_config_of_log(words, config_dir))[0]


@told
def describe(*words: str, config_dir: Path | str | None = None) -> dict[str, Any]:
    """What a log holds: rows, rates, splits, what was dropped or filled.

    Raises:
        FunnelError: what config or log have wrong.
    """
    from funneltune.cli.data import described

    return described(_config_of_log(words, config_dir))


@told
def drift(*words: str, config_dir: Path | str | None = None) -> Drift:
    """How far a log's test split lies from its training split; `drift(...).table()` has a row per column.

    Raises:
        FunnelError: what config or log have wrong.
    """
    from funneltune.cli.data import drifted

    return drifted(_config_of_log(words, config_dir))


def _config_of_log(words: Sequence[str], config_dir: Path | str | None) -> DictConfig:
    from funneltune.cli.data import composed

    arguments = arguments_of(words, config_dir)
    return composed(arguments.only_word("experiment"), arguments.overrides, arguments.config_dir)
