"""How well the next category is predicted, and what lists without words gain by it.

Legend: n moments, U shoppers, C categories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from funneltune.decisions.need.lists import BY_HISTORY, BY_OWN, WITH, Lists, make_lists
from funneltune.decisions.need.log import (
    SPLITS,
    Floats,
    Integers,
    Log,
    Moments,
    moments,
    read_log,
    require_enough,
)
from funneltune.decisions.need.model import MOST, History, Need, fit, prior_of
from funneltune.decisions.need.own import OwnTask, own_task
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.marketplace import policy_of, world_of
from funneltune.marketplace.log import EPOCH
from funneltune.marketplace.needs import true_needs
from funneltune.metrics import ece
from funneltune.metrics.intervals import Interval, clustered_mean
from funneltune.metrics.levels import row_level_losses

MODEL, PRIOR, OWN, SHUFFLED, TRUTH = (
    "the model",
    "popularity",
    "own shares",
    "labels shuffled",
    "the truth",
)
RUN, RAW, UNASKED = "the run", "the run, as trained", "the run, unasked"
"""Of a run with a task of its own: told the request's words and page, calibrated and not; and told neither."""
TRUE_PAGES = 100_000
"""Requests that the truth is drawn from, over all shoppers."""


@dataclass(frozen=True)
class Settings:
    """What is asked.

    Args:
        category: Column of the items; None: that of the run's own task, else `category`.
        top: Categories told of each shopper.
        places: Items of a list without words.
        depth: Candidates of these lists: the most clicked items of the training.
        requests: Lists are judged on the test split's first so many requests; None: all.
        seed: Of the shuffled labels.

    Raises:
        ConfigError: if a value is out of range.
    """

    category: str | None = None
    top: int = 3
    places: int = 10
    depth: int = 300
    requests: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no such number."""
        for name, least in (("top", 1), ("places", 1), ("depth", 2), ("requests", 2), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be a whole number, {least} or more.")
        if self.depth <= self.places:
            raise ConfigError(f"depth={self.depth} must be > places={self.places}: a list chooses among candidates.")


@dataclass(frozen=True)
class Judged:
    """Predictions at the test moments; arrays are (n,) per way."""

    said: dict[str, Floats]
    """Way -> (n, C)."""
    told: Moments

    @property
    def headline(self) -> str:
        """The way that is held against the others."""
        return RUN if RUN in self.said else MODEL

    def losses(self, way: str) -> Floats:
        """-log p of the category that came, in nats."""
        return row_level_losses(self.told.need, self.said[way])

    def hits(self, way: str, k: int) -> Floats:
        """1 where the category that came is among the k likeliest."""
        p = self.said[way]
        own = p[np.arange(len(p)), self.told.need]
        return np.asarray((p > own[:, None]).sum(axis=1) < k, dtype=np.float64)

    def mean(self, way: str, measure: str) -> Interval:
        """Per moment, clustered by shopper: `log_loss`, `top1`, `top3`."""
        return clustered_mean(self._rows(way, measure), self.told.user)

    def gain(self, way: str, other: str, measure: str) -> Interval:
        """Of one way over another: what its log loss is lower, or its hits are more."""
        sign = -1.0 if measure == "log_loss" else 1.0
        return clustered_mean(sign * (self._rows(way, measure) - self._rows(other, measure)), self.told.user)

    def calibration_error(self, way: str) -> float:
        """ECE of the likeliest category's probability (Guo et al. 2017)."""
        p = self.said[way]
        return ece((p.argmax(axis=1) == self.told.need).astype(np.int8), p.max(axis=1))

    def _rows(self, way: str, measure: str) -> Floats:
        return self.losses(way) if measure == "log_loss" else self.hits(way, int(measure.removeprefix("top")))


@dataclass(frozen=True)
class Truth:
    """Of the marketplace: shoppers who come in the test days."""

    user: Integers
    need: Floats
    """(U, C): shares of the purchases that the world expects of each."""
    said: dict[str, Floats]
    """Way -> (U, C) at the last moment before the test days."""

    def divergence(self, way: str) -> Interval:
        """Expected log loss of what is said, less the truth's own entropy (Kullback-Leibler), over shoppers."""
        p = np.clip(self.said[way], 1e-12, None)
        q = np.clip(self.need, 1e-12, None)
        return clustered_mean((self.need * (np.log(q) - np.log(p))).sum(axis=1), self.user)

    def rank_correlation(self, way: str) -> Interval:
        """Spearman's, over shoppers for each category (what sets shoppers apart), mean over categories.

        The interval is over categories.
        """
        from scipy.stats import rankdata

        said, true = (rankdata(of, axis=0) for of in (self.said[way], self.need))
        said, true = (of - of.mean(axis=0) for of in (said, true))
        scale = np.sqrt((said**2).sum(axis=0) * (true**2).sum(axis=0))
        found = np.divide((said * true).sum(axis=0), scale, out=np.zeros(len(scale)), where=scale > 0)
        return clustered_mean(found, np.arange(len(found)))


