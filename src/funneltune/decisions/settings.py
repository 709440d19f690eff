"""A ranking by its settings: which items compete, what they are worth, what else decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from funneltune.decisions.exposure import Exposure
from funneltune.decisions.rules import Rules
from funneltune.errors import ConfigError

VECTORS = "vectors"
PARTS: dict[str, Any] = {}
"""Setting -> the class of what it holds; filled below."""


@dataclass(frozen=True)
class Diversity:
    """Maximal marginal relevance.

    Args:
        weight: MMR's lambda, from 0 to 1: how much value counts beside being unlike what stands above. 1: value alone.
        by: What makes items alike: `vectors` (the cosine of the run's item vectors), or columns of the items.
        pool: Only the best so many by value may rise for being unlike the others.
    """

    weight: float = 0.7
    by: str | Sequence[str] = VECTORS
    pool: int = 50

    def __post_init__(self) -> None:
        """Refuse a weight that is none, and likeness by nothing."""
        if isinstance(self.weight, bool) or not isinstance(self.weight, (int, float)) or not 0 <= self.weight <= 1:
            raise ConfigError(f"diversity.weight={self.weight!r} must lie in [0, 1]; 1 is value alone.")
        if isinstance(self.pool, bool) or not isinstance(self.pool, int) or self.pool < 1:
            raise ConfigError(f"diversity.pool={self.pool!r} must be a whole number >= 1, the items that may rise.")
        if not self.by or not all(isinstance(one, str) for one in self.by):
            raise ConfigError(
                f"diversity.by={self.by!r} names nothing; write {VECTORS}, or columns: [category, brand]."
            )

    @property
    def columns(self) -> list[str]:
        """The columns that make items alike; none where vectors do."""
        return [] if self.by == VECTORS else [self.by] if isinstance(self.by, str) else list(self.by)


@dataclass(frozen=True)
class Ranking:
    """From candidates to a page.

    Args:
        candidates: Which items compete: all (of a file's request, those that it names), logged (what the request
            showed), or the best of a way to find them: lexical, semantic, collaborative, popular, hybrid.
        depth: How many a way finds.
        by: A rate (ctr, cvr, ctcvr), revenue (price x ctcvr), or a weighted sum of these: 0.2*ctr + 0.8*ctcvr; empty:
            the last rate of the funnel.
        calibration: none, temperature, platt, isotonic, as the run fitted them; null: what its config says.
        top: Places of a page.
        diversity: None: none.
        rules: Of the shop.
        exposure: Of sellers or brands; None: no matter.

    Raises:
        ConfigError: if a value is out of range.
    """

    candidates: str = "all"
    depth: int = 1000
    by: str = ""
    calibration: str | None = None
    top: int = 10
    diversity: Diversity | None = None
    rules: Rules = field(default_factory=Rules)
    exposure: Exposure | None = None

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        for name, what in (("top", "the number of items to show"), ("depth", "the number of candidates to find")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}={value} must be a whole number, 1 or more: {what}.")

    @property
    def is_plain(self) -> bool:
        """Whether the order is that of the value alone, over all candidates."""
        return self.diversity is None and self.rules == Rules() and self.exposure is None

    @classmethod
    def from_config(cls, content: Mapping[str, Any]) -> Ranking:
        """From plain data, as a YAML file has it.

        Raises:
            ConfigError: if a key is unknown or a value is wrong.
        """
        given = dict(_known(cls, content, ""))
        for name, kind in PARTS.items():
            if given.get(name) is None:
                given.pop(name, None)
            elif not isinstance(given[name], Mapping):
                raise ConfigError(f"{name}={given[name]!r} must be a mapping of {', '.join(_names(kind))}.")
            else:
                given[name] = kind(**_known(kind, given[name], f"{name}."))
        return cls(**given)

    @classmethod
    def changed(cls, content: Mapping[str, Any], changes: Mapping[str, Any]) -> Ranking:
        """From plain data and changes to it, by dotted keys (`rules.stock`, `diversity.weight`); mappings join.

        Raises:
            ConfigError: as `from_config`.
        """
        settings: dict[str, Any] = deepcopy(dict(content))
        for key, value in changes.items():
            node, *inner = settings, *key.split(".")
            for name in inner[:-1]:
                if not isinstance(node.get(name), dict):
                    node[name] = {}
                node = node[name]
            both = isinstance(value, dict) and isinstance(node.get(inner[-1]), dict)
            node[inner[-1]] = {**node[inner[-1]], **value} if both else value
        return cls.from_config(settings)

    @classmethod
    def read(cls, path: Path | None, changes: Mapping[str, Any]) -> Ranking:
        """From a YAML file (None: the defaults) and changes to it, by dotted keys: `rules.stock`, `diversity.weight`.

        Raises:
            ConfigError: if the file cannot be read, or as `from_config`.
        """
        try:
            content = (yaml.safe_load(path.read_text(encoding="utf-8")) if path else None) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"ranking={path} cannot be read ({(str(error).splitlines() or [''])[0]}).") from None
        if not isinstance(content, dict):
            raise ConfigError(f"ranking={path} must hold settings (candidates, by, top, rules, ...).")
        return cls.changed(content, changes)


PARTS |= {"diversity": Diversity, "rules": Rules, "exposure": Exposure}


def _names(kind: Any) -> list[str]:
    return [one.name for one in fields(kind)]


def _known(kind: Any, content: Mapping[str, Any], within: str) -> Mapping[str, Any]:
    """Refuse a key that is none of a part's, and shapes that its values cannot have."""
    for name, value in content.items():
        if name not in _names(kind):
            near = get_close_matches(str(name), _names(kind), 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(_names(kind))}."
            raise ConfigError(f"{within}{name} is no setting of a ranking{hint}")
        if kind is Rules:
            _check_shape(name, value)
        elif name in ("candidates", "by", "column") and not isinstance(value, str) and kind is not Diversity:
            raise ConfigError(f"{within}{name}={value!r} must be a word; quote it if it is one.")
    if kind is Exposure and "column" not in content:
        raise ConfigError("exposure.column is missing: the column of the items whose values share the page, as seller.")
    if kind is not Rules:
        return content
    given = {name: value for name, value in content.items() if value is not None}
    for name in ("only", "without"):  # one value needs no brackets
        if name in given:
            given[name] = {c: v if isinstance(v, (list, tuple)) else [v] for c, v in given[name].items()}
    return given


def _check_shape(name: str, value: Any) -> None:
    """A rule's value must be of the kind that it is of."""
    if value is None:
        return
    wanted: dict[str, tuple[Any, str]] = {
        "stock": (str, "a file or a column"),
        "price": ((list, tuple), "two numbers or null: [10, 50]"),
        "only": (dict, "values by column: {brand: [Acme]}"),
        "without": (dict, "values by column: {brand: [Acme]}"),
        "boost": (dict, "factors by column and value: {brand: {Acme: 1.5}}"),
        "at_most": (dict, "numbers by column: {brand: 2}"),
        "pinned": ((list, tuple, dict), "identifiers, or identifiers by place: {1: item-7}"),
    }
    kind, told = wanted[name]
    if not isinstance(value, kind):
        raise ConfigError(f"rules.{name}={value!r} must be {told}.")
    if name == "boost" and not all(isinstance(one, dict) for one in value.values()):
        raise ConfigError(f"rules.boost={value!r} must be {told}.")
