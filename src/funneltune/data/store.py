"""The log store: a normalised, memory-mapped log of integers, with each text once and its tokens computed once."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from funneltune.data.folders import built_folder
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

Side = Literal["queries", "items", "users"]
MANIFEST = "store.json"
DELAY = "delay_"
"""Before a task's name: the column of the days from an impression to its event."""
VERSION = 3
TEXTS_AT_ONCE = 8192
AT_ONCE = 256
"""Requests whose rows are read before the next ones let go of them."""


@dataclass(frozen=True)
class TokenTable:
    """Token ids of every text of one side, without special tokens, laid end to end."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.offsets) - 1


class LogStore:
    """One log on disk: `impressions` in request order, the tables of queries, items and users they point to, and
    `requests`, which sums up what a request's rows are (`RequestTable`).

    Columns are Arrow IPC, memory-mapped: a column is a NumPy view, nothing is read until it is used. What was read
    counts as this process's memory until `release`, which random rows of a long log need: each maps 64 kB around it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
            self.funnel = TaskFunnel.from_config(self.manifest["tasks"])
            self.fingerprint: str = self.manifest["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} is no log store ({error}); delete it, it will be built again.") from None
        self.folder = folder
        self._tables: dict[str, pa.Table] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self._touched = 0
        self.encoded: dict[str, NDArray[np.float32]] = {}
        """What a vision backbone made of the items' pictures, by their name: `vectors` answers with it."""
        self._derived: dict[str, NDArray[Any]] = {}

    def table(self, name: str) -> pa.Table:
        """`impressions`, `requests`, `queries`, `items` or `users`, memory-mapped."""
        if name not in self._tables:
            with self._told_damage(f"{name}.arrow") as path, path.open("rb") as file:
                self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._tables[name] = pa.ipc.open_file(pa.py_buffer(self._maps[name])).read_all()
        return self._tables[name]

    @contextmanager
    def _told_damage(self, name: str) -> Iterator[Path]:
        """A file of the store that is to be opened: its checksum tells of damage before, unless it is lost as well."""
        try:
            yield self.folder / name
        except (OSError, ValueError) as error:  # pyarrow's own are of these
            raise DataError(
                f"{self.folder / name} is damaged ({error}); delete {self.folder}, it will be built again."
            ) from None

    def release(self) -> None:
        """Let go of the impressions that were read: they stay in the system's cache, and are mapped anew when used."""
        self._touched = 0
        if "impressions" in self._maps and hasattr(mmap, "MADV_DONTNEED"):
            self._maps["impressions"].madvise(mmap.MADV_DONTNEED)

    @property
    def n_rows(self) -> int:
        """Impressions."""
        return int(self.table("impressions").num_rows)

    @property
    def n_requests(self) -> int:
        """Requests."""
        return int(self.table("requests").num_rows)

    def derive(
        self, funnel: TaskFunnel, labels: Mapping[str, NDArray[Any]], of_requests: Mapping[str, NDArray[Any]]
    ) -> None:
        """Answer with columns that follow from the log and a split of it, as if they were the log's own.

        Args:
            funnel: The log's tasks and those of the labels.
            labels: Columns of the impressions.
            of_requests: Columns of the requests.
        """
        self.funnel, self._derived = funnel, {**labels, **of_requests}

    def of_requests(self, name: str) -> NDArray[Any]:
        """A column of the requests, without a copy."""
        if name in self._derived:
            return self._derived[name]
        return self.table("requests").column(name).chunk(0).to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]

    @property
    def request_lengths(self) -> NDArray[np.int64]:
        """Rows of each request."""
        return self.of_requests("rows")

    @cached_property
    def request_offsets(self) -> NDArray[np.int64]:
        """Rows of request r are `request_offsets[r] : request_offsets[r + 1]`."""
        return np.append(0, self.request_lengths.cumsum())

    def has(self, name: str) -> bool:
        """Whether the impressions have a column."""
        return name in self._derived or name in self.table("impressions").column_names

    def column(self, name: str) -> NDArray[Any]:
        """A column of the impressions, without a copy where it is one chunk."""
        if name in self._derived:
            return self._derived[name]
        if not self.has(name):
            raise DataError(
                f"the log has no column {name!r}; it has {', '.join(self.table('impressions').column_names)}."
            )
        chunked = self.table("impressions").column(name)
        if chunked.num_chunks == 1:
            return chunked.chunk(0).to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]
        return chunked.to_numpy()  # type: ignore[no-any-return]

    def vectors(self, name: str) -> NDArray[np.float32]:
        """(items, width): a fixed vector of each item, memory-mapped.

        Raises:
            ConfigError: if the log has no such vectors.
        """
        if name in self.encoded:
            return self.encoded[name]
        path = self.folder / f"vectors-{name}.npy"
        if not path.is_file():
            there = sorted(p.stem.removeprefix("vectors-") for p in self.folder.glob("vectors-*.npy"))
            raise ConfigError(
                f"features.vectors: the log has no vectors {name!r}; it has {', '.join(there) or 'none'}."
            )
        with self._told_damage(path.name):
            return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]

    def rows_of(self, requests: NDArray[np.int64]) -> NDArray[np.int64]:
        """All rows of some requests, in their order."""
        if self._touched > AT_ONCE:
            self.release()
        self._touched += len(requests)
        return ragged_arange(self.request_offsets[requests], self.request_lengths[requests])

    def requests_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The request of each row."""
        return np.searchsorted(self.request_offsets, rows, side="right") - 1

    def row_parts(self, requests: NDArray[np.int64], at_once: int = 50_000) -> Iterator[NDArray[np.int64]]:
        """The same, so many requests at a time: for sums over whole splits."""
        for start in range(0, len(requests), at_once):
            yield self.rows_of(requests[start : start + at_once])

    # --- texts -------------------------------------------------------------------------------------------------

    def text(self, side: Side, template: str) -> list[str]:
        """Every text of a side, from a template over its fields: `"{title}"`, `"{brand} {title}"`.

        Raises:
            ConfigError: if the template names a field that the side does not have.
        """
        table = self.table(side)
        columns = {}
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ConfigError(
                f"data.texts: {template!r} cannot be read ({error}); write fields as '{{title}}'."
            ) from None
        for _, field, _, _ in parts:
            if field is None:
                continue
            if field not in table.column_names:
                near = get_close_matches(field, table.column_names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(table.column_names)}."
                raise ConfigError(f"data.texts: {template!r} names {field!r}, which {side} do not have{hint}")
            columns[field] = table.column(field).to_pylist()
        if not columns:
            raise ConfigError(
                f"data.texts: {template!r} names no field of {side}; write one in braces, as '{{title}}'."
            )
        if len(columns) == 1 and template == "{" + next(iter(columns)) + "}":
            return [str(value or "") for value in next(iter(columns.values()))]
        return [
            template.format(**{k: "" if v is None else v for k, v in zip(columns, values, strict=True)})
            for values in zip(*columns.values(), strict=True)
        ]

    def tokens(self, side: Side, template: str, tokenizer: Any, max_tokens: int) -> TokenTable:
        """Token ids of every text of a side, computed once per tokenizer, template and length, then memory-mapped."""
        key = hashlib.sha256(
            json.dumps([tokenizer_fingerprint(tokenizer), side, template, max_tokens]).encode()
        ).hexdigest()[:16]
        with built_folder(self.folder / f"tokens-{key}") as part:
            if part is not None:
                _tokenise(self.text(side, template), tokenizer, max_tokens, part)
        folder = self.folder / f"tokens-{key}"
        ids = np.load(folder / "ids.npy", mmap_mode="r")
        return TokenTable(ids, np.load(folder / "offsets.npy", mmap_mode="r"))


def _tokenise(texts: list[str], tokenizer: Any, max_tokens: int, folder: Path) -> None:
    """Write `ids.npy` and `offsets.npy`, batch by batch, each on all cores."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # said aloud, lest each loader process warns of it
    ids, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
    starts = range(0, len(texts), TEXTS_AT_ONCE)
    told = f"tokenising {len(texts):,} texts once"
    for start in track(starts, told, transient=True, console=Console(stderr=True), disable=len(starts) < 10):
        encoded = tokenizer(
            texts[start : start + TEXTS_AT_ONCE],
            add_special_tokens=False,
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        ids.append(np.fromiter(chain.from_iterable(encoded), np.int32, int(lengths[-1].sum())))
    np.save(folder / "ids.npy", np.concatenate(ids))
    np.save(folder / "offsets.npy", np.concatenate(lengths).cumsum())


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """sha256 of everything a fast tokenizer does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(f"backbone: {type(tokenizer).__name__} is no fast tokenizer; it needs a tokenizer.json.")
    content = json.loads(backend.to_str())
    for setting in ("truncation", "padding"):  # what the last call left behind, not what the tokenizer is
        content.pop(setting, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def require_known(tables: Mapping[str, TokenTable], tokenizer: Any, most: float) -> None:
    """Refuse a tokenizer that does not read the log's language: training would run, and learn nothing.

    Raises:
        ConfigError: if more than `most` of a side's tokens are unknown to it.
    """
    for side, table in tables.items():
        unknown = float(np.mean(table.ids == tokenizer.unk_token_id)) if len(table.ids) else 0.0
        if tokenizer.unk_token_id is not None and unknown > most:
            raise ConfigError(
                f"backbone: its tokenizer does not know {unknown:.0%} of the {side} tokens; choose a backbone for "
                "the log's language (backbone=bge_small_zh, multilingual_e5_small), or set +data.max_unknown=1."
            )


def ragged_arange(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ranges `starts[i] : starts[i] + lengths[i]`, laid end to end."""
    lengths = np.asarray(lengths, dtype=np.int64)
    ends = lengths.cumsum()
    if not len(ends):
        return np.zeros(0, dtype=np.int64)
    return np.arange(ends[-1]) + np.repeat(np.asarray(starts, dtype=np.int64) - (ends - lengths), lengths)


def stores(source: Mapping[str, Any], tasks: TaskFunnel) -> str:
    """The fingerprint of a log: its source, its tasks, the store's layout."""
    content = {"version": VERSION, "source": source, "tasks": tasks.to_config()}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
