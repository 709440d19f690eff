"""Whole sessions: a ranking rule per page, chosen by where the session stands, against the best page each time.

Legend: n sessions, C candidates of each, pages of k places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from funneltune.decisions.online.fitted_q import FittedQ, Transitions
from funneltune.decisions.online.shop import Shop
from funneltune.decisions.online.stream import CLICK, Arrivals, Floats, Integers, best_places, sigmoid
from funneltune.errors import ConfigError
from funneltune.marketplace import SessionWorld
from funneltune.marketplace.sessions import Sessions, Shown

RULES = ("ctcvr", "ctr", "revenue", "diverse", "explore")
"""The actions: by p(click and purchase), by p(click), by price x p(click and purchase), by p(click and purchase) with
brands taking turns, and by p(click and purchase) with luck.
"""
GREEDY, ANY = "ctcvr", "any rule"
GOALS = {"purchases": "ctcvr", "revenue": "revenue"}
"""What a learner is rewarded for -> the rule that is greedy for it."""
MEASURES = ("purchases", "clicks", "revenue", "pages", "abandoned")
BRAND_DISCOUNT = 0.7
TRAINING_SEED = 5000
"""What the seed of sessions that are learnt from is away from that of those that are tested."""

Chooser = Callable[[Floats, int], Integers]
"""(state features (n, d), page) -> (n,) the rule's number."""


def scores(arrivals: Arrivals, brand: Integers, rng: np.random.Generator) -> dict[str, Floats]:
    """Rule -> (n, C), higher first. `brand`: (n, C)."""
    value = arrivals.value
    order = np.argsort(-value, axis=1, kind="stable")
    sorted_brand = np.take_along_axis(brand, order, axis=1)
    earlier = np.zeros(order.shape, dtype=np.int64)
    for place in range(1, order.shape[1]):
        earlier[:, place] = (sorted_brand[:, :place] == sorted_brand[:, place : place + 1]).sum(axis=1)
    turn = np.empty_like(earlier)
    np.put_along_axis(turn, order, earlier, axis=1)
    return {
        "ctcvr": value,
        "ctr": sigmoid(arrivals.logits[CLICK]),
        "revenue": value * arrivals.prices,
        "diverse": value * BRAND_DISCOUNT**turn,
        "explore": np.log(value) + rng.gumbel(size=value.shape),
    }


def state_features(sessions: Sessions, by_rule: dict[str, Floats], k: int) -> Floats:
    """(n, 8): 1, pages without a click, clicks, purchases, log money spent, and what the best of what is left promise:
    clicks, purchases, revenue (the best k by each).
    """
    left = [np.where(sessions.shown, -np.inf, by_rule[name]) for name in ("ctr", "ctcvr", "revenue")]
    promise = [np.sort(of, axis=1)[:, -k:].sum(axis=1) for of in left]
    return np.stack(
        [
            np.ones(len(sessions)),
            np.minimum(sessions.dry, 3),
            np.minimum(sessions.clicks, 5),
            sessions.purchases,
            np.log1p(sessions.spent),
            promise[0],
            promise[1],
            np.log1p(promise[2]),
        ],
        axis=1,
    ).astype(np.float64)


