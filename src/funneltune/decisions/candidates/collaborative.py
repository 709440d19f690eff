"""Items that shoppers with the same past went on to take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from funneltune.data import Asked
from funneltune.decisions.candidates.protocol import Floats, Found, Integers, best, empty, require_count
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

METHODS = ("cosine", "bm25", "als")
MOST = 50
"""Events of a shopper's past that are used, the latest."""


class Collaborative:
    """Implicit feedback of shoppers on items, by the `implicit` library.

    `cosine`, `bm25`: the `neighbours` most alike items of each item (Sarwar et al. 2001; counts raw or weighed by
    BM25), added up over the shopper's past. `als`: matrix factorisation (Hu, Koren & Volinsky 2008, eqs. 4 and 5); the
    shopper's factors are solved anew from the past at the time of the request, so a shopper who was not there in
    training is served as well. What the shopper took before is not found again; one without a past finds nothing.

    Args:
        user: (events,), shoppers by number, of the training requests' events.
        item: (events,), the items.
        items: How many there are.
        past: Requests to (requests, most) items of each shopper before the request, -1 behind the last.
        method: `cosine`, `bm25` or `als`.
        neighbours: Of each item, itself among them.
        factors: Width of `als`.
        regularisation: lambda of eq. 3.
        confidence: alpha of eq. 3's c = 1 + alpha r.
        iterations: Of `als`.
        seed: Of its initial factors.

    Raises:
        ConfigError: if `method` is none of these, a number is out of range, or implicit is not installed.
    """

    def __init__(
        self,
        user: Integers,
        item: Integers,
        items: int,
        past: Callable[[Sequence[Asked], int], Integers],
        method: str = "cosine",
        *,
        neighbours: int = 100,
        factors: int = 64,
        regularisation: float = 0.05,
        confidence: float = 20.0,
        iterations: int = 15,
        seed: int = 0,
    ) -> None:
        if method not in METHODS:
            raise ConfigError(f"method={method!r} must be one of {', '.join(METHODS)}.")
        for name, value in (("neighbours", neighbours), ("factors", factors), ("iterations", iterations)):
            if value < 1:
                raise ConfigError(f"{name}={value} must be >= 1.")
        self.items, self.past, self.method = items, past, method
        users, place = np.unique(user, return_inverse=True)
        counts = sparse.csr_matrix((np.ones(len(item)), (place, item)), shape=(len(users), items), dtype=np.float64)
        self.known = np.asarray(counts.sum(axis=0)).ravel() > 0
        self.model: Any = None
        if not self.known.any():
            return
        if method == "als":
            library = _library()
            with _one_blas_thread():  # implicit has threads of its own, and warns of OpenBLAS's beside them
                self.model = library.als.AlternatingLeastSquares(
                    factors=min(factors, max(1, min(counts.shape) - 1)),
                    regularization=regularisation,
                    alpha=confidence,
                    iterations=iterations,
                    num_threads=1,
                    random_state=seed,
                )
                self.model.fit(counts, show_progress=False)
            return
        of_items = _library().nearest_neighbours  # as its CosineRecommender and BM25Recommender weigh them
        weighted = of_items.normalize(counts.T) if method == "cosine" else of_items.bm25_weight(counts.T, 1.2, 0.75)
        self.model = of_items.ItemItemRecommender(K=neighbours, num_threads=1)
        self.model.fit(weighted.T.tocsr(), show_progress=False)

    @classmethod
    def of(cls, scorer: Scorer, method: str = "cosine") -> Collaborative:
        """From the events of a run's training requests.

        Raises:
            ConfigError: if the log tells no shoppers or no time.
        """
        data, store = scorer.assembly.data, scorer.assembly.data.store
        if store.table("users").num_rows < 2 or not store.has("time"):
            raise ConfigError(
                "collaborative: needs shoppers and the times of their requests, which the log does not tell; leave "
                "collaborative and als out."
            )
        rows = data.rows("train")
        chosen = rows[data.told(rows)[0][data.funnel.binary[0].name] > 0]
        user, item = store.column("user")[chosen], store.column("item")[chosen]
        return cls(user, item, len(scorer.catalogue), scorer.rows.before, method)

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each shopper; none without a past that training knows."""
        require_count(k)
        found = empty(len(asked), k)
        if self.model is None or not asked:
            return found
        past = self.past(asked, MOST)
        for number, before in enumerate(past):
            before = before[before >= 0]
            before = before[self.known[before]]
            if len(before):
                found.numbers[number], found.scores[number] = self._of(before, k)
        return found

    def _of(self, before: Integers, k: int) -> tuple[Integers, Floats]:
        items, counts = np.unique(before, return_counts=True)
        row = sparse.csr_matrix((counts.astype(np.float64), items, [0, len(items)]), shape=(1, self.items))
        if self.method == "als":
            factors = np.asarray(self.model.recalculate_user(0, row.astype(np.float32)))
            scores = np.asarray(self.model.item_factors @ factors, dtype=np.float64)
            said = self.known.copy()
        else:
            scores = np.asarray((row @ self.model.similarity).todense(), dtype=np.float64).ravel()
            said = scores > 0
        said[items] = False
        return best(scores, k, said)


def _one_blas_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def _library() -> Any:
    try:
        import implicit
        import implicit.als
        import implicit.nearest_neighbours
    except ModuleNotFoundError:
        raise ConfigError(
            "collaborative: needs a package that is not installed: pip install 'funneltune[retrieve]'."
        ) from None
    return implicit