@dataclass(frozen=True)
class Study:
    """All that the verb tells."""

    settings: Settings
    log: Log
    history: History
    found: dict[str, Moments]
    need: Need
    own: OwnTask | None
    """What the run was trained to say, where it has such a task."""
    judged: Judged
    truth: Truth | None
    lists: Lists


def study(scorer: Scorer, settings: Settings) -> Study:
    """Fit on the training moments, choose on the validation ones, judge on the test ones.

    Raises:
        ConfigError: if the log tells no shopper, time or category.
        DataError: if too few buy again.
    """
    column = settings.category or next((task.next for task in scorer.funnel.following), "category")
    log = read_log(scorer, column)
    found = {split: moments(scorer, log, split) for split in SPLITS}
    require_enough(found, len(log.names), log.event)
    if len(found["train"]) > MOST:
        found["train"] = found["train"].among(np.linspace(0, len(found["train"]) - 1, MOST).astype(np.int64))
    history = History(log, scorer)
    prior = prior_of(found["train"], len(log.names))
    read = {split: history.attributes(of.user, of.time, prior) for split, of in found.items()}
    counts = {split: history.own_counts(found[split].user, found[split].time) for split in ("validation", "test")}
    need = fit(prior, (read["train"], found["train"]), (read["validation"], found["validation"]), counts["validation"])
    task, test = own_task(scorer, column), found["test"]
    own = None if task is None else OwnTask.of(scorer, task, log, prior, found["validation"])
    shuffled = _shuffled(read, found, prior, settings.seed)
    tellers = _tellers(history, need, own)
    said = _of_run(own, test) | {
        MODEL: need.of(read["test"]),
        OWN: need.own(counts["test"]),
        PRIOR: np.broadcast_to(prior, (len(test), len(prior))),
        SHUFFLED: shuffled.of(read["test"]),
    }
    truth = _truth(scorer, log, {**tellers, SHUFFLED: lambda u, t: shuffled.of(history.attributes(u, t, prior))}, prior)
    if truth is not None:
        said[TRUTH] = truth.need[np.searchsorted(truth.user, test.user)]
    ranked = {WITH: tellers[UNASKED if own else MODEL], BY_OWN: tellers[OWN]}
    lists = make_lists(
        scorer,
        log,
        prior,
        ranked if own is None else ranked | {BY_HISTORY: tellers[MODEL]},
        found["validation"],
        test,
        truth=None if truth is None else (truth.user, truth.need),
        places=settings.places,
        depth=settings.depth,
        most=settings.requests,
    )
    settings = replace(settings, category=column)
    return Study(settings, log, history, found, need, own, Judged(said, test), truth, lists)


Teller = Callable[[Integers, Floats], Floats]
"""(n,) shoppers and times -> (n, C): what each needs next, whatever it may ask then."""


def _tellers(history: History, need: Need, own: OwnTask | None) -> dict[str, Teller]:
    found: dict[str, Teller] = {
        MODEL: lambda user, time: need.of(history.attributes(user, time, need.prior)),
        OWN: lambda user, time: need.own(history.own_counts(user, time)),
        PRIOR: lambda user, _: np.broadcast_to(need.prior, (len(user), len(need.prior))),
    }
    return found if own is None else {UNASKED: own.unasked, **found}


def _of_run(own: OwnTask | None, test: Moments) -> dict[str, Floats]:
    if own is None:
        return {}
    return {RUN: own.asked(test.request), RAW: own.raw(test.request), UNASKED: own.unasked(test.user, test.time)}


def _shuffled(read: dict[str, Floats], found: dict[str, Moments], prior: Floats, seed: int) -> Need:
    """The same model where shoppers swap their purchases: it has nothing to learn but the prior."""
    rng = np.random.default_rng(seed)
    parts = {}
    for split in ("train", "validation"):
        users, place = np.unique(found[split].user, return_inverse=True)
        # a whole shopper's labels go to another: shuffled moments would still tell who buys often
        other = rng.permutation(len(users))[place]
        first = np.unique(place, return_index=True)[1]
        parts[split] = (read[split], found[split].with_need(found[split].need[first][other]))
    return fit(prior, parts["train"], parts["validation"])


def _truth(scorer: Scorer, log: Log, tellers: dict[str, Teller], prior: Floats) -> Truth | None:
    """What the world expects of the shoppers who come in the test days; None on any other log."""
    try:
        world = world_of(scorer.folder)
    except ConfigError:
        return None
    store = scorer.assembly.data.store
    rows = store.request_offsets[np.sort(scorer.assembly.data.requests("test"))]
    user = np.unique(store.column("user")[rows]).astype(np.int64)
    times = store.column("time")[rows].astype(np.float64)
    day = (float(np.median(times)) - EPOCH) / 86_400.0
    pages = int(np.clip(TRUE_PAGES // len(user), 20, 600))
    shares = true_needs(world, policy_of(scorer.folder), user, day, log.category, len(prior), pages)
    when = np.full(len(user), times.min())
    return Truth(user, shares, {way: tell(user, when) for way, tell in tellers.items()})
