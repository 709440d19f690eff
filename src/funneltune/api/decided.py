"""The verbs that put a run to work, as plain functions: see `funneltune.api.verbs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from funneltune.api.results import Run, told
from funneltune.api.verbs import arguments_of, folder_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from funneltune.decisions.explanations import Explanation
    from funneltune.records import DecisionRecord


@told
def abtest(
    run_a: Run | Path | str, run_b: Run | Path | str, output: Path | str | None = None, **settings: Any
) -> DecisionRecord:
    """Two rankings against one another on shoppers of the marketplace, as `funneltune abtest` does.

    Args:
        run_a: a run on a log of the marketplace, or its folder.
        run_b: another of the same world, or `random`, `popularity`, `bm25`, `oracle`.
        output: a new folder for the record and the picture; None: none.
        settings: by the command's keys: `by="ctr", requests=2000, metric="revenue", seeds=[0, 1], looks=10`.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the runs are not of one world.
        RunError: if one is no finished run.
    """
    from funneltune.cli.abtest import DEFAULTS, carried_out, settings_of

    words = [
        f"{name}={','.join(map(str, value)) if isinstance(value, (list, tuple, range)) else value}"
        for name, value in settings.items()
    ]
    keys = arguments_of(words, None).keys({}, {name: value for name, value in DEFAULTS.items() if name != "output"})
    other = str(run_b.folder) if isinstance(run_b, Run) else str(run_b)
    return carried_out(folder_of(run_a), other, settings_of(keys), None if output is None else Path(output))


@told
def embed(
    run: Run | Path | str, what: str = "queries", rows: pd.DataFrame | None = None
) -> tuple[list[str], NDArray[np.float32]]:
    """A run's vectors of queries, items or shoppers, as `funneltune embed`: their keys, and (rows, width).

    Args:
        run: the run or its folder.
        what: `queries` (column query), `items` (column item, or the fields of new ones: title, ...) or `users` (user,
            time).
        rows: a table with these columns; None: all that the run's log holds.

    Raises:
        ConfigError: if `what` is none of these, or the run has no such vectors.
        DataError: if a column is missing, or an item is not known.
    """
    from funneltune.decisions.embedding import embed as embedded
    from funneltune.decisions.scorer import Scorer

    found = embedded(Scorer.of_run(folder_of(run)), what, rows)
    return found.keys, found.vectors


@told
def explain(
    run: Run | Path | str,
    query: str = "",
    item: str = "",
    user: str = "",
    *,
    split: str = "",
    row: int | None = None,
    rate: str = "",
    steps: int | None = None,
    what_if: Mapping[str, str] | None = None,
    calibration: str | None = None,
) -> Explanation:
    """Why a run gives an item its probability for a request, or for an impression of its log, as `funneltune explain`.

    `to_json()` of what it gives back holds all of it; `decisions.explanations.write(it, Path("why.html"))` the page.

    Args:
        run: the run or its folder.
        query: the words of a search.
        item: the log's identifier of the item.
        user: the log's identifier of the shopper.
        split: instead of these, an impression of the log: test, validation or train ...
        row: ... which of the split's rows, from 0.
        rate: what is explained; by default the last of the funnel (ctcvr).
        steps: points of the path; None: as many as it takes for the pushes to add up, at most 512.
        what_if: what to change: `{"price": "9.99"}`.
        calibration: a scaling that the run fitted, or none; None: as its config says.

    Raises:
        ConfigError: if a value is unknown, or captum is not installed.
        RunError: if it is no finished run.
    """
    from funneltune.decisions.explanations import explained

    return explained(
        folder_of(run),
        query=query,
        item=item,
        user=user,
        split=split,
        row=row,
        rate=rate,
        steps=steps,
        what_if=what_if,
        calibration=calibration,
    )


@told
def export(
    run: Run | Path | str,
    output: Path | str | None = None,
    to: str = "all",
    *,
    check: bool = True,
    repeats: int | None = None,
) -> DecisionRecord:
    """Write a finished run as a merged backbone, safetensors, ONNX graphs and int8 ones, as `funneltune export` does.

    Args:
        run: the run or its folder.
        output: the folder to make; None: `export` in the run's. One that exists is refused.
        to: merged, safetensors, onnx, int8, or all that the run has.
        check: hold each form to the run on its test rows.
        repeats: timed calls of each engine; 0: none.

    Raises:
        ConfigError: if `to` is unknown or not for this run, or a package is missing.
        RunError: if it is no finished run, the output exists, or (FailedRunError) a form says something else than it.
    """
    from funneltune.decisions import export as room

    folder = None if output is None else Path(output)
    return room.export(folder_of(run), folder, to, check=check, repeats=room.REPEATS if repeats is None else repeats)


@told
def offpolicy(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """What another policy would have earned on a run's log, as `funneltune offpolicy` does.

    Args:
        run: a run on a log with propensities, or of the marketplace, or its folder.
        output: a new folder for the record and the picture; None: none.
        settings: by the command's keys: `policy="tilted", reward="purchase", estimators="ips,dr", temperature=0.5`.

    Raises:
        ConfigError: if a setting is unknown or out of range.
        DataError: if the log has no propensities, or next to nothing of the policy.
    """
    from funneltune.cli.offpolicy import DEFAULTS, carried_out

    words = [
        f"{name}={','.join(value) if isinstance(value, (list, tuple)) else value}" for name, value in settings.items()
    ]
    keys = arguments_of(words, None).keys({}, {name: value for name, value in DEFAULTS.items() if name != "output"})
    return carried_out({**keys, "run": str(folder_of(run)), "output": "" if output is None else str(output)})


@told
def online(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> dict[str, pd.DataFrame]:
    """Policies that go on learning against the run as it is, while tastes move, as `funneltune online` does.

    Args:
        run: a run on a log of the marketplace, or its folder.
        output: a new folder for the record and the picture; by default `online` in the run's folder.
        settings: by the command's keys: `policies=["thompson"], requests=2000, seeds=[0, 1, 2], half_life=500.0`.

    Returns: the record's tables by name: purchases, gains, costs, shoppers, share_of_oracle, sessions if asked for.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the log is not the marketplace's.
        RunError: if it is no finished run.
    """
    from funneltune.cli.online import DEFAULTS, carried_out, settings_of

    words = [
        f"{name}={','.join(map(str, value)) if isinstance(value, (list, tuple, range)) else value}".lower()
        for name, value in settings.items()
    ]
    keys = arguments_of(words, None).keys({}, {name: value for name, value in DEFAULTS.items() if name != "output"})
    folder = folder_of(run)
    found = carried_out(folder, Path(output) if output else folder / "online", settings_of(keys))
    return {name: pd.DataFrame(of["rows"], columns=of["columns"]) for name, of in found.tables.items()}


@told
def rank(
    run: Run | Path | str,
    query: str = "",
    by: str = "",
    top: int | None = None,
    diversity: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    exposure: Mapping[str, Any] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Pages from a run, best items first, as `funneltune rank` makes them.

    Args:
        run: a finished run, or its folder.
        query: the words of a search; or give `requests=FILE`, or `split="test"`.
        by: what decides: a rate, `revenue`, or weights; by default the last rate of the funnel.
        top: how many items; None: as the ranking says, or 10.
        diversity: as `configs/ranking` has it: `{"weight": 0.8, "by": "vectors"}`.
        rules: likewise: `{"at_most": {"brand": 2}}`.
        exposure: likewise: `{"column": "seller", "target": "merit"}`.
        settings: by the command's keys: `user="shopper-1", candidates="hybrid", ranking="fair_sellers", most=100`;
            `output="pages.csv"` writes the table, too.

    Returns: a row per place: request, place, item, title, the probabilities, value, before, why.

    Raises:
        ConfigError: if a setting is unknown or out of range, or nothing is left to show.
    """
    from funneltune.cli.rank import ranked

    given = {"run": folder_of(run), "query": query, "by": by, "top": top, **settings}
    parts = {"diversity": diversity, "rules": rules, "exposure": exposure}
    words = [f"{name}={value}" for name, value in given.items() if value not in ("", None)]
    return ranked(words, {name: part for name, part in parts.items() if part is not None})
