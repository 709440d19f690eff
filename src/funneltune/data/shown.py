"""Shoppers and queries of a log as they may be shown: by themselves, or by their pseudonyms."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from funneltune.data.pseudonyms import Pseudonymous
from funneltune.data.store import LogStore


class Known(dict[str, int]):
    """Numbers of a log's shoppers or queries by pseudonym, and by the identifiers behind them."""

    def __init__(self, numbers: Mapping[str, int], told: Callable[[str], str]) -> None:
        super().__init__(numbers)
        self._told = told

    def get(self, key: str, default: Any = None) -> Any:
        """By either."""
        found = super().get(key)
        return super().get(self._told(key), default) if found is None else found


class Shown:
    """What may be shown of a log's shoppers and queries: themselves, or their pseudonyms.

    Args:
        source: The log's.
        store: The log.
        texts: The templates that the run reads.
    """

    def __init__(self, source: Any, store: LogStore, texts: Mapping[str, str]) -> None:
        self.pseudonyms = source.pseudonyms if isinstance(source, Pseudonymous) else None
        self.store, self.template = store, texts.get("query")

    def hides(self, side: str) -> bool:
        """Whether `user` or `query` is shown by its pseudonym only."""
        return self.pseudonyms is not None and side in self.pseudonyms.of

    def user(self, key: str) -> str:
        """A shopper, asked for by identifier or pseudonym."""
        if self.pseudonyms is None or not self.hides("user") or key in self._users:
            return key
        return self.pseudonyms.of_value("user", key)

    def query(self, words: str) -> str:
        """A query by its words."""
        if self.pseudonyms is None or not self.hides("query"):
            return words
        return self._queries.get(words) or self.pseudonyms.of_value("query", words)

    def hides_field(self, name: str) -> bool:
        """Whether `query.FIELD` is one of the texts that a query is made of."""
        return hides_field(self.store, self.template, name)

    @cached_property
    def _users(self) -> frozenset[str]:
        return frozenset(map(str, self.store.table("users").column("key").to_pylist()))

    @cached_property
    def _queries(self) -> dict[str, str]:
        """Words, or pseudonym -> pseudonym."""
        keys = [str(key) for key in self.store.table("queries").column("key").to_pylist()]
        words = self.store.text("queries", self.template) if self.template else keys
        return {**dict(zip(words, keys, strict=True)), **{key: key for key in keys}}


def hides_field(store: LogStore, template: str | None, name: str) -> bool:
    """Whether pseudonyms of queries hide what `query.FIELD` of a log holds: its words, or a part of them."""
    side, _, column = name.partition(".")
    if side != "query" or "query" not in (store.manifest["source"].get("pseudonyms") or {}).get("of", ()):
        return False
    read = [one for _, one, _, _ in string.Formatter().parse(template or "") if one]
    return column in ("", "query", *read)
