"""A log's decisions: their chances under the logging and a target policy, their rewards, a model's words on them.

A decision fills one place of a logged page, given the items that the log shows above it. The value that is estimated is
the mean over these decisions of what the target policy earns at the place: one place at a time is changed, the log's
places above stay. What a whole page of the target policy would earn (its own items above, what stands beside) is
another number, which weights of whole pages would have to find.

Legend: n requests, k places, C items; D decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked, Simulated
from funneltune.data.pseudonyms import plain_source
from funneltune.decisions.choices import Choices, Chooser
from funneltune.decisions.order import REVENUE, Worth
from funneltune.decisions.requests import logged_requests
from funneltune.decisions.scorer import Rates, Scorer
from funneltune.errors import ConfigError, DataError
from funneltune.marketplace import WorldRequests, policy_of, world_requests
from funneltune.metrics.off_policy import Logged

Floats = NDArray[np.float64]
CELLS = 400_000
"""Requests x items at a time: bounds memory."""
WIDE = 32
"""Items of a page that the world is asked about: in a cascade, a longer one is looked at to its end by no one."""


@dataclass(frozen=True)
class Decisions:
    """A log's decisions under a target policy, (D,) each."""

    logged: Logged
    truth: float = float("nan")
    """What the target policy earns per decision, by the world's own probabilities; NaN: unknown."""
    truth_of_log: float = float("nan")
    """What the logging policy does."""
    left_out: int = 0
    """Places that were filled without a draw, so that they have no chance."""


@dataclass(frozen=True)
class Reward:
    """What a decision earns: a task's label, or the price of what was bought."""

    name: str
    task: str
    """Whose label counts."""
    rate: str
    """The run's p(that label), over all impressions: the reward model."""

    @classmethod
    def parse(cls, name: str, scorer: Scorer) -> Reward:
        """A binary task of the run, or revenue; without a name the run's first binary task.

        Raises:
            ConfigError: if the run predicts no such reward, or the log has no price.
        """
        rates = {task.name: task.joint_rate if task.given else task.rate for task in scorer.funnel.binary}
        name, last, priced = name or next(iter(rates)), list(rates)[-1], scorer.assembly.data.store.has("price")
        if name == REVENUE and not priced:
            raise ConfigError(
                f"reward=revenue needs the price of every impression, and the log has none; choose reward={last}, or "
                "name its column (data.source.price)."
            )
        if name not in (*rates, REVENUE):
            known = (*rates, REVENUE) if priced else rates
            raise ConfigError(f"reward={name} is nothing that run and log tell; choose {', '.join(known)}.")
        task = last if name == REVENUE else name
        return cls(name, task, rates[task])

    def of(self, chance: Floats, price: Floats | None) -> Floats:
        """Its mean where the label has that chance."""
        return chance if self.name != REVENUE or price is None else chance * price


def decisions_of(
    scorer: Scorer, chooser: Chooser, worth: Worth, reward: Reward, split: str = "test", most: int | None = None
) -> Decisions:
    """A split's decisions with their weights, rewards and the model's words on them.

    `most`: only the first so many requests.

    Raises:
        ConfigError: if the policy tilts a logging policy whose chances are not all known, or a price is missing.
        DataError: if the log tells no chances, or such as are none.
    """
    if isinstance(plain_source(scorer.assembly.data.source), Simulated):
        return _of_market(scorer, chooser, worth, reward, split, most)
    return _of_log(scorer, chooser, worth, reward, split, most)


# --- the marketplace: pages, exact chances, the truth --------------------------------------------------------------


