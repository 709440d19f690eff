"""Rows to a batch: each text once, sorted by length, special tokens added; integers in, tensors out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data.features import FeatureColumns
from funneltune.data.sampling import Draw
from funneltune.data.store import LogStore, TokenTable, ragged_arange, require_known
from funneltune.errors import ConfigError
from funneltune.schema import Batch, Interaction, Texts

Integers = NDArray[np.int64]

NO_TOKENS = TokenTable(np.zeros(0, np.int32), np.zeros(1, np.int64))
NOTHING = torch.zeros(0, dtype=torch.long)
NO_TEXTS = Texts(NOTHING, NOTHING, NOTHING)


@dataclass(frozen=True)
class Specials:
    """Tokens around a text: `[CLS] text [SEP]`, `[CLS] query [SEP] item [SEP]`; either may be absent."""

    before: int | None
    after: int | None

    @classmethod
    def of(cls, tokenizer: Any) -> Specials:
        """The tokenizer's cls and sep, or what stands in for them (bos, eos); none where it has neither."""
        before = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        after = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        return cls(before, after)


@dataclass(frozen=True)
class Catalogue:
    """The texts of a log, by their numbers."""

    numbers: Integers
    """Ascending."""
    tokens: int
    """Of all of them, special tokens included."""
    read: Callable[[Integers], Texts]

    def __len__(self) -> int:
        """How many texts."""
        return len(self.numbers)

    def behind(self, number: int) -> Catalogue:
        """The texts from a number on; how many tokens they have is not counted again."""
        return replace(self, numbers=self.numbers[self.numbers >= number])

    def texts(self, at_once: int = 4096) -> Iterator[Texts]:
        """All of them, so many at a time: each part shortest first, the parts in the order of their numbers."""
        for start in range(0, len(self), at_once):
            yield self.read(self.numbers[start : start + at_once])


