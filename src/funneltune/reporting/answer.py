"""The answer in one paragraph: what is best, what is told apart from the baseline, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from funneltune.metrics import Comparison
from funneltune.metrics.comparison import higher_is_better
from funneltune.reporting.columns import Column
from funneltune.reporting.findings import Findings
from funneltune.reporting.render import replicates
from funneltune.reporting.table import Figure

MOST_NAMED = 6


def answer(findings: Findings) -> list[str]:
    """Sentences, the most important first; one where nothing has finished."""
    column = findings.column
    if column is None or not findings.cells():
        return ["No run has finished yet."]
    if len(findings.cells()) == 1:
        return [_single(findings, column), *_against_scorers(findings, column)]
    return [_best(findings, column), *_verdicts(findings, column), *_cheapest(findings, column)]


def _single(findings: Findings, column: Column) -> str:
    cell = findings.cells()[0]
    found = findings.figure(cell, column.key)
    if found is None:
        return f"{findings.name(cell) or findings.table.title} has no {column.title}."
    return f"{column.title} is {_with_interval(column, found)}{_on(findings, column)}."


def _best(findings: Findings, column: Column) -> str:
    best = findings.best(column)
    if best is None:
        return f"No cell is best in {column.title}: it has no better and worse, or one cell alone has it."
    found = findings.figure(best, column.key)
    assert found is not None
    top = next(
        (row.figures[column.key] for row in findings.table.rows if row.kind == "ceiling" and column.key in row.figures),
        None,
    )
    ceiling = "" if top is None else f"; a perfect model would reach {column.text(top.mean)}"
    sign = 1 if higher_is_better(column.key) else -1
    untrained = [
        f"{row.name} ({column.text(row.figures[column.key].mean)})"
        for row in findings.table.rows
        if row.kind == "baseline" and column.key in row.figures
        if sign * (row.figures[column.key].mean - found.mean) > 0
    ]
    beaten = f" {_list(untrained)}, not trained, {_is(untrained)} ahead of every cell's mean." if untrained else ""
    return (
        f"{findings.name(best)} has the best mean {column.title} of {len(findings.cells())} cells, "
        f"{_with_interval(column, found)}{_on(findings, column)}{ceiling}.{beaten}"
    )


def _on(findings: Findings, column: Column) -> str:
    protocol = findings.table.protocols.get(column.key, {})
    rows = protocol.get("n")
    where = str(protocol.get("rows") or "rows")
    return f", on {rows:,} test rows ({where})" if rows else ""


def _with_interval(column: Column, found: Figure) -> str:
    if found.reach is None:
        return f"{column.text(found.mean)} ({'one run' if found.count == 1 else f'{found.count} runs'})"
    low, high = found.mean - found.reach, found.mean + found.reach
    return f"{column.text(found.mean)} (95% interval over {found.count} runs {low:.4f} to {high:.4f})"


def _verdicts(findings: Findings, column: Column) -> list[str]:
    """Against the baseline by verdict; then how many of the other pairs differ."""
    against = [c for cell in findings.cells() if (c := findings.verdict(cell, column.key)) is not None]
    every = [c for c in findings.comparisons if c.metric == column.key]
    if not every:
        return ["Nothing was compared: the study names no baseline and no pairs."]
    said = []
    if against:
        baseline = findings.name(findings.baseline or "")
        parts = []
        for verdict in ("better", "worse"):
            found = [c for c in against if c.verdict == verdict]
            if found:
                parts.append(f"{_list([_difference(c, findings) for c in found])} {_is(found)} {verdict}")
        open_ = [c for c in against if c.verdict == "no claim"]
        if open_:
            some = _list([findings.name(c.cell) for c in open_])
            found_by = [c.detectable for c in open_ if c.detectable is not None]
            would = ""
            if found_by:
                low, high = min(found_by), max(found_by)
                span = f"{low:.4f}" if f"{low:.4f}" == f"{high:.4f}" else f"{low:.4f} to {high:.4f}"
                would = f", where a difference of {span} would be found with 80% power"
            why = {c.note for c in open_ if c.note}
            note = f" ({'; '.join(sorted(why))})" if why else ""
            parts.append(f"there is no claim for {some}{note}{would}")
        said.append(f"Against {baseline} ({replicates(against)}, Holm-corrected): {'; '.join(parts)}.")
    rest = [
        c
        for c in every
        if (c.cell, c.baseline) not in {(a.cell, a.baseline) for a in against} | {(a.baseline, a.cell) for a in against}
    ]
    if rest:
        apart = [c for c in rest if c.verdict != "no claim"]
        named = _list([_pair(c, findings) for c in apart[:MOST_NAMED]]) + (
            " and others" if len(apart) > MOST_NAMED else ""
        )
        said.append(
            f"Of {len(rest)} {'other ' if against else ''}pairs {len(apart)} differ{': ' + named if apart else ''}."
        )
    return said


def _cheapest(findings: Findings, column: Column) -> list[str]:
    """The cell that trains fewest weights among those that are not told apart from the best."""
    best = findings.best(column)
    size = {
        cell: found.mean for cell in findings.cells() if (found := findings.figure(cell, "parameters.trainable_end"))
    }
    if best is None or best not in size:
        return []
    level = [cell for cell in size if cell == best or _undecided(findings, cell, best, column.key)]
    least = min(level, key=lambda cell: size[cell])
    if least == best or size[least] == size[best]:
        return []
    names = findings.name(least), findings.name(best)
    text = (
        f"Of the cells that are not told apart from {names[1]}, {names[0]} trains the fewest weights: "
        f"{size[least]:,.0f} against {size[best]:,.0f}"
    )
    step = [findings.figure(cell, "cost.step_milliseconds_median") for cell in (least, best)]
    if step[0] and step[1] and step[1].mean > 0:
        text += f", at {step[0].mean / step[1].mean:.2f} of the time a step"
    apart = findings.figure(least, column.key).mean - findings.figure(best, column.key).mean  # type: ignore[union-attr]
    return [f"{text} (its mean lies {apart:+.4f} from {names[1]}'s)."]


def _undecided(findings: Findings, cell: str, best: str, metric: str) -> bool:
    """Whether the pair was compared, and without a claim."""
    return any(
        c.metric == metric and {c.cell, c.baseline} == {cell, best} and c.verdict == "no claim"
        for c in findings.comparisons
    )


def _against_scorers(findings: Findings, column: Column) -> list[str]:
    said = []
    for c in findings.comparisons:
        if c.metric == column.key and c.difference is not None:
            interval = "" if c.low is None or c.high is None else f", 95% interval {c.low:+.4f} to {c.high:+.4f}"
            note = f" ({c.note})" if c.note else ""
            said.append(f"Against {findings.name(c.baseline)}: {c.difference:+.4f}{interval}; {c.verdict}{note}.")
    return said


def _difference(c: Comparison, findings: Findings) -> str:
    interval = "" if c.low is None or c.high is None else f", 95% interval {c.low:+.4f} to {c.high:+.4f}"
    return f"{findings.name(c.cell)} ({c.difference:+.4f}{interval})"


def _pair(c: Comparison, findings: Findings) -> str:
    return f"{findings.name(c.cell)} {c.verdict} than {findings.name(c.baseline)}"


def _is(found: Sequence[object]) -> str:
    return "is" if len(found) == 1 else "are"


def _list(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