def _of_market(
    scorer: Scorer, chooser: Chooser, worth: Worth, reward: Reward, split: str, most: int | None
) -> Decisions:
    """Pages of a simulated log; a place's items are those on sale and not above it."""
    data, store = scorer.assembly.data, scorer.assembly.data.store
    logging = policy_of(scorer.folder)
    requests = [one for one in logged_requests(scorer, split, most) if one.rows is not None]
    whole = world_requests(scorer.folder, np.array([int(one.key) for one in requests]))
    seen = float(store.column("propensity")[data.rows("train")].mean())
    parts, truths, log_truths, left_out = [], [], [], 0
    at_once = max(1, CELLS // len(scorer.catalogue))
    for start in range(0, len(requests), at_once):
        block = requests[start : start + at_once]
        here = whole.among(whole.request.number[start : start + at_once])
        rows = np.stack([np.asarray(one.rows) for one in block])
        every = np.broadcast_to(np.arange(len(scorer.catalogue)), (len(block), len(scorer.catalogue)))
        price = here.world.prices(every, here.request.day).astype(np.float64)
        prices = [{"price": at} if "price" in data.features.numbers else {} for at in price]
        asked = [replace(one.asked, columns=columns) for one, columns in zip(block, prices, strict=True)]
        said = scorer.score(asked, [None] * len(block))
        chances = logging.chances(here.world, here.request)
        choices = chooser.over(_worths(worth, said, price), here.on_sale, chances)
        drawn = np.arange(here.shown.shape[1]) < logging.places_drawn(here.world, here.request)[:, None]
        look = store.column("propensity")[rows].astype(np.float64)
        model = reward.of(np.stack([one[reward.rate] for one in said]), price)
        true = reward.of(_truth(here, every, reward.task), price)
        paid = store.column("price")[rows] if reward.name == REVENUE else None
        earned = reward.of(store.column(reward.task)[rows].astype(np.float64), paid)
        columns = {
            "reward": earned,
            "weight": choices.chances(here.shown) / Choices(chances).chances(here.shown),
            "cluster": np.broadcast_to(here.request.user[:, None], drawn.shape),
            "predicted": np.take_along_axis(model, here.shown, axis=1) * look / seen,
            "expected": choices.mean(model, here.shown) * look / seen,
        }
        parts.append({name: column[drawn] for name, column in columns.items()})
        truths.append((choices.mean(true, here.shown) * look)[drawn])
        log_truths.append((Choices(chances).mean(true, here.shown) * look)[drawn])
        left_out += int((~drawn).sum())
    store.release()
    logged = Logged(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return Decisions(logged, float(np.concatenate(truths).mean()), float(np.concatenate(log_truths).mean()), left_out)


def _worths(worth: Worth, said: Sequence[Rates], price: Floats | None) -> Floats:
    """(n, C) what the policy ranks by."""
    return np.stack([worth.of(one, None if price is None else price[row]) for row, one in enumerate(said)])


def _truth(requests: WorldRequests, items: NDArray[np.int64], task: str) -> Floats:
    """(n, C): p(label | looked at), which does not depend on the place."""
    found = np.zeros(items.shape)
    for start in range(0, items.shape[1], WIDE):
        outcome = requests.outcomes(items[:, start : start + WIDE])
        chance = outcome.p_click.astype(np.float64) / np.maximum(outcome.p_examine, 1e-12)
        if task == "cart":
            chance = chance * outcome.p_cart_given_click
        elif task == "purchase":
            chance = chance * outcome.p_purchase_given_click
        found[:, start : start + WIDE] = chance
    return found


# --- any other log: one item a decision, with its chance -----------------------------------------------------------


def _of_log(scorer: Scorer, chooser: Chooser, worth: Worth, reward: Reward, split: str, most: int | None) -> Decisions:
    """Each row is a decision among all items of the log, whose chance the log tells."""
    store, items = scorer.assembly.data.store, len(scorer.catalogue)
    if not store.has("propensity"):
        raise DataError(
            f"run={scorer.folder}: the log has no propensity, the chance with which its policy showed each item; name "
            "its column (data.source.propensity), or draw shown items at random and log their chances."
        )
    rows = np.concatenate([np.asarray(one.rows) for one in logged_requests(scorer, split, most)])
    chance = store.column("propensity")[rows].astype(np.float64)
    if wrong := chance[~((chance > 0) & (chance <= 1))].tolist():
        raise DataError(f"run={scorer.folder}: propensity={wrong[0]:g} must lie in (0, 1]: it is the chance of a row.")
    price = scorer.catalogue.price if REVENUE in (reward.name, *worth.weights) else None
    shown = store.column("item")[rows].astype(np.int64)[:, None]
    parts = []
    on_sale = np.ones((1, items), dtype=bool)
    for asked, part in _asked_of_rows(scorer, split, most, max(1, CELLS // items)):
        said = scorer.score(asked, [None] * len(asked))
        prices = None if price is None else np.broadcast_to(price, (len(asked), items))
        choices = chooser.over(_worths(worth, said, prices), np.repeat(on_sale, len(asked), axis=0))
        model = reward.of(np.stack([one[reward.rate] for one in said]), prices)
        page = shown[part]
        parts.append(
            {
                "target": choices.chances(page)[:, 0],
                "predicted": np.take_along_axis(model, page, axis=1)[:, 0],
                "expected": choices.mean(model, page)[:, 0],
            }
        )
    target, predicted, expected = (np.concatenate([part[name] for part in parts]) for name in parts[0])
    user = store.column("user")[rows]
    cluster = user if len(np.unique(user)) > 1 else store.column("request")[rows]  # a log without shoppers
    paid = store.column("price")[rows].astype(np.float64) if reward.name == REVENUE else None
    earned = reward.of(store.column(reward.task)[rows].astype(np.float64), paid)
    store.release()
    return Decisions(Logged(earned, target / chance, cluster.astype(np.int64), predicted, expected))


def _asked_of_rows(
    scorer: Scorer, split: str, most: int | None, at_once: int
) -> Iterator[tuple[list[Asked], NDArray[np.int64]]]:
    """Each row's request alone, without what tells the item that was shown; some at a time, with their places."""
    asked = [
        replace(one.asked, columns={n: value[row] for n, value in one.asked.columns.items() if n != "price"})
        for one in logged_requests(scorer, split, most)
        for row in range(len(np.asarray(one.rows)))
    ]
    for start in range(0, len(asked), at_once):
        part = asked[start : start + at_once]
        yield part, start + np.arange(len(part))
