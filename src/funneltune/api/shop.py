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
    """Sponsored places sold by bids and a run's chances, as `funneltune ads` does.

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
def fairness(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """Exposure, calibration and errors by group, what narrows a gap and its cost, as `funneltune fairness` does.

    Args:
        run: a finished run, or its folder.
        output: a new folder for the record, the groups' file and the pictures; None: none.
        settings: by the command's keys: `by=["seller", "user.segment"], mitigate="exposure", ranking="fair_sellers"`.

    Raises:
        ConfigError: if a setting is unknown or out of range, a column is none of the log's, or a mitigation unfit.
        DataError: if groups are too small, or the log tells no shopper.
        RunError: if it is no finished run.
    """
    from funneltune.cli.fairness import DEFAULTS, carried_out

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


@told
def demand(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """Purchases per item and day with intervals, against forecasting, as `funneltune demand` does.

    Args:
        run: a finished run that predicts purchases on a log that is cut by time, or its folder.
        output: a new folder for the record, the picture and demand.csv; None: none.
        settings: by the command's keys: `by="category", days=14, level=0.9, traffic="known", baselines=["ets"]`.

    Raises:
        ConfigError: if a setting is unknown or out of range, the run or its log cannot be used, a package is missing.
        RunError: if it is no finished run.
    """
    from funneltune.cli.demand import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, settings, DEFAULTS))


@told
def stock(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """What to order of each item, and what ordering so would have cost, as `funneltune stock` does.

    Args:
        run: as for `demand`.
        output: a new folder for the record, the picture and orders.csv; None: none.
        settings: by the command's keys: `lead_time=3, review=7, shortage_cost=5, on_hand="shelves.csv"`.

    Raises:
        ConfigError: if a setting is unknown or out of range, the run or its log cannot be used, a package is missing.
        DataError: if a file of shelves cannot be read.
        RunError: if it is no finished run.
    """
    from funneltune.cli.stock import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, settings, DEFAULTS))


@told
def price(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """Demand at other prices, its elasticity and the price that brings most, as `funneltune price` does.

    Args:
        run: a finished run that reads prices and predicts clicks and purchases, or its folder.
        output: a new folder for the record, the curves and the picture; None: none.
        settings: by the command's keys: `item="item-000012", goal="profit", cost_share=0.6, correct="dml"`.

    Raises:
        ConfigError: if a setting is unknown or out of range, the item unknown, or no price may be advised.
        DataError: if the items or groups cannot be read.
        RunError: if it is no finished run, it reads no price, or its log tells none.
    """
    from funneltune.cli.price import DEFAULTS, carried_out

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
