"""The queries and shoppers of a log, to pick from while typing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.serving.fields import in_words, plain

TOLD = 4
"""Fields of a shopper or query that are shown."""


class Choices:
    """Texts with how often the log has each, the most frequent first.

    Args:
        texts: What is picked, by number.
        counts: (texts,).
        columns: What else the log tells of each, by name.
    """

    def __init__(self, texts: Sequence[str], counts: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        order = np.argsort(-counts, kind="stable").tolist()
        self.texts = [texts[number] for number in order]
        self.lowered = [text.lower() for text in self.texts]
        self.counts = counts[order].tolist()
        self.columns = {name: values[order] for name, values in columns.items()}

    def of(self, typed: str, most: int) -> list[dict[str, Any]]:
        """The choices that begin with what was typed, then those that have it inside; in all `most` at most."""
        wanted = typed.lower()
        begin: list[int] = []
        inside: list[int] = []
        for place, text in enumerate(self.lowered):
            if text.startswith(wanted):
                begin.append(place)
                if len(begin) == most:
                    break
            elif len(inside) < most and wanted in text:
                inside.append(place)
        return [self._told(place) for place in (begin + inside)[:most]]

    def _told(self, place: int) -> dict[str, Any]:
        about = {name: in_words(values[place]) for name, values in self.columns.items()}
        return {"key": self.texts[place], "requests": self.counts[place], "about": about}


class LogChoices:
    """What may be asked of a log.

    Args:
        rows: `data.AskedRows` of a run's log, or what answers as it does: `queries` and `users` (text or key ->
            number), `store` and `shown`. Queries under pseudonyms are not offered.
    """

    def __init__(self, rows: Any) -> None:
        queries = {} if rows.shown.hides("query") else rows.queries
        self.queries = self._choices(rows, queries, "query", "queries")
        self.users = self._choices(rows, rows.users, "user", "users")

    @staticmethod
    def _choices(rows: Any, known: Mapping[str, int], of_request: str, side: str) -> Choices:
        table = rows.store.table(side)
        counts = np.bincount(rows.store.of_requests(of_request), minlength=table.num_rows).astype(np.int64)
        numbers = [number for text, number in known.items() if text and plain_or_none(text) == text]
        texts = [text for text in known if text and plain_or_none(text) == text]
        names = [name for name in table.column_names if name not in ("key", "query", "kind")][:TOLD]
        columns = {name: np.asarray(table.column(name).to_pylist(), dtype=object)[numbers] for name in names}
        return Choices(texts, counts[numbers], columns)


def plain_or_none(text: str) -> str | None:
    """A text as a request would have it; None where no request can ask it."""
    try:
        return plain(text)
    except ValueError:
        return None
