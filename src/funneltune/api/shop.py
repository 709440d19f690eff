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


@told
def transfer(run: Run | Path | str, to: str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """A run's weights on another log: untrained, and after a few of its requests, as `funneltune transfer` does.

    Args:
        run: a finished run whose weights are carried, or its folder.
        to: the target's log: an experiment or data set, `key=value` of the run's config, or both.
        output: a new folder for the record, the picture and the runs; None: none.
        settings: by the command's keys: `shots=[0, 100], start=["run", "average:runs/fashion"], seeds=[0, 1]`.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the target has other tasks or too few requests.
        RunError: if a run is no finished one, or its weights do not go with the others.
    """
    from funneltune.cli.transfer import DEFAULTS, carried_out

    start = settings.get("start")
    joined = {"start": "+".join(start)} if isinstance(start, (list, tuple)) else {}
    return carried_out({**keys_of(run, output, {**settings, **joined}, DEFAULTS), "to": to})


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
