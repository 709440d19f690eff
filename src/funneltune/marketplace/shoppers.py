"""Who shops: age, segment, tastes, how much a price matters, what they bought before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.catalogue import TASTE_WIDTH, Catalogue
from funneltune.marketplace.vocabulary import Vocabulary

AGE_BANDS = ("18-24", "25-34", "35-49", "50-64", "65+")
# segment: share, mean price sensitivity, median monthly budget, chances of the age bands
SEGMENTS: dict[str, tuple[float, float, float, tuple[float, ...]]] = {
    "student": (0.15, 1.5, 150.0, (0.8, 0.2, 0.0, 0.0, 0.0)),
    "young professional": (0.2, 0.7, 500.0, (0.15, 0.7, 0.15, 0.0, 0.0)),
    "family": (0.25, 1.1, 600.0, (0.02, 0.33, 0.55, 0.1, 0.0)),
    "bargain hunter": (0.15, 2.0, 250.0, (0.15, 0.2, 0.3, 0.25, 0.1)),
    "connoisseur": (0.1, 0.3, 1200.0, (0.0, 0.15, 0.4, 0.35, 0.1)),
    "retiree": (0.15, 0.9, 400.0, (0.0, 0.0, 0.0, 0.3, 0.7)),
}
HISTORY = 5


@dataclass(frozen=True)
class Shoppers:
    """Shoppers as columns; every array has one entry per shopper."""

    segment: NDArray[np.int8]
    age: NDArray[np.int8]
    sensitivity: NDArray[np.float32]  # to price; about 1 on average
    budget: NDArray[np.float32]  # a month
    taste: NDArray[np.float32]  # (shoppers, 8), of about unit length
    taste_later: NDArray[np.float32]  # what a full shift of tastes leads to
    activity: NDArray[np.float64]  # weight of being the one who searches
    joined: NDArray[np.float32]  # day of the log; 0: from the start
    favourite: NDArray[np.int16]  # the group that they buy from most
    orders: NDArray[np.int32]  # before the log
    history: NDArray[np.int32]  # (shoppers, 5) items bought before the log, -1 none, the latest first

    def __len__(self) -> int:
        return len(self.segment)


def build_shoppers(
    vocabulary: Vocabulary,
    catalogue: Catalogue,
    rng: np.random.Generator,
    shoppers: int,
    days: int,
    cold_share: float,
    taste_groups: float = 0.5,
) -> Shoppers:
    """Draw `shoppers`; at least one of them is there from the first day. `taste_groups`: how much segments count."""
    share, sensitivity, budget, ages = zip(*SEGMENTS.values(), strict=True)
    segment = rng.choice(len(SEGMENTS), size=shoppers, p=np.array(share)).astype(np.int8)
    age = (rng.random((shoppers, 1)) > np.cumsum(ages, axis=1)[segment]).sum(axis=1)
    cold = rng.permutation(shoppers)[: min(int(cold_share * shoppers), shoppers - 1)]
    joined = np.zeros(shoppers, dtype=np.float32)
    joined[cold] = rng.uniform(0.65, 0.98, len(cold)) * days
    favourite = rng.integers(0, len(vocabulary.groups), shoppers).astype(np.int16)
    orders = rng.poisson(rng.gamma(1.2, 3.0, shoppers)).astype(np.int32)
    orders[cold] = 0
    return Shoppers(
        segment=segment,
        age=np.minimum(age, len(AGE_BANDS) - 1).astype(np.int8),
        sensitivity=(np.array(sensitivity)[segment] * rng.lognormal(-0.045, 0.3, shoppers)).astype(np.float32),
        budget=(np.array(budget)[segment] * rng.lognormal(0.0, 0.4, shoppers)).astype(np.float32),
        taste=_tastes(rng, segment, taste_groups),
        taste_later=_tastes(rng, segment, taste_groups),
        activity=rng.gamma(0.8, 1.0, shoppers) + 0.02,
        joined=joined,
        favourite=favourite,
        orders=orders,
        history=_histories(vocabulary, catalogue, rng, favourite, orders),
    )


def _tastes(rng: np.random.Generator, segment: NDArray[np.int8], apart: float) -> NDArray[np.float32]:
    """A trend that all follow, a leaning of each segment, and each shopper's own."""
    trend = rng.standard_normal(TASTE_WIDTH)
    leaning = rng.standard_normal((len(SEGMENTS), TASTE_WIDTH))
    own = rng.standard_normal((len(segment), TASTE_WIDTH))
    return np.asarray((0.6 * trend + apart * leaning[segment] + 0.6 * own) / np.sqrt(TASTE_WIDTH), dtype=np.float32)


def _histories(
    vocabulary: Vocabulary,
    catalogue: Catalogue,
    rng: np.random.Generator,
    favourite: NDArray[np.int16],
    orders: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Purchases before the log: mostly of the favourite group, of items on sale from the start."""
    on_sale = np.flatnonzero(catalogue.launched <= 0)
    history = rng.choice(on_sale, size=(len(favourite), HISTORY))
    group = vocabulary.type_group[catalogue.type]
    loyal = rng.random(history.shape) < 0.7
    for number in np.unique(favourite):
        choices = on_sale[group[on_sale] == number]
        rows = favourite == number
        if len(choices):
            own = rng.choice(choices, size=(int(rows.sum()), HISTORY))
            history[rows] = np.where(loyal[rows], own, history[rows])
    return np.where(np.arange(HISTORY) < orders[:, None], history, -1).astype(np.int32)
