"""Equal terms: methods that train the same number of weights, and as many learning-rate trials for each.

An untuned rate decides most published wins, and a larger adapter most of the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel

TRAINABLE = "trainable_parameters"
TOLERANCE = 0.02
"""How far the largest of the matched methods may lie above the smallest, as a share of it."""
RATE, HEAD_RATE = "tuning.learning_rate", "optimizer.lr"


@dataclass(frozen=True)
class Match:
    """What matched cells share: the backbone's weights that training ends with, LayerNorms and head apart."""

    on: str = TRAINABLE
    budget: int | str | Mapping[str, tuple[str, ...]] | None = None
    """A number of weights, or the cell whose own number it is; None: the first cell's that has a size. A mapping has
    several budgets: a cell whose own number is one -> the cells that are matched to it; others stay as they are.
    """

    @classmethod
    def from_config(cls, on: Any, budget: Any) -> Match | None:
        """From `study.match` and `study.budget`.

        Raises:
            ConfigError: on another word, or a budget that nothing is matched to.
        """
        if on is None:
            if budget is not None:
                raise ConfigError(f"study.budget={budget} needs study.match={TRAINABLE}; set it, or remove the budget.")
            return None
        if on != TRAINABLE:
            raise ConfigError(f"study.match={on} must be {TRAINABLE}, or null.")
        if isinstance(budget, Mapping):
            return cls(str(on), _groups(budget))
        if isinstance(budget, bool) or not isinstance(budget, (int, str, type(None))) or budget in (0, ""):
            raise ConfigError(
                f"study.budget={budget!r} must be a number of weights, the name of a cell, or {{cell: [cells]}}."
            )
        return cls(str(on), budget)


def _groups(budget: Mapping[Any, Any]) -> dict[str, tuple[str, ...]]:
    """Several budgets, checked.

    Raises:
        ConfigError: where a group is no list, or a cell stands in two.
    """
    for name, members in budget.items():
        if not isinstance(members, (list, tuple)) or not members:
            raise ConfigError(f"study.budget.{name}={members!r} must list the cells that are matched to {name}.")
    groups = {str(name): tuple(str(member) for member in members) for name, members in budget.items()}
    named = [cell for name, members in groups.items() for cell in dict.fromkeys((name, *members))]
    if twice := next((cell for cell in named if named.count(cell) > 1), None):
        raise ConfigError(f"study.budget names {twice} under two budgets; a cell has one size, leave it in one.")
    return groups


@dataclass(frozen=True)
class Matched:
    """The size that was chosen for a cell, as overrides, and the weights that it trains."""

    sizes: Mapping[str, int | float]
    trained: int


@dataclass(frozen=True)
class Tune:
    """Learning-rate trials before a study: for each cell the same number, chosen between on validation.

    What is tried is the rate of the tuned weights, or the head's where a method tunes none.
    """

    rates: tuple[float, ...]
    """Multiples of the rate that a cell is configured with."""
    overrides: tuple[str, ...] = ()
    """Of every trial, e.g. `data.train_share=0.25`."""
    metric: str = "validation/ctcvr/auc"
    seeds: int = 1
    """How many of the study's seeds each rate is tried with; its score is their mean. With one seed, a rate at which
    others collapse may look best.
    """

    @classmethod
    def from_config(cls, node: Any) -> Tune | None:
        """From `study.tune`.

        Raises:
            ConfigError: on unknown keys, rates that are no numbers above 0, no seeds, or a metric of the test split.
        """
        if node is None:
            return None
        known = [f.name for f in dataclasses.fields(cls)]
        if not isinstance(node, Mapping) or set(node) - set(known):
            raise ConfigError(f"study.tune={node!r} must have the keys {', '.join(known)}, or be null.")
        rates, overrides = node.get("rates"), node.get("overrides") or ()
        if (
            not isinstance(rates, (list, tuple))
            or not rates
            or not all(_is_rate(rate) for rate in rates)
            or len(set(rates)) < len(rates)
        ):
            raise ConfigError(f"study.tune.rates={rates!r} must list different multiples above 0, e.g. [0.3, 1, 3].")
        metric = str(node.get("metric", cls.metric))
        if not metric.startswith("validation/"):
            raise ConfigError(f"study.tune.metric={metric} must be of the validation split (validation/...).")
        if isinstance(overrides, str) or not all("=" in str(one) for one in overrides):
            raise ConfigError(f"study.tune.overrides={overrides!r} must be a list of overrides, [key=value, ...].")
        seeds = node.get("seeds", cls.seeds)
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
            raise ConfigError(f"study.tune.seeds={seeds!r} must be a whole number >= 1, of the study's seeds.")
        return cls(tuple(float(rate) for rate in rates), tuple(str(one) for one in overrides), metric, seeds)

    def to_json(self) -> dict[str, Any]:
        """For study.json, and for `from_config`."""
        plain = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}

    def candidates(self, cfg: DictConfig) -> tuple[str, list[float]]:
        """The key whose value is tried for a cell, and the values, ascending."""
        key = RATE if cfg.tuning.get("learning_rate") is not None else HEAD_RATE
        own = cfg.tuning.learning_rate if key == RATE else cfg.optimizer.lr
        return key, [float(f"{own * rate:.6g}") for rate in sorted(self.rates)]


