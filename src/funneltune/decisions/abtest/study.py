"""An A/B test of two rankings from beginning to end: plan, play, check, interleave, and what to make of it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from funneltune.decisions.abtest.arms import METRICS, RIVALS, TRUE_RATES, Arm, Bench, require_one_world
from funneltune.decisions.abtest.mixed import CREDITS, Mixed, interleave
from funneltune.decisions.abtest.trials import LEVEL, Happened, Pools, Trials, experiment, share_right, tried
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.marketplace.satisfaction import Satisfaction
from funneltune.metrics.ab_tests import detectable_effect, power_at, sample_size, sign_size

FINDS = 0.8
"""How often the true winner must be found, where ways of finding it are compared."""
FEW = 500
"""Shoppers of an arm below which arms often bring exactly the same: their draws are then counted as they are."""
MOST = 20_000
"""Shoppers of an arm, and of an interleaved experiment, beyond which nothing is played through."""


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Args:
        by: What the first run ranks by (a rate, revenue, or weights); empty: its last rate.
        by_b: What the second ranks by; empty: as the first.
        requests: Of the experiment.
        metric: What decides: purchases, clicks, revenue or satisfaction, per shopper.
        power: With which a difference is to be found.
        seeds: Of experiments, each with new coins and new luck; the first is also that of the requests.
        candidates: Items of each request that both arms choose from.
        looks: How often one looks before the end.
        trials: Experiments behind every share that is checked by simulation.
    """

    by: str = ""
    by_b: str = ""
    requests: int = 4000
    metric: str = "purchases"
    power: float = 0.8
    seeds: Sequence[int] = (0, 1, 2)
    candidates: int = 100
    looks: int = 20
    trials: int = 1000

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.metric not in METRICS:
            near = difflib.get_close_matches(self.metric, METRICS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"metric={self.metric} must be one of {', '.join(METRICS)}{hint}")
        if not 0 < self.power < 1:
            raise ConfigError(f"power={self.power:g} must lie between 0 and 1.")
        for name, least in (("requests", 2), ("candidates", 1), ("looks", 1), ("trials", 100)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}.")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds={','.join(map(str, self.seeds))} must be whole numbers >= 0, one or more.")


@dataclass(frozen=True)
class Plan:
    """How many shoppers the true difference needs, and whether that is so; per arm."""

    effect: float
    deviations: tuple[float, float]
    needed: float
    shoppers: int
    """Of an arm of this size."""
    detectable: float
    power_here: float
    """By the formula, at this size."""
    played: int
    """Shoppers of an arm with which the needed size was tried: at most `MOST`."""
    power_played: float
    """By the formula, there."""
    here: Trials
    there: Trials
    equal: Trials
    """The first ranking against itself, at this size."""


@dataclass(frozen=True)
class Way:
    """A way of finding the winner."""

    name: str
    finds: str
    """The ranking that it names, given time."""
    right: bool
    requests: float
    """With which it names the true winner 80% of the time; infinite where it names the other one."""
    simulated: float
    """Share of played experiments of that size that did; NaN where it is too large to play."""


@dataclass(frozen=True)
class Compared:
    """All of it."""

    settings: Settings
    arms: tuple[Arm, Arm]
    bench: Bench
    satisfaction: tuple[Satisfaction, Satisfaction]
    truth: dict[str, tuple[float, float]]
    """Metric -> per shopper, under each ranking, for the same shoppers."""
    happened: list[Happened]
    """One per seed."""
    plan: Plan
    ways: list[Way]

    @property
    def same(self) -> bool:
        """Whether both rankings show the same pages: an A/A test."""
        return bool((self.arms[0].pages.items == self.arms[1].pages.items).all())

    @property
    def winner(self) -> int:
        """Of the metric, in truth: 0, 1; -1 where both rankings bring the same."""
        return _winner(self.plan.effect)


def abtest(run_a: Path, run_b: Path | str, settings: Settings) -> Compared:
    """Two rankings on the same new requests of one world.

    Args:
        run_a: A run's folder.
        run_b: Likewise, or random, popularity, bm25, oracle.
        settings: What is asked for.

    Raises:
        ConfigError: if the log is not the marketplace's, or the runs are of different worlds.
        RunError: if one is no finished run.
    """
    rival = str(run_b) if str(run_b) in RIVALS else ""
    if rival not in ("", "oracle") and settings.by_b:
        raise ConfigError(f"by_b={settings.by_b} says nothing with run_b={rival}; it goes with a run or the oracle.")
    bench = Bench.of_run(run_a, settings.requests, settings.seeds[0], settings.candidates)
    by_b = settings.by_b or settings.by
    a = bench.of_scorer("A", bench.shop.scorer, settings.by)
    if rival:
        b = bench.rival(rival, by_b or TRUE_RATES[-1])
    else:
        scorer = bench.shop.scorer if Path(run_b) == run_a else Scorer.of_run(Path(run_b))
        require_one_world(bench.shop.scorer, scorer)
        b = bench.of_scorer("B", scorer, by_b)
    return compared(bench, a, b, settings)


