"""Queries, items and shoppers to vectors: what a trained run makes of them, and what its bare backbone does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from funneltune.backbones import Backbone, BoundaryCache, Encoder
from funneltune.data import Asked, built_folder
from funneltune.decisions.requests import read_frame, read_times
from funneltune.decisions.scorer import AT_ONCE, Scorer, tracked
from funneltune.errors import ConfigError, DataError
from funneltune.files import require_new, whole_file
from funneltune.schema import Texts

KINDS = ("queries", "items", "users")
FORMATS = (".parquet", ".npz")
EVENTS = 20
"""A shopper's latest events that the vector is the mean of."""


@dataclass(frozen=True)
class Embedded:
    """Vectors with what they are of."""

    keys: list[str]
    """A query's words, an item's identifier (or, of a new one, its text), a shopper's identifier; with
    `data.pseudonyms` the pseudonyms of query and shopper.
    """
    vectors: Float[NDArray[np.float32], "rows width"]

    def write(self, path: Path) -> None:
        """As .parquet (`key`, and `vector`: a list column) or .npz (`keys`, `vectors`), whole or not at all.

        Raises:
            RunError: if the file exists, or its name ends in neither.
        """
        require_new(path, FORMATS)
        with whole_file(path) as part:
            if path.suffix == ".npz":
                with part.open("wb") as file:
                    np.savez(file, keys=np.asarray(self.keys, dtype=str), vectors=self.vectors)
                return
            width = self.vectors.shape[1]
            lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(self.vectors).ravel()), width)
            pq.write_table(
                pa.table({"key": pa.array(self.keys, pa.string()), "vector": lists}), part, write_page_checksum=True
            )


def embed(scorer: Scorer, what: str, rows: pd.DataFrame | None = None) -> Embedded:
    """Vectors of a table's rows, in their order, or of all that the run's log holds.

    `queries`: each text of column `query`, alone, as the run's encoder reads it. `items`: of column `item`, the log's
    identifiers; or, without it, of texts made by the run's own template from the columns that it names (`title`): items
    that the log need not know. A run that reads query and item together (`cross`) reads each alone here, which it was
    not trained for. `users`: see `shopper_vectors`; columns `user` and, if given, `time` (unix seconds or ISO 8601).

    Args:
        scorer: The run.
        what: `queries`, `items` or `users`.
        rows: The table; None: the whole log's.

    Raises:
        ConfigError: if `what` is none of these, or the run has no such vectors.
        DataError: if a column is missing, or an item is not known.
    """
    if what not in KINDS:
        raise ConfigError(f"what={what!r} must be one of {', '.join(KINDS)}.")
    shown = scorer.rows.shown
    if what == "queries":
        words = list(scorer.rows.queries) if rows is None else _column(rows, "query")
        return Embedded([shown.query(one) for one in words], scorer.query_vectors(words))
    if what == "users":
        users = list(scorer.rows.users) if rows is None else _column(rows, "user")
        times = None if rows is None or "time" not in rows else read_times(Path("input"), rows["time"]).tolist()
        return Embedded([shown.user(one) for one in users], shopper_vectors(scorer, users, times))
    return _of_items(scorer, rows)


def embed_file(scorer: Scorer, what: str, source: Path | None) -> Embedded:
    """`embed` of a CSV, Parquet or JSON-lines file; None: all that the log holds.

    Raises:
        DataError: if it is no such file.
    """
    return embed(scorer, what, None if source is None else read_frame(source, "input"))


def shopper_vectors(
    scorer: Scorer, keys: Sequence[str], times: Sequence[float] | None = None, events: int = EVENTS
) -> Float[NDArray[np.float32], "users width"]:
    """What a run knows of shoppers: up to two parts, side by side.

    First, of a run that reads texts: the mean of the vectors of the last `events` items on which the log's first binary
    task happened (clicks) before the time, or in the whole log; only what the run may remember counts (with a split by
    time all of it, else the training rows). Zeros for a shopper without a past, and where the log tells no time. Then,
    of a run with id features of the shopper (`user`, `user.segment`): the embedding that it learned of each.

    Raises:
        ConfigError: if the run has neither.
    """
    asked = [Asked(user=key, time=None if times is None else times[n]) for n, key in enumerate(keys)]
    parts = [part for part in (_past_vectors(scorer, asked, events), _learned(scorer, asked)) if part is not None]
    if not parts:
        raise ConfigError("what=users: this run reads neither texts nor an id of the shopper (features.ids: [user]).")
    return np.concatenate(parts, axis=1)


def _past_vectors(scorer: Scorer, asked: Sequence[Asked], events: int) -> NDArray[np.float32] | None:
    if not isinstance(scorer.module.encoder, Encoder):
        return None
    vectors = scorer.item_vectors
    if not scorer.rows.store.has("time"):
        return np.zeros((len(asked), vectors.shape[1]), dtype=np.float32)
    found = [np.zeros((0, vectors.shape[1]), dtype=np.float32)]
    for start in range(0, len(asked), AT_ONCE):
        past = scorer.rows.before(asked[start : start + AT_ONCE], events)
        there = (past >= 0)[..., None]
        summed = np.where(there, vectors[np.maximum(past, 0)], 0.0).sum(axis=1)
        found.append((summed / np.maximum(there.sum(axis=1), 1)).astype(np.float32))
    return np.concatenate(found)