def play(
    world: SessionWorld, arrivals: Arrivals, brand: Integers, k: int, choose: Chooser, seed: int
) -> tuple[dict[str, Floats], dict[str, list[Transitions]]]:
    """Sessions from their first page to their last: what each brought (`MEASURES`), and what learners see.

    Purchases, clicks and revenue are expected ones, page by page, given what was drawn before; a learner's reward is
    what was drawn: purchases, or what was paid for them.

    Raises:
        ConfigError: if there are fewer candidates than places of all pages.
    """
    if world.pages * k > arrivals.items.shape[1]:
        raise ConfigError(
            f"candidates={arrivals.items.shape[1]} must be >= {world.pages * k}: {world.pages} pages of {k} without a "
            "repeat; raise candidates, or lower page."
        )
    by_rule = scores(arrivals, brand, np.random.default_rng((seed, 4)))
    stacked = np.stack([by_rule[name] for name in RULES])
    sessions = world.begin(arrivals.request, arrivals.items.shape[1])
    total = {name: np.zeros(len(arrivals)) for name in MEASURES}
    steps: dict[str, list[Transitions]] = {goal: [] for goal in GOALS}
    state = state_features(sessions, by_rule, k)
    for page in range(world.pages):
        alive = sessions.alive
        action = choose(state, page)
        score = np.where(sessions.shown, -np.inf, stacked[action, np.arange(len(action))])
        found, sessions = world.step(sessions, arrivals.items, arrivals.prices, best_places(score, k))
        _add(total, found, alive)
        after = state_features(sessions, by_rule, k) if page + 1 < world.pages else state
        for goal, reward in zip(GOALS, (found.bought.astype(np.float64), found.paid), strict=True):
            of_goal = Transitions(state[alive], action[alive], reward[alive], after[alive], sessions.alive[alive])
            steps[goal].append(of_goal)
        state = after
    total["abandoned"] = (sessions.purchases == 0).astype(np.float64)
    return total, steps


def _add(total: dict[str, Floats], found: Shown, alive: np.ndarray) -> None:
    for name in ("purchases", "clicks", "revenue"):
        total[name] += getattr(found, name)
    total["pages"] += alive


def compare_sessions(
    shop: Shop,
    world: SessionWorld,
    *,
    sessions: int,
    seeds: Sequence[int],
    page: int,
    passes: int = 10,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Floats]]:
    """Policy -> measure -> (seeds,) the mean session's: each rule, rules by lot, and a learner of each goal.

    Of each seed the learners see as many other sessions, `passes` times with other luck, under rules by lot; then they
    are held, with the rest, against sessions that they did not see.

    Raises:
        ConfigError: if there are fewer than 2 sessions.
    """
    if sessions < 2:
        raise ConfigError(f"sessions={sessions} must be >= 2, or 0: none.")
    brand_of = np.unique(shop.world.items["brand"], return_inverse=True)[1]
    found: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        training = shop.arrivals(shop.requests(sessions, TRAINING_SEED + seed))
        learners = learn(world, training, brand_of[training.items], page, passes, seed)
        test = shop.arrivals(shop.requests(sessions, seed))
        lot = np.random.default_rng((seed, 5))
        choosers: dict[str, Chooser] = {name: _always(number) for number, name in enumerate(RULES)}
        choosers[ANY] = lambda state, _, lot=lot: lot.integers(len(RULES), size=len(state))  # type: ignore[misc]
        choosers |= {f"learned for {goal}": learner.act for goal, learner in learners.items()}
        for name, choose in choosers.items():
            total, _ = play(world, test, brand_of[test.items], page, choose, seed)
            for measure, values in total.items():
                found.setdefault(name, {}).setdefault(measure, []).append(float(values.mean()))
        tell(f"sessions: seed {seed}")
    return {name: {m: np.array(values) for m, values in of.items()} for name, of in found.items()}


def learn(
    world: SessionWorld, arrivals: Arrivals, brand: Integers, k: int, passes: int, seed: int
) -> dict[str, FittedQ]:
    """A learner of each goal that saw these sessions `passes` times, each time with other luck, under rules by lot."""
    rng = np.random.default_rng((seed, 6))
    seen: dict[str, list[list[Transitions]]] = {goal: [] for goal in GOALS}
    for number in range(passes):
        request = replace(arrivals.request, number=arrivals.request.number + (number + 1) * 2**48)
        again = replace(arrivals, request=request)
        _, steps = play(
            world, again, brand, k, lambda state, _: rng.integers(len(RULES), size=len(state)), seed + number
        )
        for goal, of_goal in steps.items():
            seen[goal].append(of_goal)
    return {goal: FittedQ(len(RULES)).fit(_joined(runs)) for goal, runs in seen.items()}


def _joined(runs: Sequence[Sequence[Transitions]]) -> list[Transitions]:
    """Page by page, the transitions of all."""
    return [
        Transitions(*(np.concatenate(parts) for parts in zip(*of_page, strict=True)))
        for of_page in zip(*runs, strict=True)
    ]


def _always(number: int) -> Chooser:
    return lambda state, _: np.full(len(state), number)