def compared(bench: Bench, a: Arm, b: Arm, settings: Settings) -> Compared:
    """Two arms, in truth, in the experiments of the seeds, and in those that check them."""
    rng = np.random.default_rng([settings.seeds[0], 1])
    metric = settings.metric
    pools = [Pools.of(bench, arm.pages, rng) for arm in (a, b)]
    truth = {name: (pools[0][name].mean, pools[1][name].mean) for name in METRICS}
    truth["conversion"] = tuple(_converting(bench, arm) for arm in (a, b))  # type: ignore[assignment]
    happened = [
        experiment(bench, a.pages, b.pages, metric, settings.looks, np.random.default_rng([seed, 2]))
        for seed in settings.seeds
    ]
    plan = _plan(pools[0][metric], pools[1][metric], len(bench.users) // 2, settings, rng)
    mixed = interleave(bench, a.pages, b.pages, rng)
    return Compared(
        settings,
        (a, b),
        bench,
        (bench.satisfaction(a.pages), bench.satisfaction(b.pages)),
        truth,
        happened,
        plan,
        _ways(bench, pools, mixed, _winner(plan.effect), settings, rng),
    )


def _winner(effect: float) -> int:
    return -1 if effect == 0 else int(effect > 0)


def _converting(bench: Bench, arm: Arm) -> float:
    """Expected share of shoppers who buy anything."""
    with np.errstate(divide="ignore"):
        nothing = np.exp(bench.by_user(np.log(arm.pages.unsold)))
    return float(1.0 - nothing.mean())


def _plan(a: Pools, b: Pools, shoppers: int, settings: Settings, rng: np.random.Generator) -> Plan:
    effect, power = b.mean - a.mean, settings.power
    apart = (a.deviation, b.deviation)
    needed = sample_size(*apart, effect, power, LEVEL)
    least = 2 * settings.looks
    played = shoppers if math.isinf(needed) else max(least, min(math.ceil(needed), MOST))

    def play(other: Pools, n: int) -> Trials:
        return tried(a.values, other.values, n, settings.looks, settings.trials, rng)

    return Plan(
        effect=effect,
        deviations=apart,
        needed=needed,
        shoppers=shoppers,
        detectable=detectable_effect(*apart, shoppers, power, LEVEL),
        power_here=power_at(*apart, effect, shoppers, LEVEL),
        played=played,
        power_played=power_at(*apart, effect, played, LEVEL),
        here=play(b, shoppers),
        there=play(b, played),
        equal=play(a, shoppers),
    )


def _ways(
    bench: Bench,
    pools: Sequence[dict[str, Pools]],
    mixed: dict[str, Mixed],
    winner: int,
    settings: Settings,
    rng: np.random.Generator,
) -> list[Way]:
    """Each way of finding the winner, with the requests that it needs to name it `FINDS` of the time."""
    per_user = len(bench.request) / len(bench.users)
    names = ("A", "B")
    found: list[Way] = []
    for name in dict.fromkeys((settings.metric, *CREDITS)):
        a, b = pools[0][name], pools[1][name]
        sign = float(np.sign(b.mean - a.mean))
        n = sign_size(a.deviation**2 + b.deviation**2, b.mean - a.mean, FINDS)
        pool: tuple[Any, Any] = (a.drawn, b.drawn) if n < FEW else (a.values, b.values)
        found.append(_way(f"A/B by {name}", sign, n, 2 * per_user, winner, names, pool, settings, rng))
    for name, one in mixed.items():
        n = sign_size(float(one.values.var()), one.preference if one.sign else 0.0, FINDS)
        pool = (one.values, None)
        found.append(_way(f"interleaving by {name}", one.sign, n, per_user, winner, names, pool, settings, rng))
    return found


def _way(
    name: str,
    sign: float,
    n: float,
    requests_each: float,
    winner: int,
    names: tuple[str, str],
    pool: tuple[Any, Any],
    settings: Settings,
    rng: np.random.Generator,
) -> Way:
    right = winner >= 0 and sign != 0 and int(sign > 0) == winner
    size = n if right else math.inf
    simulated = math.nan
    if right and size <= MOST:
        simulated = share_right(*pool, max(1, math.ceil(size)), sign, settings.trials, rng)
    finds = "neither" if sign == 0 else names[int(sign > 0)]
    return Way(name, finds, right, math.ceil(size) * requests_each if right else math.inf, simulated)


def asked(settings: Settings) -> dict[str, Any]:
    """The settings as the record keeps them."""
    return asdict(settings) | {"seeds": list(settings.seeds)}