@torch.inference_mode()
def _learned(scorer: Scorer, asked: Sequence[Asked]) -> NDArray[np.float32] | None:
    """Embeddings of the shopper's own id features, side by side."""
    features: Any = next(iter(scorer.module.features.values()), None)
    names = scorer.assembly.data.features.ids
    own = [place for place, name in enumerate(names) if name.partition(".")[0] == "user"]
    if features is None or not own:
        return None
    words = next(iter(scorer.rows.queries))
    found = []
    for start in range(0, len(asked), AT_ONCE):
        some = [Asked(query=words, user=one.user) for one in asked[start : start + AT_ONCE]]
        ids = scorer.rows.batch(some, [np.zeros(1, dtype=np.int64)] * len(some), kept=scorer.keeps_items)[0].ids
        assert ids is not None
        found.append(features.ids(ids[:, own]).float().numpy())
    return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)


def _of_items(scorer: Scorer, rows: pd.DataFrame | None) -> Embedded:
    catalogue = scorer.catalogue
    if rows is None:
        return Embedded(catalogue.keys, np.asarray(scorer.item_vectors))
    if "item" in rows:
        keys = _column(rows, "item")
        try:
            numbers = np.array([catalogue.number(key) for key in keys], dtype=np.int64)
        except ConfigError as error:
            raise DataError(f"input: {error}") from None
        return Embedded(keys, np.asarray(scorer.item_vectors[numbers]))
    if unknown := [name for name in rows.columns if name not in catalogue.columns]:
        known = ", ".join(catalogue.columns)
        raise DataError(f"input: column {unknown[0]!r} is neither item nor one of the items' fields ({known}).")
    fields = rows.astype(object).where(rows.notna(), None).to_dict("records")
    texts = [scorer.rows.item_text({str(name): value for name, value in one.items()}) for one in fields]
    return Embedded(texts, scorer.query_vectors(texts))


def _column(rows: pd.DataFrame, name: str) -> list[str]:
    if name not in rows:
        raise DataError(f"input: needs a column {name!r}, missing among the {len(rows.columns)} of its first row.")
    missing = np.flatnonzero(rows[name].isna().to_numpy())
    if len(missing):
        raise DataError(f"input: row {missing[0] + 1} has no {name}; give one, or leave the row out.")
    return [str(value) for value in rows[name]]


class BareEncoder:
    """A run's backbone as it was before any tuning, with mean pooling, in float32.

    Item vectors are kept in `vectors` of the run's folder, as the fine-tuned encoder's are.

    Args:
        scorer: The run.

    Raises:
        ConfigError: if it has no backbone.
    """

    def __init__(self, scorer: Scorer) -> None:
        if not isinstance(scorer.assembly.backbone, Backbone):
            raise ConfigError("backbone=none reads no text, so that nothing has a text vector; use another run.")
        self.scorer, self.backbone = scorer, scorer.assembly.backbone

    @cached_property
    def encoder(self) -> Encoder:
        """The backbone."""
        return self.backbone.encoder(pooling="mean").eval().requires_grad_(False)

    @cached_property
    def item_vectors(self) -> Float[NDArray[np.float32], "items width"]:
        """Each item's text; computed once and kept."""
        told = f"bare {self.backbone} {self.scorer.assembly.data.catalogue_key}"
        folder = self.scorer.folder / "vectors" / hashlib.sha256(told.encode()).hexdigest()[:16]
        with built_folder(folder) as part:
            if part is not None:
                BoundaryCache.write(part, self._encoded_items(), pooled=True)
        return np.asarray(BoundaryCache.read(folder, self.encoder.width, pooled=True).values)

    @torch.inference_mode()
    def query_vectors(self, words: Sequence[str]) -> Float[NDArray[np.float32], "words width"]:
        """Words alone."""
        found = np.zeros((len(words), self.encoder.width), dtype=np.float32)
        for start in range(0, len(words), AT_ONCE):
            texts = self.scorer.rows.query_texts(words[start : start + AT_ONCE])
            assert texts.numbers is not None
            found[start + texts.numbers.numpy()] = self.encoder(texts).float().numpy()
        return found

    @torch.inference_mode()
    def _encoded_items(self) -> Iterator[tuple[Texts, Tensor]]:
        collator = self.scorer.assembly.data.collator("twin")
        items = collator.catalogue().behind(len(collator.queries))
        parts = -(-len(items) // AT_ONCE)
        told = f"encoding {len(items):,} items with the bare backbone once"
        for texts in tracked(items.texts(AT_ONCE), parts, told):
            yield texts, self.encoder(texts).float()
