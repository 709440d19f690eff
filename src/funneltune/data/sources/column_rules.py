"""What the columns of a table must hold, beyond what their roles imply: a declared schema, checked chunk by chunk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.cells import fault
from funneltune.data.sources.collected import Collected
from funneltune.data.sources.lateness import MOMENT, moments
from funneltune.data.sources.roles import Roles
from funneltune.errors import ConfigError

Kind = Literal["number", "whole", "text", "time"]
WHERE = "data.source.schema"
EMPTY = "empty cells"
"""The note of a store that counts them."""


@dataclass(frozen=True)
class ColumnRule:
    """What one column's cells must hold. Only `null_rate` is about empty ones.

    Args:
        type: `number`, `whole` (number), `time` (ISO 8601, or unix seconds) or `text`; numbers and times are finite.
        least, most: Of numbers and times, both allowed.
        one_of: The values there are.
        pattern: A regular expression that the whole text matches.
        null_rate: The largest share of the log's rows in which the cell may be empty; 0: none, and a row in which it is
            has a fault.
    """

    type: Kind = "text"
    least: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] | None = None
    pattern: str | None = None
    null_rate: float | None = None

    def broken(self, raw: pd.Series[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Each rule in words, and which cells break it."""
        empty = _empty(raw)
        if self.null_rate == 0:
            yield "a value", empty
        if self.type != "text":
            numbers = moments(raw) if self.type == "time" else as_numbers(raw)
            odd: NDArray[np.bool_] = np.asarray(~np.isfinite(numbers))
            if self.type == "whole":
                odd |= numbers != np.floor(numbers)
            yield KINDS[self.type], odd & ~empty
            odd |= empty
            if self.least is not None:
                yield f"at least {self._spelt(self.least)}", ~odd & (numbers < self.least)
            if self.most is not None:
                yield f"at most {self._spelt(self.most)}", ~odd & (numbers > self.most)
        if self.one_of is not None:
            inside = raw.isin(self.one_of).to_numpy(bool)
            if self.type in ("number", "whole"):
                inside = inside | np.isin(numbers, [float(value) for value in self.one_of])
            yield f"one of {', '.join(self.one_of)}", ~inside & ~empty
        if self.pattern is not None:
            found = re.compile(self.pattern)  # Python's own: the tables' engine knows no look-ahead
            fits = [text for text in raw.dropna().unique() if found.fullmatch(text)]
            matches = raw.isin(fits).to_numpy(bool)
            yield f"a text of the pattern {self.pattern}", ~matches & ~empty

    def _spelt(self, bound: float) -> str:
        return f"{pd.Timestamp(bound, unit='s'):%Y-%m-%dT%H:%M:%S}" if self.type == "time" else f"{bound:.12g}"


KINDS: dict[str, str] = {
    "number": "a finite number",
    "whole": "a whole number",
    "time": MOMENT,
}


@dataclass(frozen=True)
class Schema:
    """The rules of a table's columns."""

    rules: Mapping[str, ColumnRule]

    @classmethod
    def parse(cls, node: Any) -> Schema:
        """`data.source.schema`: {COLUMN: {type, least, most, one_of, pattern, null_rate}}, or null.

        Raises:
            ConfigError: with every fault, and the nearest key.
        """
        if not isinstance(node, Mapping | None):
            raise ConfigError(f"{WHERE}={node!r} must be null, or {{COLUMN: {{{', '.join(KEYS)}}}}}.")
        faults: list[str] = []
        rules = {str(column): _rule(f"{WHERE}.{column}", rule, faults) for column, rule in (node or {}).items()}
        if faults:
            raise ConfigError("; ".join(faults) + ".")
        return cls(rules)

    def describe(self) -> str:
        """What decides the log."""
        return repr(dict(self.rules))

    def of(self, columns: Sequence[str]) -> Schema:
        """The rules of some columns, about their cells alone."""
        return Schema({c: _of_cells(rule) for c, rule in self.rules.items() if c in columns})

    def check(self, frame: pd.DataFrame, roles: Roles, seen: Collected) -> None:
        """Faults of a chunk's cells; empty ones are counted."""
        for column, rule in self.rules.items():
            seen.count(EMPTY, column, int(_empty(frame[column]).sum()))
            for said, wrong in rule.broken(frame[column]):
                fault(wrong, frame, column, roles, seen, said, _telling(column, said))

    def settle(self, seen: Collected) -> None:
        """Faults of the whole log: columns that are empty too often."""
        for column, rule in self.rules.items():
            empty, rows = seen.notes.get(EMPTY, {}).get(column, 0), seen.belonging
            if rule.null_rate and rows and empty > rule.null_rate * rows:
                seen.faults.append(
                    f"column {column!r} is empty in {empty:,} of {rows:,} rows ({empty / rows:.1%}); at most "
                    f"{rule.null_rate:.1%} may be ({WHERE}.{column}.null_rate): mend the file, or raise the rate"
                )


