"""`funneltune fairness`: who is shown, predicted and served how well, what narrows it, and what that costs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "by": "",
    "ranking": "",
    "mitigate": "none",
    "against": "",
    "rate": "",
    "rank_by": "",
    "top": "10",
    "smallest": "10",
    "draws": "1000",
    "requests": "",
    "seed": "0",
    "calibration": "",
    "output": "",
}
SHORT = {"predicted_over_observed": "pred/ obs", "exposure_by_truth": "by truth", "log_exposure": "in the log"}


def run(arguments: Arguments) -> int:
    """Audit, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    for name in record.tables:
        if name.startswith("by "):
            told = "furthest from the median first; *: stands out; low, high: 95% over shoppers"
            _show(f"{record.settings['rate']} {name}; {told}", *_of_column(record, name))
    if "trade_off" in record.tables:
        title = f"mitigate={record.settings['mitigate']}: the gap, and what narrowing it changes"
        rows = [
            [way, _cell(weight), _cell(gap), _change(*ends[:3]), _change(*ends[3:])]
            for way, weight, gap, *ends in record.tables["trade_off"]["rows"]
        ]
        _show(title, ["way", "weight", "gap", "NDCG", "purchases a page"], rows)
    for note in record.notes:
        say(f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {name: keys[name] for name in ("rate", "mitigate")}
    found["by"] = tuple(one.strip() for one in keys["by"].split(",") if one.strip())
    for name in ("smallest", "draws", "seed"):
        found[name] = _whole(name, keys[name])
    return found | {"requests": _whole("requests", keys["requests"]) if keys["requests"] else None}


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Audit by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, a column is none of the log's, or a mitigation does not fit.
        DataError: if groups are too small, or the log tells no shopper.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.cli.rank import ranking_of
    from funneltune.decisions.fairness import Settings, fairness
    from funneltune.decisions.fairness.record import record_of, write
    from funneltune.decisions.scorer import Scorer

    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    changes: dict[str, Any] = {"by": keys["rank_by"]} if keys["rank_by"] else {}
    ranking = ranking_of(keys["ranking"], changes | {"top": _whole("top", keys["top"])})
    against = [Path(one.strip()) for one in keys["against"].split(",") if one.strip()]
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or ranking.calibration)
    found = fairness(scorer, ranking, settings, against)
    record = record_of(found, keys["run"], keys["ranking"], keys["against"])
    record.settings["calibration"] = scorer.calibration
    if output is not None:
        write(record, found, output)
    return record


def _of_column(record: DecisionRecord, name: str) -> tuple[list[str], list[list[str]]]:
    """The table of a column: values that stand out starred, and the interval of the first measure."""
    table, groups = record.tables[name], record.tables["groups"]
    starred = {(by, group, measure) for by, group, _, measure, *_, said in groups["rows"] if said}
    first = next(one for one in table["columns"] if f"{one}_low" in table["columns"])
    ends = {f"{first}_low": "low", f"{first}_high": "high"}
    headings = [
        one
        for one in table["columns"]
        if one not in ("finding", "positives", "ece") and (one in ends or not one.endswith(("_low", "_high")))
    ]
    rows = []
    for row in table["rows"]:
        of = dict(zip(table["columns"], row, strict=True))
        star = {heading: (name.removeprefix("by "), row[0], heading) in starred for heading in headings}
        rows.append([_cell(of[heading]) + "*" * star[heading] for heading in headings])
    return [ends.get(one) or SHORT.get(one, one) for one in headings], rows


def _show(title: str, headings: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        widest = max((len(row[number]) for row in rows), default=0)  # a heading folds before a number is cut
        table.add_column(heading.replace("_", " "), no_wrap=not number, overflow="fold", min_width=min(widest, 20))
    for row in rows:
        table.add_row(*row)
    Screen().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if not math.isfinite(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _change(value: float, low: float, high: float) -> str:
    return f"{value:+.2g} ({low:+.2g} to {high:+.2g})" if math.isfinite(low) else "-"


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be a whole number.") from None


VERB = Verb(
    name="fairness",
    summary="exposure, calibration and errors by seller, brand, price band, shoppers; what narrows a gap, and its cost",
    usage="funneltune fairness run=PATH [by=seller] [mitigate=exposure|calibrate|reweight] [output=FOLDER]",
    examples=(
        "funneltune fairness run=runs/quickstart/2026-01-31_12-00-00 by=seller,price_band",
        "funneltune fairness run=runs/quickstart/2026-01-31_12-00-00 by=seller mitigate=exposure output=fair",
        "funneltune fairness run=runs/quickstart/2026-01-31_12-00-00 by=seller mitigate=reweight against=runs/alike",
    ),
    run=run,
    keys={
        "run": "folder of a finished run",
        "by": "columns whose values are groups: of the items (seller), of shoppers (user.segment), or price_band "
        "(default: those of seller, brand, price_band, user.segment that the log has)",
        "ranking": "whose pages are audited: a file or fair_sellers, varied, ... (default: by value alone)",
        "mitigate": "none (default); exposure: places in proportion to merit; calibrate: shift each group's log odds, "
        "fitted on validation requests; reweight: runs trained with data.sampling.groups (against=)",
        "against": "folders of such runs of the same log, joined by commas",
        "rate": "whose calibration and errors are measured: ctr, cvr, ctcvr (default: the first)",
        "rank_by": "what pages are ranked by: a rate, revenue, weights (default: as ranking= says, else the last rate)",
        "top": "places of a page (default 10)",
        "smallest": "items (or shoppers) in the test rows that a group needs (default 10); smaller ones are pooled",
        "draws": "of intervals, and of groups dealt out anew for p-values (default 1000: up to 25 groups; 4000: 100)",
        "requests": "only the test split's first so many (default: all)",
        "seed": "of these draws (default 0)",
        "calibration": "none, temperature, platt, isotonic (default: as the run's config says)",
        "output": "a new folder for decision.json, groups.csv and the pictures (default: print only)",
    },
)
