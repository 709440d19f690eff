"""Items whose text means what the query means, by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.decisions.candidates.protocol import Found, best, empty, require_count
from funneltune.decisions.embedding import BareEncoder
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

INDEXES = ("auto", "exact", "ivf")
ENCODERS = ("run", "bare")
LARGE = 500_000
"""Items from which on `auto` searches an index: a query against all of them takes about 0.1 s on a core."""
AT_ONCE = 256
"""Queries whose scores of all items are held at once."""


class Semantic:
    """The nearest items by cosine, found exactly or in an index.

    `exact` looks at every item. `ivf` (faiss, Douze et al. 2024) sorts the items into 4 sqrt(items) cells around
    k-means centres and looks into the `probes` cells nearest to the query: with all cells it is exact.

    Args:
        vectors: (items, width), of any length but 0.
        encode: Queries to (queries, width).
        index: `exact`, `ivf`, or `auto`: exact below `LARGE` items.
        probes: Cells that are searched, of `ivf`.

    Raises:
        ConfigError: if `index` is none of these, `probes` < 1, or faiss is needed and not installed.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        encode: Callable[[Sequence[str]], NDArray[np.float32]],
        index: str = "auto",
        probes: int = 32,
    ) -> None:
        if index not in INDEXES:
            raise ConfigError(f"index={index!r} must be one of {', '.join(INDEXES)}.")
        if probes < 1:
            raise ConfigError(f"probes={probes} must be >= 1, the cells that are searched.")
        self.vectors, self.encode = unit(vectors), encode
        searched = index == "ivf" or (index == "auto" and len(vectors) >= LARGE)
        self.index = _cells(self.vectors, probes) if searched else None

    @classmethod
    def of(cls, scorer: Scorer, encoder: str = "run", index: str = "auto", probes: int = 32) -> Semantic:
        """Over a run's catalogue.

        `encoder`: `run`, its fine-tuned encoder; `bare`, its backbone before any tuning, with mean pooling.

        Raises:
            ConfigError: if the run reads no text, or `encoder` is neither.
        """
        if encoder not in ENCODERS:
            raise ConfigError(f"encoder={encoder!r} must be one of {', '.join(ENCODERS)}.")
        if encoder == "run":
            return cls(scorer.item_vectors, scorer.query_vectors, index, probes)
        bare = BareEncoder(scorer)
        return cls(bare.item_vectors, bare.query_vectors, index, probes)

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each request by cosine, -1 .. 1; none without words."""
        require_count(k)
        found = empty(len(asked), k)
        worded = [number for number, one in enumerate(asked) if one.query.strip()]
        for start in range(0, len(worded), AT_ONCE):
            some = worded[start : start + AT_ONCE]
            queries = unit(self.encode([asked[number].query for number in some]))
            found.numbers[some], found.scores[some] = self._nearest(queries, k)
        return found

    def _nearest(self, queries: NDArray[np.float32], k: int) -> Found:
        most = min(k, len(self.vectors))
        found = empty(len(queries), k)
        if self.index is None:
            for row, scores in enumerate((queries @ self.vectors.T).astype(np.float64)):
                found.numbers[row], found.scores[row] = best(scores, k)
            return found
        scores, numbers = self.index.search(queries, most)
        order = np.lexsort((numbers, -scores))  # faiss leaves equal ones in no order of ours
        found.numbers[:, :most] = np.take_along_axis(numbers, order, axis=1)
        found.scores[:, :most] = np.take_along_axis(scores, order, axis=1)
        found.scores[found.numbers < 0] = -np.inf
        return found


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector at length 1; one of length 0 stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _cells(vectors: NDArray[np.float32], probes: int) -> Any:
    try:
        import faiss
    except ModuleNotFoundError:
        raise ConfigError(
            "index=ivf needs a package that is not installed: pip install 'funneltune[retrieve]'."
        ) from None
    cells = max(1, min(round(4 * np.sqrt(len(vectors))), len(vectors) // 39))  # faiss wants 39 vectors per cell
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = min(probes, cells)
    return index