KEYS = tuple(field.name for field in fields(ColumnRule))


def as_numbers(raw: pd.Series[Any]) -> NDArray[np.float64]:
    """Texts as numbers, NaN for what is none."""
    return pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _empty(raw: pd.Series[Any]) -> NDArray[np.bool_]:
    return (raw.isna() | (raw.str.strip() == "").fillna(value=True)).to_numpy(bool)


def _telling(column: str, said: str) -> Any:
    return lambda value, row, count: (
        f"column {column!r} holds {value} in {row} ({count} such); it must be {said} ({WHERE}.{column}): mend the "
        "file, or leave such rows out, bad_rows: 0.01 under source"
    )


def _of_cells(rule: ColumnRule) -> ColumnRule:
    return ColumnRule(rule.type, rule.least, rule.most, rule.one_of, rule.pattern, 0 if rule.null_rate == 0 else None)


def _rule(where: str, node: Any, faults: list[str]) -> ColumnRule:
    """One column's, its faults told."""
    if not isinstance(node, Mapping) or not node:
        faults.append(f"{where}={node!r} must be a mapping with some of {', '.join(KEYS)}")
        return ColumnRule()
    for key in node:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, 1)
            faults.append(f"{where}.{key} is no rule" + (f" (nearest: {near[0]})" if near else f"; {', '.join(KEYS)}"))
    ordered = any(node.get(bound) is not None for bound in ("least", "most"))
    kind: Any = node.get("type") or ("number" if ordered else "text")
    if kind not in get_args(Kind):
        faults.append(f"{where}.type={kind!r} must be one of {', '.join(get_args(Kind))}")
        return ColumnRule()
    if kind == "text" and ordered:
        faults.append(f"{where}: least and most are of numbers and times; remove them, or write another type")
    least, most = (_bound(where, bound, node.get(bound), kind, faults) for bound in ("least", "most"))
    if least is not None and most is not None and least > most:
        faults.append(f"{where}: least={node['least']} is above most={node['most']}")
    return ColumnRule(
        kind,
        least,
        most,
        _one_of(where, node.get("one_of"), kind, faults),
        _pattern(where, node.get("pattern"), faults),
        _share(where, node.get("null_rate"), faults),
    )


def _bound(where: str, name: str, value: Any, kind: str, faults: list[str]) -> float | None:
    if value is None or kind == "text":
        return None
    raw = pd.Series([str(value)], dtype="string")
    found = float((moments(raw) if kind == "time" else as_numbers(raw))[0])
    if isinstance(value, bool) or not np.isfinite(found):
        faults.append(f"{where}.{name}={value!r} must be {KINDS['time' if kind == 'time' else 'number']}")
    return found


def _one_of(where: str, values: Any, kind: str, faults: list[str]) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
        faults.append(f"{where}.one_of={values!r} must be a list of values")
        return None
    found = tuple(str(value) for value in values)
    if kind in ("number", "whole") and not np.isfinite(as_numbers(pd.Series(found, dtype="string"))).all():
        faults.append(f"{where}.one_of={list(values)!r} must be a list of numbers, as its type is {kind}")
    return found


def _pattern(where: str, pattern: Any, faults: list[str]) -> str | None:
    if pattern is None:
        return None
    try:
        re.compile(str(pattern))
    except re.error as error:
        faults.append(f"{where}.pattern={pattern!r} is no regular expression ({error})")
    return str(pattern)


def _share(where: str, rate: Any, faults: list[str]) -> float | None:
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        faults.append(f"{where}.null_rate={rate!r} must be a share in [0, 1)")
        return None
    return float(rate)