@dataclass(frozen=True)
class Collator:
    """Turns a draw of requests into a `Batch`.

    Args:
        store: The log.
        queries: Tokens of every query text.
        items: Tokens of every item text.
        specials: Tokens around texts.
        interaction: `twin` puts the batch's unique queries and items into one list of texts; `cross` its unique pairs;
            `none` no text at all.
        max_tokens: Longest text (pair) with its special tokens; a pair gives up tokens of its longer text first.
        unique: False gives every row its own copies: the reference, and what per-example methods need.
        features: What else a batch holds; None: texts only.
    """

    store: LogStore
    queries: TokenTable
    items: TokenTable
    specials: Specials
    interaction: Interaction
    max_tokens: int
    unique: bool = True
    features: FeatureColumns | None = None

    def __post_init__(self) -> None:
        """A pair needs room for its special tokens and one token of each text."""
        if self.interaction != "twin" and self.features and self.features.needs.history and self.interaction != "none":
            raise ConfigError(
                "features.history reads items by themselves; set backbone.interaction=twin, or history=0."
            )
        least = 5 if self.interaction == "cross" else 3
        if self.max_tokens < least:
            raise ConfigError(
                f"data.max_tokens={self.max_tokens} must be >= {least} for interaction={self.interaction}."
            )

    def __call__(self, draw: Draw) -> Batch:
        """The draw's rows, in the draw's order."""
        return self.rows(draw.rows_by(self.store.rows_of), draw)

    def rows(self, rows: Integers, draw: Draw | None = None) -> Batch:
        """Any rows of the log as a batch."""
        query, item = self.store.column("query")[rows], self.store.column("item")[rows]
        past = self.features.history(rows) if self.features and self.features.needs.history else None
        texts, pointers = self.texts(query, item, past)
        labels = {name: self.store.column(name)[rows] for name in self.store.funnel.names}
        return Batch(
            texts=texts,
            text_of_row={name: torch.from_numpy(index) for name, index in pointers.items() if name != "history"},
            labels={name: torch.from_numpy(values.astype(np.float32)) for name, values in labels.items()},
            observed={
                name: torch.from_numpy(self.store.funnel.observed(labels, name).astype(np.float32))
                for name in self.store.funnel.names
            },
            request=torch.from_numpy(self.store.requests_of(rows)),
            row=torch.from_numpy(rows),
            step_rows=draw.step_rows if draw else None,
            step_observed=draw.step_observed if draw else {},
            unit=torch.from_numpy(draw.unit) if draw and draw.unit is not None else None,
            **self._features(rows, item, past, pointers.get("history")),
        )

    def texts(self, query: Integers, item: Integers, past: Integers | None) -> tuple[Texts, Mapping[str, Integers]]:
        """The unique texts of rows by their queries, items and past items, and where each stands among them."""
        if self.interaction == "none":
            return NO_TEXTS, {}
        texts, at = self._twin(query, item, past) if self.interaction == "twin" else self._cross(query, item)
        return replace(texts, unique=self.unique), at

    def _features(
        self, rows: Integers, item: Integers, past: Integers | None, texts_of_past: Integers | None
    ) -> dict[str, Any]:
        """The fields of a batch beside its texts, those that are needed."""
        if self.features is None:
            return {}
        needs = self.features.needs
        found: dict[str, NDArray[Any]] = {}
        if needs.ids:
            found["ids"] = self.features.ids(rows)
        if needs.numbers:
            found["numbers"] = self.features.numbers(rows)
        if needs.vectors:
            found["vectors"] = self.features.vectors(rows)
        if past is not None and needs.history_ids:
            found["history"] = self.features.history_buckets(past)
            found["candidate"] = self.features.history_buckets(item.astype(np.int64))
        elif past is not None and texts_of_past is not None:
            found["history"] = np.full(past.shape, -1, dtype=np.int64)
            found["history"][past >= 0] = texts_of_past
        return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in found.items()}

    def _distinct(self, keys: Integers) -> tuple[Integers, Integers]:
        if self.unique:
            distinct, index = np.unique(keys, return_inverse=True)
            return distinct, index.astype(np.int64)
        return keys, np.arange(len(keys))

    def _twin(self, query: Integers, item: Integers, past: Integers | None) -> tuple[Texts, Mapping[str, Integers]]:
        """Unique queries, then unique items: the rows' own and those of their shoppers' past."""
        queries, query_index = self._distinct(query)
        before = past[past >= 0] if past is not None else item[:0]
        items, index = self._distinct(np.concatenate([item, before]))
        pointers = {"query": query_index, "item": index[: len(item)] + len(queries)}
        if past is not None:
            pointers["history"] = index[len(item) :] + len(queries)
        return self._lone(queries, items, pointers)

    def _lone(
        self, queries: Integers, items: Integers, pointers: Mapping[str, Integers]
    ) -> tuple[Texts, Mapping[str, Integers]]:
        """Queries and items, each a text of its own."""
        room = self.max_tokens - _present(self.specials.before) - _present(self.specials.after)
        starts = [table.offsets[which] for table, which in ((self.queries, queries), (self.items, items))]
        sizes = [
            np.minimum(table.offsets[which + 1] - table.offsets[which], room)
            for table, which in ((self.queries, queries), (self.items, items))
        ]
        ids = np.concatenate(
            [
                table.ids[ragged_arange(start, size)]
                for table, start, size in zip((self.queries, self.items), starts, sizes, strict=True)
            ]
        )
        flat, full = self._wrap([(ids, np.concatenate(sizes))])
        numbers = np.concatenate([queries.astype(np.int64), items.astype(np.int64) + len(self.queries)])
        return _sorted(flat, full, full, numbers, pointers)

    def _cross(self, query: Integers, item: Integers) -> tuple[Texts, Mapping[str, Integers]]:
        pairs, index = self._distinct(query.astype(np.int64) * len(self.items) + item)
        return self._joined(pairs, {"pair": index})

    @property
    def pairs(self) -> bool:
        """Whether items have texts, to be read behind the queries'."""
        return bool(len(self.items.ids))

    def _joined(self, pairs: Integers, pointers: Mapping[str, Integers]) -> tuple[Texts, Mapping[str, Integers]]:
        """Queries and items, two and two; queries alone where no item has a text."""
        room = self.max_tokens - _present(self.specials.before) - (1 + self.pairs) * _present(self.specials.after)
        first, second = pairs // len(self.items), pairs % len(self.items)
        a = np.asarray(self.queries.offsets[first + 1] - self.queries.offsets[first])
        b = np.asarray(self.items.offsets[second + 1] - self.items.offsets[second])
        a, b = longest_first(a, b, room)
        query_ids = self.queries.ids[ragged_arange(np.asarray(self.queries.offsets[first]), a)]
        item_ids = self.items.ids[ragged_arange(self.items.offsets[second], b)]
        flat, full = self._wrap([(query_ids, a), (item_ids, b)] if self.pairs else [(query_ids, a)])
        head = a + _present(self.specials.before) + _present(self.specials.after)
        return _sorted(flat, full, head, pairs, pointers)

    def catalogue(self) -> Catalogue:
        """Every text that the log's rows may ask for: its queries and items, or the pairs that it has."""
        if self.interaction == "twin":
            numbers = np.arange(len(self.queries) + len(self.items))
        else:
            pairs = self.store.column("query").astype(np.int64) * len(self.items) + self.store.column("item")
            numbers = np.unique(pairs)
        return Catalogue(numbers, int(self.token_lengths(numbers).sum()), self._numbered)

    def token_lengths(self, numbers: Integers) -> Integers:
        """Tokens of texts by their numbers, special tokens included."""
        queries, items = np.diff(self.queries.offsets), np.diff(self.items.offsets)
        around = _present(self.specials.before) + _present(self.specials.after)
        if self.interaction == "cross":
            second = self.pairs * _present(self.specials.after)
            lengths = queries[numbers // len(items)] + items[numbers % len(items)] + second
        else:
            lengths = np.concatenate([queries, items])[numbers]
        return np.asarray(np.minimum(lengths + around, self.max_tokens))

    def _numbered(self, numbers: Integers) -> Texts:
        """Texts by their numbers, shortest first."""
        if self.interaction == "cross":
            return self._joined(numbers, {})[0]
        items = numbers[numbers >= len(self.queries)] - len(self.queries)
        return self._lone(numbers[numbers < len(self.queries)], items, {})[0]

    def _wrap(self, segments: list[tuple[NDArray[np.int32], Integers]]) -> tuple[Integers, Integers]:
        """Special tokens around each text's segments; returns the flat ids and each text's full length."""
        before, after = self.specials.before, self.specials.after
        added = _present(before) + len(segments) * _present(after)
        full: Integers = np.asarray(np.sum([lengths for _, lengths in segments], axis=0), dtype=np.int64) + added
        ends = full.cumsum()
        starts = ends - full
        flat = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
        cursor = starts.copy()
        if before is not None:
            flat[cursor] = before
            cursor = cursor + 1
        for ids, lengths in segments:
            flat[ragged_arange(cursor, lengths)] = ids
            cursor = cursor + lengths
            if after is not None:
                flat[cursor] = after
                cursor = cursor + 1
        return flat, full


def checked_texts(texts: Mapping[str, str] | None, interaction: Interaction) -> dict[str, str]:
    """The templates of `data.texts`, refused where they are not those that a backbone reads."""
    if not texts and interaction != "none":
        raise ConfigError(
            "data.texts=null: this log has no texts; set backbone=none tuning=frozen with features, or name texts."
        )
    if texts and set(texts) == {"query"} and interaction != "twin":
        return dict(texts)  # sentences: nothing beside them
    if texts and (unknown := sorted(set(texts) ^ {"query", "item"})):
        raise ConfigError(
            f"data.texts needs exactly the keys query and item; {unknown[0]!r} is wrong or missing"
            + ("; set backbone.interaction=cross where items have no texts." if unknown == ["item"] else ".")
        )
    return dict(texts or {})


def make_collator(
    store: LogStore,
    texts: Mapping[str, str],
    tokenizer: Any,
    interaction: Interaction,
    *,
    max_tokens: int,
    unique: bool,
    max_unknown: float,
    features: FeatureColumns | None,
) -> Collator:
    """A log as a backbone reads it; its texts are tokenised at the first call.

    Raises:
        ConfigError: if more than `max_unknown` of a side's tokens are unknown to the tokenizer.
    """
    reads = interaction != "none"
    tables = {
        side: store.tokens("queries" if side == "query" else "items", template, tokenizer, max_tokens)
        for side, template in texts.items()
        if reads
    }
    require_known(tables, tokenizer, max_unknown)
    return Collator(
        store=store,
        queries=tables.get("query", NO_TOKENS),
        items=tables.get("item", TokenTable(NO_TOKENS.ids, np.zeros(store.table("items").num_rows + 1, np.int64))),
        specials=Specials.of(tokenizer) if reads else Specials(None, None),
        interaction=interaction,
        max_tokens=max_tokens,
        unique=unique,
        features=features,
    )


def longest_first(a: Integers, b: Integers, room: int) -> tuple[Integers, Integers]:
    """Lengths of two segments after taking tokens from the longer one (the second at a tie) until both fit `room`."""
    low = room // 2
    fitted = np.where(b <= low, room - b, np.minimum(a, room - low))
    kept = np.where(a + b <= room, a, fitted)
    return kept, np.where(a + b <= room, b, room - kept)


def _present(token: int | None) -> int:
    return int(token is not None)


def _sorted(
    flat: Integers, lengths: Integers, first_lengths: Integers, numbers: Integers, pointers: Mapping[str, Integers]
) -> tuple[Texts, Mapping[str, Integers]]:
    """Texts shortest first (stable), and the pointers that follow them."""
    order = np.argsort(lengths, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    starts = lengths.cumsum() - lengths
    texts = Texts(
        token_ids=torch.from_numpy(flat[ragged_arange(starts[order], lengths[order])]),
        lengths=torch.from_numpy(lengths[order]),
        first_lengths=torch.from_numpy(first_lengths[order]),
        numbers=torch.from_numpy(numbers[order]),
    )
    return texts, {name: place[index] for name, index in pointers.items()}
