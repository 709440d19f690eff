"""Rows that were never logged, as a run's module reads them: words, a shopper, items, known or new."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data.asked_features import AskedFeatures, Named
from funneltune.data.collate import NO_TEXTS
from funneltune.data.datamodule import LogDataModule
from funneltune.data.past import Past
from funneltune.data.shown import Known, Shown
from funneltune.data.store import TokenTable, ragged_arange
from funneltune.errors import ConfigError
from funneltune.schema import Batch, Texts

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """A request that was never logged."""

    query: str = ""
    """The words of a search."""
    user: str = ""
    """The log's identifier of the shopper; one that it does not know has no past."""
    time: float | None = None
    """Unix seconds; None: after all that the log holds."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Features by their names (`price`, `user.segment`): a value for all of the request's items, or one for each. What
    is not named is looked up (an entity's own, an item's latest price) or what rows of the log mostly are; `position`
    is the first.
    """


class AskedRows:
    """Makes batches of rows that are in no log, from the entities of one that is.

    Args:
        data: Of the run.
    """

    def __init__(self, data: LogDataModule) -> None:
        self.data = data
        self.collator = data.collator()
        self.store = data.store
        self.shown = Shown(data.source, data.store, data.texts)
        """What may be told of shoppers and queries."""
        self.n_items = int(self.store.table("items").num_rows)

    # --- entities ----------------------------------------------------------------------------------------------

    @cached_property
    def users(self) -> dict[str, int]:
        """Number of each shopper's identifier; with pseudonyms by either."""
        keys = self.store.table("users").column("key").to_pylist()
        return Known({str(key): n for n, key in enumerate(keys)}, self.shown.user)

    @cached_property
    def queries(self) -> dict[str, int]:
        """Number of each query's text."""
        if "query" not in self.data.texts:
            keys = self.store.table("queries").column("key").to_pylist()
            return Known({str(key): n for n, key in enumerate(keys)}, self.shown.query)
        return {words: n for n, words in enumerate(self.store.text("queries", self.data.texts["query"]))}

    @cached_property
    def last_time(self) -> float:
        """The log's last moment; 0 where it tells no time."""
        return float(self.store.of_requests("time_last").max()) if self.store.has("time") else 0.0

    @cached_property
    def past(self) -> Past:
        """What shoppers clicked, as far as the run may remember it."""
        features = self.collator.features
        return features.past if features is not None else Past.of(self.store, self.data.remembered)

    @cached_property
    def latest_price(self) -> NDArray[np.float64] | None:
        """Each item's latest price in the log, NaN where it was never shown; None where the log tells no prices."""
        store = self.store
        if not store.has("price"):
            return None
        item, price = store.column("item"), store.column("price")
        order = np.argsort(store.column("time"), kind="stable") if store.has("time") else np.arange(len(item))
        found = np.full(self.n_items, np.nan)
        found[item[order]] = price[order]
        store.release()
        return found

    def before(self, asked: Sequence[Asked], most: int) -> Integers:
        """(n, most): items of each shopper's past before the request, the latest first, -1 behind the last."""
        user, _ = self._numbered(self.users, [one.user for one in asked], self.shown.user)
        return self.past.before(user, self._times(asked), most)

    def fields(self, item: int) -> dict[str, Any]:
        """What the log tells of an item, its latest price included."""
        table = self.store.table("items")
        found = {name: table.column(name)[item].as_py() for name in table.column_names}
        if "price" not in found and self.latest_price is not None and np.isfinite(self.latest_price[item]):
            found["price"] = float(self.latest_price[item])
        return found

    def item_text(self, fields: Mapping[str, Any]) -> str:
        """An item's text by the run's template; a field that is missing is empty."""
        template = self.data.texts["item"]
        named = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        return template.format(**{name: "" if fields.get(name) is None else fields[name] for name in named})

    # --- batches -----------------------------------------------------------------------------------------------

    def batch(
        self,
        asked: Sequence[Asked],
        items: Sequence[Integers],
        new: Sequence[Mapping[str, Any]] = (),
        kept: bool = False,
    ) -> tuple[Batch, Integers]:
        """The rows of requests, one after the other, and the items whose vectors are to be joined to the texts' own.

        Args:
            asked: The requests.
            items: Of each: numbers in the log; `n_items + j` is the j-th of `new`.
            new: Fields of items that the log does not have.
            kept: Of a run that reads items by themselves (`twin`): leave the texts of known items out. Their pointers
                then stand for the returned item numbers, behind the batch's texts.

        Raises:
            ConfigError: if the run reads words and there are none.
        """
        owner = np.repeat(np.arange(len(asked)), [len(of_one) for of_one in items])
        item = np.concatenate([np.asarray(of_one, dtype=np.int64) for of_one in items])
        words, query = self._words(asked)
        features = self.collator.features
        past = None
        if features is not None and features.needs.history:
            past = self.before(asked, features.needs.history)[owner]
        texts, pointers, known = NO_TEXTS, dict[str, Integers](), item[:0]
        if kept:
            texts, pointers, known = self._beside_kept(words, query[owner], item, new, past)
        elif self.collator.interaction != "none":
            texts, pointers = self._with_texts(words, query[owner], item, new, past)
        nothing = torch.zeros(len(item))
        names = self.store.funnel.names
        batch = Batch(
            texts=replace(texts, numbers=None),
            text_of_row={name: torch.from_numpy(at) for name, at in pointers.items() if name != "history"},
            labels=dict.fromkeys(names, nothing),
            observed=dict.fromkeys(names, nothing),
            request=torch.from_numpy(owner),
            row=torch.arange(len(item)),
            **self._features(asked, owner, item, new, past, pointers.get("history")),
        )
        return batch, known

    def query_texts(self, words: Sequence[str]) -> Texts:
        """Words alone, in their order of length, with `Texts.numbers` telling which of `words` each is."""
        table = self._tokens(words)
        collator = replace(self.collator, interaction="twin", queries=table, features=None)
        none = np.zeros(0, dtype=np.int64)
        return collator.texts(np.arange(len(words)), none, None)[0]

    def _words(self, asked: Sequence[Asked]) -> tuple[list[str], Integers]:
        """The distinct words, and which of them each request asks."""
        reads = self.collator.interaction != "none"
        for one in asked:
            if reads and not one.query.strip() and one.query not in self.queries:
                raise ConfigError(f"query={one.query!r} is empty, and this run reads words; give those of a search.")
        places: dict[str, int] = {}
        query = [places.setdefault(one.query, len(places)) for one in asked]
        return list(places), np.array(query, dtype=np.int64)

    def _tokens(self, texts: Sequence[str]) -> TokenTable:
        data = self.data
        encoded = [
            data.tokenizer(text, add_special_tokens=False, truncation=True, max_length=data.max_tokens)["input_ids"]
            for text in texts
        ]
        lengths = np.array([0, *map(len, encoded)], dtype=np.int64)
        return TokenTable(np.array([t for ids in encoded for t in ids], dtype=np.int32), lengths.cumsum())

    def _gathered(self, items: Integers, new: Sequence[Mapping[str, Any]]) -> TokenTable:
        """Tokens of some items: the log's, then new ones."""
        table, known = self.collator.items, items[items < self.n_items]
        starts, sizes = table.offsets[known], table.offsets[known + 1] - table.offsets[known]
        reads = self.collator.pairs or self.collator.interaction == "twin"
        own = [self.item_text(new[number - self.n_items]) if reads else "" for number in items[len(known) :]]
        added = self._tokens(own)
        lengths = np.concatenate([[0], sizes, np.diff(added.offsets)])
        return TokenTable(np.concatenate([table.ids[ragged_arange(starts, sizes)], added.ids]), lengths.cumsum())

    def _with_texts(
        self, words: Sequence[str], query: Integers, item: Integers, new: Sequence[Mapping[str, Any]], past: Any
    ) -> tuple[Texts, dict[str, Integers]]:
        """Every text that the rows read, as a log of these rows alone would have them."""
        every = item if past is None else np.concatenate([item, past[past >= 0]])
        distinct = np.unique(every)
        if past is not None:
            past = np.where(past < 0, -1, np.searchsorted(distinct, past))
        collator = replace(
            self.collator, queries=self._tokens(words), items=self._gathered(distinct, new), features=None
        )
        texts, pointers = collator.texts(query, np.searchsorted(distinct, item), past)
        return texts, dict(pointers)

    def _beside_kept(
        self, words: Sequence[str], query: Integers, item: Integers, new: Sequence[Mapping[str, Any]], past: Any
    ) -> tuple[Texts, dict[str, Integers], Integers]:
        """Texts of words and new items; known items stand behind them, by their kept vectors."""
        before = item[:0] if past is None else past[past >= 0]
        every = np.concatenate([item, before])
        known, fresh = np.unique(every[every < self.n_items]), np.unique(item[item >= self.n_items])
        collator = replace(self.collator, queries=self._tokens(words), items=self._gathered(fresh, new), features=None)
        asked = np.arange(len(words))
        texts, pointers = collator.texts(asked, np.zeros(0, np.int64), None)
        place = pointers["query"]
        of_new = np.zeros(0, dtype=np.int64)
        if len(fresh):
            first = np.zeros(len(fresh), dtype=np.int64)
            texts, pointers = collator.texts(
                np.r_[asked, first], np.r_[np.zeros_like(asked), np.arange(len(fresh))], None
            )
            place, of_new = pointers["query"][: len(asked)], pointers["item"][len(asked) :]
        at = len(texts) + np.searchsorted(known, every)
        if len(fresh):
            is_new = every >= self.n_items
            at[is_new] = of_new[np.searchsorted(fresh, every[is_new])]
        return texts, {"query": place[query], "item": at[: len(item)], "history": at[len(item) :]}, known

    # --- features ----------------------------------------------------------------------------------------------

    @staticmethod
    def _numbered(table: Mapping[str, int], words: Sequence[str], told: Callable[[str], str]) -> Named:
        """Numbers, and the identifiers as the log's own are written: features hash these."""
        return np.array([table.get(word, -1) for word in words], dtype=np.int64), [told(word) for word in words]

    def _times(self, asked: Sequence[Asked]) -> NDArray[np.float64]:
        return np.array([self.last_time + 1.0 if one.time is None else one.time for one in asked])

    def _features(
        self,
        asked: Sequence[Asked],
        owner: Integers,
        item: Integers,
        new: Sequence[Mapping[str, Any]],
        past: Integers | None,
        texts_of_past: Integers | None,
    ) -> dict[str, Any]:
        """The fields of a batch beside its texts, as `Collator` makes them of logged rows."""
        features = self.collator.features
        if features is None:
            return {}
        needs = features.needs
        values = AskedFeatures(
            features=features,
            columns=[one.columns for one in asked],
            users=self._numbered(self.users, [one.user for one in asked], self.shown.user),
            queries=self._numbered(self.queries, [one.query for one in asked], self.shown.query),
            times=self._times(asked),
            owner=owner,
            item=item,
            new=new,
            latest_price=self.latest_price,
        )
        found: dict[str, NDArray[Any]] = {}
        if needs.ids:
            found["ids"] = np.stack([values.of_rows(name, number=False) for name in needs.ids], axis=1).astype(np.int64)
        if needs.numbers:
            columns = [values.of_rows(name, number=True) for name in needs.numbers]
            found["numbers"] = np.stack(columns, axis=1).astype(np.float32)
        if needs.vectors:
            found["vectors"] = values.vectors()
        if past is not None and needs.history_ids:
            found["history"] = features.history_buckets(past)
            found["candidate"] = np.asarray(values.of_rows("item", number=False), dtype=np.int64)
        elif past is not None and texts_of_past is not None:
            found["history"] = np.full(past.shape, -1, dtype=np.int64)
            found["history"][past >= 0] = texts_of_past
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in found.items()}
