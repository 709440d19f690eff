"""The verbs that decide for a shop's shelves, prices and places, as plain functions: see `funneltune.api.verbs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.api.results import Run, told
from funneltune.api.verbs import arguments_of, folder_of

if TYPE_CHECKING:
    from funneltune.records import DecisionRecord


@told
def ads(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """Sponsored places sold by bids and a run's calibrated chances, as `funneltune ads` does.

    Args:
        run: a finished run that predicts clicks and purchases, or its folder.
        output: a new folder for the record and the picture; None: none.
        settings: by the command's keys: `bids="bids.csv", slots=3, pays="purchase", payment="vcg", reserve="auto"`.

    Raises:
        ConfigError: if a setting is unknown or out of range, or no one bids.
        DataError: if the bids cannot be read.
        RunError: if it is no finished run.
    """
    from funneltune.cli.ads import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, settings, DEFAULTS))


def keys_of(
    run: Run | Path | str, output: Path | str | None, settings: Mapping[str, Any], defaults: Mapping[str, str]
) -> dict[str, str]:
    """A call's settings as the keys of a command of `run` and `output`; None is a setting that was not given."""
    given = {name: value for name, value in settings.items() if value is not None}
    words = [f"{name}={_word(value)}" for name, value in given.items()]
    keys = arguments_of(words, None).keys({}, {name: value for name, value in defaults.items() if name != "output"})
    return {**keys, "run": str(folder_of(run)), "output": "" if output is None else str(output)}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (list, tuple, range)) else str(value)
