"""What a table shows of a run: one column per number, its heading and how it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from funneltune.funnel import TaskFunnel
from funneltune.records import RunRecord, number

Style = Literal["score", "count", "share", "milliseconds", "megabytes", "seconds"]
Group = Literal["quality", "cost"]

PREFERRED_DEPTH = 10
ACRONYMS = frozenset({"ctr", "cvr", "ctcvr", "atcr"})
"""Rates that the field writes in capitals; others are shown as the config spells them."""

BY_KIND: dict[str, tuple[tuple[str, str], ...]] = {
    "ordinal": (("qwk", "kappa"), ("mae", "MAE"), ("log_loss", "log loss")),
    "multiclass": (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("log_loss", "log loss")),
    "regression": (("r2", "R2"), ("rmse", "RMSE"), ("spearman", "Spearman")),
}
"""Metric and its heading, for tasks that are not binary."""
WORDS = {"auc": "AUC", "ece": "ECE", "log_loss": "log loss", "mcc": "Matthews", "f1": "F1", "mse": "MSE"}
WORDS |= {"pearson": "Pearson", "spearman": "Spearman", "mae": "MAE", "rmse": "RMSE"}
OF_THE_ORACLE = "expected_"
"""What begins the name of a metric that an oracle stands in for the labels of."""


@dataclass(frozen=True)
class Column:
    """One column. `key` is a metric key (`ctr/auc`), or `parameters.x` / `cost.x` for a record's own fields."""

    key: str
    heading: tuple[str, str]
    """Two lines, to keep columns narrow: `("CVR AUC", "clicks")`."""
    style: Style
    group: Group

    @property
    def title(self) -> str:
        """The heading on one line."""
        return " ".join(part for part in self.heading if part)

    def of_record(self, record: RunRecord) -> float | None:
        """The number that a run has for this column."""
        section, _, field = self.key.partition(".")
        if section in ("parameters", "cost"):
            return number(getattr(record, section).get(field))
        return record.value(self.key)

    def text(self, value: float | None, spread: float | None = None, dense: bool = False) -> str:
        """The number as a table shows it, with the seeds' standard deviation where there is one.

        `dense` leaves out a score's leading zero, for narrow tables.
        """
        if value is None:
            return "-"
        if self.style == "score":
            shown_value = f"{value:.4f}"
            if dense and shown_value.startswith("0."):
                shown_value = shown_value[1:]
            return shown_value + (f" ±{spread:.4f}".replace("±0.", "±.") if spread is not None else "")
        if self.style == "share":
            return f"{100 * value:.2f}%"
        if self.style == "megabytes":
            return f"{value / 1e6:,.1f}"
        return f"{value:,.0f}" if self.style in ("count", "seconds") else f"{value:,.1f}"


COST = (
    Column("parameters.trainable_start", ("trainable", "start"), "count", "cost"),
    Column("parameters.trainable_end", ("trainable", "end"), "count", "cost"),
    Column("parameters.share", ("share", "trained"), "share", "cost"),
    Column("cost.step_milliseconds_median", ("step ms", "median"), "milliseconds", "cost"),
    Column("cost.rows_per_second", ("rows", "per s"), "count", "cost"),
    Column("cost.peak_memory_bytes", ("peak", "MB"), "megabytes", "cost"),
    Column("cost.saved_bytes", ("saved", "MB"), "megabytes", "cost"),
    Column("cost.wall_seconds", ("wall", "s"), "seconds", "cost"),
)


def columns_of(records: Iterable[RunRecord], named: Iterable[str] = ()) -> tuple[Column, ...]:
    """The columns of a table over these records: quality by their funnels' names, then cost; none that all lack.

    `named` are further metric keys to show, a study's own: they stand after the rest of quality.
    """
    held = list(records)
    wanted: dict[str, Column] = {}
    for record in held:
        if record.funnel:
            for column in quality_columns(record.tasks(), _depth(record)):
                wanted.setdefault(column.key, column)
    for key in named:
        wanted.setdefault(key, named_column(key))
    found: dict[str, Column] = {}
    for key, column in wanted.items():
        if any(key in record.metrics.get("test", {}) for record in held):
            found[key] = column
    costs = [column for column in COST if any(column.of_record(record) is not None for record in held)]
    return (*found.values(), *costs)


def quality_columns(funnel: TaskFunnel, depth: int = PREFERRED_DEPTH) -> list[Column]:
    """AUC of every rate in each of its spaces, NDCG, log loss and calibration; other kinds by their own metrics."""

    def score(key: str, first: str, second: str = "") -> Column:
        return Column(key, (first, second), "score", "quality")

    found = []
    for task in funnel.tasks:
        if not task.binary:
            found += [score(f"{task.rate}/{name}", task.rate, heading) for name, heading in BY_KIND[task.kind]]
            continue
        rate = shown(task.rate)
        if not task.given:
            found.append(score(f"{task.rate}/auc", f"{rate} AUC"))
            continue
        observed = "clicks" if task.given == ("click",) else "observed"
        found.append(score(f"{task.rate}/auc", f"{rate} AUC", observed))
        found.append(score(f"{task.rate}_entire/expected_auc", f"{rate} AUC", "entire"))
        found.append(score(f"{task.joint_rate}/auc", f"{shown(task.joint_rate)} AUC"))
    found.append(score(f"grade/ndcg@{depth}", "grade", f"NDCG@{depth}"))
    if not funnel.binary:
        return found
    first, last = funnel.binary[0], funnel.binary[-1]
    last_rate = last.joint_rate if last.given else last.rate
    found.insert(-1, score(f"{last_rate}/ndcg@{depth}", shown(last_rate), f"NDCG@{depth}"))
    found.append(score(f"{first.rate}/log_loss", shown(first.rate), "log loss"))
    found.append(score(f"{first.rate}/ece", shown(first.rate), "ECE"))
    return found


def named_column(key: str) -> Column:
    """The column of a metric that a study names: `cvr_entire/expected_ece` is headed CVR ECE, entire."""
    space, _, metric = key.partition("/")
    rate, bare = shown(space.removesuffix("_entire")), metric.removeprefix(OF_THE_ORACLE)
    if metric.startswith("predicted_over_"):
        first, second = f"{rate} predicted", metric.removeprefix("predicted_").replace("_", " ")
    elif metric.startswith(OF_THE_ORACLE) and bare in WORDS:
        first, second = f"{rate} {WORDS[bare]}", "entire" if space.endswith("_entire") else "expected"
    else:
        first, second = rate, WORDS.get(metric, metric)
    return Column(key, (first, second), "score", "quality")


def shown(rate: str) -> str:
    """A rate as tables write it: `ctr` is an abbreviation, `relevant` a word."""
    return rate.upper() if rate in ACRONYMS else rate


def _depth(record: RunRecord) -> int:
    """The depth of the record's NDCG: 10 where it has that, else its smallest."""
    found = {int(key.rpartition("@")[2]) for key in record.metrics.get("test", {}) if "/ndcg@" in key}
    return PREFERRED_DEPTH if not found or PREFERRED_DEPTH in found else min(found)
