"""Pages as a table, and what the rules, diversity and exposure of a ranking did to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.decisions.exposure import discounts, distance, exposure
from funneltune.decisions.recommend import Recommended, Recommender
from funneltune.files import require_new, whole_file

SUFFIXES = (".parquet", ".csv", ".jsonl")


def page_table(recommender: Recommender, pages: Sequence[Recommended]) -> pd.DataFrame:
    """A row per place: request, place, item, title, the probabilities as `funneltune predict` names them, value, before
    (the place by value alone), why (the rule that moved it).
    """
    items, columns = recommender.items, recommender.scorer.columns
    lengths = [len(page.items) for page in pages]
    numbers = np.concatenate([np.zeros(0, np.int64), *(page.items for page in pages)])
    return pd.DataFrame(
        {
            "request": np.repeat([page.request for page in pages], lengths) if pages else [],
            "place": np.concatenate([np.zeros(0, np.int64), *(np.arange(1, n + 1) for n in lengths)]),
            "item": [items.keys[number] for number in numbers],
            "title": [items.titles[number] for number in numbers],
            **{
                name: np.concatenate([np.zeros(0), *(page.p[rate] for page in pages)]) for rate, name in columns.items()
            },
            "value": np.concatenate([np.zeros(0), *(page.value for page in pages)]),
            "before": np.concatenate([np.zeros(0, np.int64), *(page.before for page in pages)]),
            "why": [why for page in pages for why in page.why],
        }
    )


def write_pages(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, in the format of its name."""
    require_new(path, SUFFIXES)
    with whole_file(path) as part:
        if path.suffix == ".parquet":
            frame.to_parquet(part, index=False, write_page_checksum=True)
        elif path.suffix == ".csv":
            frame.to_csv(part, index=False)
        else:
            frame.to_json(part, orient="records", lines=True, force_ascii=False, double_precision=15)


@dataclass(frozen=True)
class Summary:
    """Pages beside those that the same requests would have by value alone (of what may be shown)."""

    requests: int
    empty: tuple[str, ...]
    """Requests whose rules left nothing."""
    dropped: str
    """Why the first of them has no page."""
    similarity: tuple[float, float]
    """Mean likeness of a page's pairs, by value alone and as it is; NaN without diversity."""
    purchases: tuple[float, float]
    """Mean over requests of what a page is expected to sell, each place weighed by 1 / log2(1 + place)."""
    groups: pd.DataFrame
    """Per group, its share: `due`, and of exposure `alone` (by value alone) and `shown`; empty without exposure."""
    distance: tuple[float, float]
    """Total variation between exposure and what is due, over all requests, by value alone and as it is."""

    @classmethod
    def of(cls, recommender: Recommender, pages: Sequence[Recommended]) -> Summary:
        """Of some pages of a ranking."""
        empty = [page for page in pages if not len(page.items)]
        filled = [page for page in pages if len(page.items)]
        joint = recommender.worth.joint
        alone = [page.p[joint] if recommender.ranking.is_plain else page.plain.joint for page in filled]
        groups, apart = _groups(recommender, filled)
        return cls(
            requests=len(pages),
            empty=tuple(page.request for page in empty),
            dropped=_why_empty(recommender, empty[0]) if empty else "",
            similarity=(
                _mean([page.plain.similarity for page in filled]),
                _mean([page.similarity for page in filled]),
            ),
            purchases=(_mean([_sold(p) for p in alone]), _mean([_sold(page.p[joint]) for page in filled])),
            groups=groups,
            distance=apart,
        )

    def in_words(self) -> list[str]:
        """What there is to tell, a line each."""
        before, after = self.purchases
        told = []
        if before > 0:
            told.append(
                f"expected purchases per page (places weighed by 1/log2(1+place)): {before:.4g} by value alone, "
                f"{after:.4g} as ranked ({after / before - 1:+.1%})"
            )
        if not math.isnan(self.similarity[1]):
            told.append(
                f"likeness within a page: {self.similarity[0]:.3f} by value alone, {self.similarity[1]:.3f} as ranked"
            )
        if len(self.groups):
            told.append(
                f"exposure away from what is due: {self.distance[0]:.1%} by value alone, {self.distance[1]:.1%} "
                f"as ranked, over {len(self.groups)} groups"
            )
        if self.empty:
            told.append(
                f"{len(self.empty)} of {self.requests} requests have no page (request {self.empty[0]}: {self.dropped})"
            )
        return told


def _why_empty(recommender: Recommender, page: Recommended) -> str:
    """What left a request without a page."""
    if not page.competing:
        return f"candidates={recommender.ranking.candidates} finds nothing"
    return f"rules leave none of its {page.competing:,} candidates: {page.dropped}"


def _sold(p: NDArray[np.float64]) -> float:
    """Expected purchases of a page, each place weighed by how much it is seen."""
    return float((discounts(len(p)) * p).sum())


def _groups(recommender: Recommender, pages: Sequence[Recommended]) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Exposure per group, and how far it is from what is due."""
    if recommender.groups is None or not pages:
        return pd.DataFrame(), (float("nan"), float("nan"))
    names, codes = recommender.groups
    due = np.mean([page.due for page in pages], axis=0)
    alone = exposure([codes[page.plain.items] for page in pages], len(names))
    shown = exposure([codes[page.items] for page in pages], len(names))
    frame = pd.DataFrame({"group": names, "due": due, "alone": alone, "shown": shown})
    frame = frame.sort_values("due", ascending=False, kind="stable", ignore_index=True)
    return frame, (distance(alone, due), distance(shown, due))


def _mean(values: Sequence[float]) -> float:
    """Of what is a number."""
    there = [value for value in values if not math.isnan(value)]
    return float(np.mean(there)) if there else float("nan")