def _is_rate(rate: Any) -> bool:
    return isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0


def match_sizes(match: Match, cells: Mapping[str, DictConfig]) -> dict[str, Matched | None]:
    """For every cell whose tuning method has a size (rank, bottleneck, prefix length), the one that trains what the
    budget says; None for the others, which stand beside them.

    Weights are those at the end of training: AdaLoRA's are its final ranks', each matrix with its mean share.

    Raises:
        ConfigError: if the budget names no cell with a size, or methods cannot come within 2% of one another.
    """
    if isinstance(match.budget, Mapping):
        return _match_groups(match, cells, match.budget)
    own = {name: _Sizes.of(cfg) for name, cfg in cells.items()}
    sized = {name: sizes for name, sizes in own.items() if sizes is not None}
    if not sized:
        raise ConfigError("study.match: no cell's tuning method has a size to choose; remove study.match.")
    budget = match.budget
    if not isinstance(budget, int):
        name = budget or next(iter(sized))
        if name not in sized:
            raise ConfigError(f"study.budget={budget} is no cell with a size; there are: {', '.join(sized)}.")
        budget = sized[name].trained(sized[name].size)
    found = {name: sizes.nearest(budget) for name, sizes in sized.items()}
    if _apart(found):  # the method with the coarsest steps meets the budget least; the others can come to it
        coarsest = max(sized, key=lambda name: sized[name].step)
        found = {name: sizes.nearest(found[coarsest].trained) for name, sizes in sized.items()}
    if _apart(found):
        trained = {name: one.trained for name, one in found.items()}
        least, most = min(trained, key=trained.__getitem__), max(trained, key=trained.__getitem__)
        raise ConfigError(
            f"study.match: near {budget:,} weights, {least} trains {trained[least]:,} and {most} {trained[most]:,}, "
            f"more than {TOLERANCE:.0%} apart; choose another study.budget (larger ones are met more closely)."
        )
    return {name: found.get(name) for name in own}


def _match_groups(
    match: Match, cells: Mapping[str, DictConfig], groups: Mapping[str, tuple[str, ...]]
) -> dict[str, Matched | None]:
    """Each budget's cells among themselves; those that the command line left out are passed over.

    Raises:
        ConfigError: if none of the cells that are named is there.
    """
    if not any(cell in cells for name, members in groups.items() for cell in (name, *members)):
        raise ConfigError(f"study.budget names {next(iter(groups))}, which is no cell; there are: {', '.join(cells)}.")
    found: dict[str, Matched | None] = dict.fromkeys(cells)
    for name, members in groups.items():
        inside = [cell for cell in dict.fromkeys((name, *members)) if cell in cells]
        if name in cells and len(inside) > 1:
            found |= match_sizes(Match(match.on, name), {cell: cells[cell] for cell in inside})
    return found


def _apart(found: Mapping[str, Matched]) -> bool:
    trained = [one.trained for one in found.values()]
    return max(trained) > (1 + TOLERANCE) * min(trained)


@dataclass(frozen=True)
class _Sizes:
    """A cell's tuning method at different sizes, counted on a backbone without storage."""

    cfg: DictConfig

    @classmethod
    def of(cls, cfg: DictConfig) -> _Sizes | None:
        from funneltune.runs.targets import build

        return cls(cfg) if build(cfg.tuning).size else None

    def _method(self, size: int | None = None) -> Any:
        from funneltune.runs.targets import build

        method = build(self.cfg.tuning)
        return method if size is None else build(self.cfg.tuning, **method.at_size(size))

    @property
    def size(self) -> int:
        """As configured."""
        method = self._method()
        return int(getattr(method, method.size))

    def trained(self, size: int) -> int:
        """Weights at the end of training."""
        from funneltune.runs.targets import build

        method = self._method(size)
        with torch.device("meta"):
            backbone = dataclasses.replace(build(self.cfg.backbone), pretrained=False).model()
            method.apply(backbone)
            if method.sharing != "shared":
                method.share(self._readers())
        return int(method.trained_at_end())

    def _readers(self) -> tuple[str, ...]:
        from funneltune.runs.identity import as_plain
        from funneltune.runs.pairs import readers
        from funneltune.runs.targets import build

        funnel = TaskFunnel.from_config(as_plain(self.cfg)["data"]["tasks"])
        return readers(build(self.cfg.head)(width=1, funnel=funnel), funnel)

    @property
    def step(self) -> int:
        """Weights that one more adds: always the same number."""
        return self.trained(2) - self.trained(1)

    def nearest(self, budget: int) -> Matched:
        """The size whose count is nearest."""
        size = max(1, round((budget - self.trained(1)) / self.step) + 1)
        method = self._method()
        sizes = method.at_size(size)
        return Matched({f"tuning.{field}": value for field, value in sizes.items()}, self.trained(size))
