"""What a search varies: ranges and choices of config keys."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import Trial

from funneltune.experiments.plan import override_text

Value = str | int | float
"""A choice's label, or a number of a range."""
RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: whole ones where both ends are."""

    key: str
    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        where = f"search.space.{self.key}"
        if not self.low < self.high:
            yield f"{where}: low={self.low} must be < high={self.high}"
        elif self.log and (self.low <= 0 or self.step is not None):
            yield f"{where}: log=true needs low > 0 and no step; low={self.low}, step={self.step}"
        elif self.step is not None:
            parts = (self.high - self.low) / self.step if self.step > 0 else 0.0
            if parts < 1 or abs(parts - round(parts)) > 1e-6 or (self.whole and not isinstance(self.step, int)):
                yield f"{where}.step={self.step} must lead from low={self.low} to high={self.high} in whole steps"

    def suggest(self, trial: Trial) -> Value:
        """A trial's value: drawn, or what was drawn for it before."""
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.key, float(self.low), float(self.high), step=self.step, log=self.log)

    def overrides(self, value: Value) -> list[str]:
        """As on the command line."""
        return [f"{self.key}={override_text(value)}"]

    def ends(self) -> list[Value]:
        """The values to try before anything runs."""
        return [self.low, self.high]

    def every(self) -> list[Value] | None:
        """All its values; None where they are a continuum."""
        if self.whole:
            return list(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        return [float(self.low + n * self.step) for n in range(round((self.high - self.low) / self.step) + 1)]

    def to_json(self) -> dict[str, Any]:
        """As the config has it."""
        extra = ({"log": True} if self.log else {}) | ({"step": self.step} if self.step is not None else {})
        return {"low": self.low, "high": self.high} | extra


@dataclass(frozen=True)
class Choice:
    """One of several: label -> overrides. Of a plain list each value is its own label."""

    key: str
    options: Mapping[str, tuple[str, ...]]
    named: bool = False
    """Whether the labels are the config's own (`rank: {small: [tuning.rank=4], ...}`)."""

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        if not self.options:
            yield f"search.space.{self.key} has no choices; list at least one"
        for label, overrides in self.options.items():
            if not all("=" in one for one in overrides):
                yield f"search.space.{self.key}.{label} must be a list of overrides, [key=value, ...], or []"

    def suggest(self, trial: Trial) -> Value:
        """A trial's label: drawn, or what was drawn for it before."""
        return str(trial.suggest_categorical(self.key, tuple(self.options)))

    def overrides(self, value: Value) -> list[str]:
        """As on the command line."""
        return list(self.options[str(value)])

    def ends(self) -> list[Value]:
        """All its labels."""
        return list(self.options)

    every = ends

    def to_json(self) -> Any:
        """As the config has it, values as override texts."""
        return {label: list(each) for label, each in self.options.items()} if self.named else list(self.options)


Setting = Range | Choice


def read_setting(key: str, value: Any) -> Setting | str:
    """A key of the space; or what is wrong with its form."""
    if isinstance(value, Mapping) and {"low", "high"} & set(value):
        for name in value:
            if name not in RANGE:
                near = difflib.get_close_matches(str(name), RANGE, n=1)
                return f"search.space.{key}.{name} is no key" + (f" (nearest: {near[0]})" if near else "")
        if missing := [name for name in ("low", "high") if name not in value]:
            return f"search.space.{key}.{missing[0]} is missing; a range has low and high"
        return _range(key, {str(name): found for name, found in value.items()})
    if isinstance(value, Mapping):
        if not all(isinstance(each, Sequence) and not isinstance(each, str) for each in value.values()):
            return f"search.space.{key} must be {{low: ..., high: ...}}, a list of choices, or label: [overrides]"
        return Choice(key, {str(label): tuple(map(str, each)) for label, each in value.items()}, named=True)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return f"search.space.{key}={value!r} must be {{low: ..., high: ...}} or a list of choices; write [{value}]"
    texts = [override_text(each) for each in value]
    if twice := [text for text in dict.fromkeys(texts) if texts.count(text) > 1]:
        return f"search.space.{key} names {twice[0]} twice; name it once"
    return Choice(key, {text: (f"{key}={text}",) for text in texts})


def _range(key: str, given: Mapping[str, Any]) -> Range | str:
    for name, value in given.items():
        if name == "log" and not isinstance(value, bool):
            return f"search.space.{key}.log={value!r} must be true or false"
        plain = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if name != "log" and not plain and not (name == "step" and value is None):
            return f"search.space.{key}.{name}={value!r} must be a number"
    return Range(key, **given)
