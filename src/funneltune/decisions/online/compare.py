"""Policies side by side on the same requests, while tastes move: who follows, how fast, at what cost.

Legend: S seeds, n requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from funneltune.decisions.online.incremental import Incremental
from funneltune.decisions.online.policies import AtRandom, LastLayer, Policy, Static
from funneltune.decisions.online.shop import Shop
from funneltune.decisions.online.stream import Arrivals, Floats, Gained, Market, Page, best_places
from funneltune.errors import ConfigError

ORACLE, STATIC = "oracle", "static"
POLICIES = ("static", "greedy", "epsilon", "thompson", "thompson_diagonal", "incremental", "random")
"""What `policies` may name; the oracle is always there."""
MEASURES = tuple(Gained.__dataclass_fields__)
PROBE, PROBE_SEED = 300, 1000
"""Requests of before the shift on which forgetting is measured, and what their seed is away from a seed's own: no
policy learns from them.
"""


@dataclass
class Compared:
    """What was measured, by policy."""

    days: Floats
    """(S, n)."""
    shift: int
    """The first request of after the shift."""
    gained: dict[str, dict[str, Floats]] = field(default_factory=dict)
    """Policy -> measure (`Gained`) -> (S, n)."""
    seconds: dict[str, Floats] = field(default_factory=dict)
    """Policy -> (S,) seconds per update."""
    old_taste: dict[str, Floats] = field(default_factory=dict)
    """Policy -> (S, 2): purchases per request on requests of old taste, before anything was learnt and at the end."""

    def purchases(self, policy: str) -> Floats:
        """(S, n)."""
        return self.gained[policy]["purchases"]

    @property
    def policies(self) -> list[str]:
        """By name, the oracle last."""
        return list(self.gained)


def require_policies(names: Sequence[str]) -> list[str]:
    """The policies to compare, the static one always among them.

    Raises:
        ConfigError: if a name is none.
    """
    for name in names:
        if name not in POLICIES:
            raise ConfigError(f"policies: {name!r} must be one of {', '.join(POLICIES)}.")
    return list(dict.fromkeys((STATIC, *names)))


def compare(
    shop: Shop,
    make: Mapping[str, Callable[[int], Policy]],
    *,
    requests: int = 2000,
    seeds: Sequence[int] = (0, 1, 2),
    page: int = 10,
    every: int = 100,
    tell: Callable[[str], None] = lambda _: None,
) -> Compared:
    """Run each policy through the same requests, block by block: it shows a block, then learns from it.

    Args:
        shop: Where requests come from.
        make: Policy's name -> the policy at its start, by seed.
        requests: Of each seed, over all days of the log: half before the shift, half after.
        seeds: Of requests, outcomes and policies.
        page: Places of a page.
        every: Requests of a block.
        tell: Is told how far it is.

    Raises:
        ConfigError: if a number is out of range.
    """
    if not 1 <= every <= requests / 2:
        raise ConfigError(f"every={every} must lie in 1 .. {requests // 2}, half of requests={requests}.")
    if page > shop.candidates:
        raise ConfigError(f"page={page} must be <= candidates={shop.candidates}; raise candidates.")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"seeds={','.join(map(str, seeds))} must be distinct whole numbers >= 0, one or more.")
    seen, days = shop.seen(page), []
    parts: list[dict[str, tuple[dict[str, Floats], float, tuple[float, float]]]] = []
    for number, seed in enumerate(seeds):
        arrivals = shop.arrivals(shop.requests(requests, seed))
        days.append(arrivals.request.day)
        asked = shop.arrivals(shop.requests(2 * PROBE, PROBE_SEED + seed))
        probe = asked.rows(np.flatnonzero(asked.request.day < shop.world.days / 2))
        parts.append({})
        for name in (*make, ORACLE):
            policy = make[name](seed) if name != ORACLE else None
            parts[-1][name] = _through(shop, policy, arrivals, probe, page, every, seen)
            tell(f"seed {seed} ({number + 1} of {len(seeds)}): {name}")
    result = Compared(np.stack(days), int(np.searchsorted(days[0], shop.world.days / 2)))
    for name in parts[0]:
        result.gained[name] = {m: np.stack([part[name][0][m] for part in parts]) for m in MEASURES}
        if name != ORACLE:
            result.seconds[name] = np.array([part[name][1] for part in parts])
            result.old_taste[name] = np.array([part[name][2] for part in parts])
    return result


def policies_of(
    run: Path,
    shop: Shop,
    names: Sequence[str],
    *,
    spread: float = 0.2,
    half_life: float | None = None,
    epsilon: float = 0.1,
    incremental: Mapping[str, Any] | None = None,
) -> dict[str, Callable[[int], Policy]]:
    """How each named policy starts, by seed.

    Args:
        run: Its folder: the incremental policy loads it a second time.
        shop: Of the run.
        names: Of `POLICIES`.
        spread: See `LastLayer`; also half_life and epsilon.
        half_life: In requests.
        epsilon: The chance.
        incremental: Arguments of `Incremental`.
    """
    width = 2 + shop.coordinates.shape[1]

    def last_layer(exploration: Any, covariance: Any = "full") -> Callable[[int], Policy]:
        return lambda seed: LastLayer(
            width=width,
            exploration=exploration,
            covariance=covariance,
            spread=spread,
            half_life=half_life,
            epsilon=epsilon,
            seed=seed,
        )

    made: dict[str, Callable[[int], Policy]] = {
        "static": lambda _: Static(),
        "greedy": last_layer("none"),
        "epsilon": last_layer("epsilon"),
        "thompson": last_layer("thompson"),
        "thompson_diagonal": last_layer("thompson", "diagonal"),
        "random": AtRandom,
    }
    if "incremental" in names:
        learner = Incremental(run, shop, **(incremental or {}))

        def begun(seed: int) -> Policy:
            learner.begin(seed)
            return learner

        made["incremental"] = begun
    return {name: made[name] for name in require_policies(names)}


def _through(
    shop: Shop, policy: Policy | None, arrivals: Arrivals, probe: Arrivals, k: int, every: int, seen: Floats
) -> tuple[dict[str, Floats], float, tuple[float, float]]:
    """One policy (None: the oracle) through one seed's requests: what it gained, seconds per update, old taste."""
    market = Market(shop.world, k)
    gained: dict[str, list[Floats]] = {name: [] for name in MEASURES}
    begun = np.nan if policy is None else _on(shop, policy, probe, k)
    seconds = []
    for _, block in arrivals.blocks(every):
        places = best_places(market.truth(block), k) if policy is None else policy.places(block, k)
        outcome, found = market.show(block, places)
        for name in MEASURES:
            gained[name].append(getattr(found, name))
        if policy is not None:
            start = time.perf_counter()
            policy.learn(block, Page(places, outcome, seen))
            seconds.append(time.perf_counter() - start)
    ended = np.nan if policy is None else _on(shop, policy, probe, k)
    whole = {name: np.concatenate(of) for name, of in gained.items()}
    return whole, float(np.mean(seconds)) if seconds else 0.0, (float(begun), float(ended))


def _on(shop: Shop, policy: Policy, probe: Arrivals, k: int) -> float:
    """Purchases per request of old taste, with full shelves, as the policy would show them now."""
    return float(Market(shop.world, k).show(probe, policy.places(probe, k))[1].purchases.mean())
