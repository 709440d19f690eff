"""A run's calibrated probabilities for any request: known or new words, shoppers and items.

Legend: C candidates of a request; text vectors are W wide.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from funneltune.backbones import BoundaryCache, Encoder
from funneltune.data import Asked, AskedRows, built_folder
from funneltune.decisions.item_side import ItemSide
from funneltune.decisions.items import Items
from funneltune.errors import ConfigError
from funneltune.funnel import Task
from funneltune.metrics import RAW, Scaling, scaled
from funneltune.metrics.scaling import SCALINGS
from funneltune.runs import Assembly, load, scalings_of
from funneltune.runs.weights import MANIFEST
from funneltune.schema import SHARED, Batch, HeadOutput, Texts, predictions

Integers = NDArray[np.int64]
Part = TypeVar("Part")
Rates = dict[str, NDArray[np.float64]]
"""Rate (ctr, cvr, ctcvr) -> a probability per candidate."""

AT_ONCE = 4096
"""Texts per forward while vectors are computed, and rows per forward while scoring."""


class Scorer:
    """What a finished run says of requests that were never logged.

    Where queries and items are read apart (`twin`), item vectors are encoded once and kept in `vectors` of the run's
    folder, by what decides them: the run's weights and the items' texts.

    Args:
        assembly: The run, its weights loaded. Its module is for scoring only from here on.
        scalings: Rate -> its calibration.
        folder: Where vectors are kept.

    Raises:
        ConfigError: if the run predicts no probability.
    """

    def __init__(self, assembly: Assembly, scalings: Mapping[str, Scaling], folder: Path) -> None:
        self.assembly, self.scalings, self.folder = assembly, dict(scalings), folder
        self.funnel = assembly.data.funnel
        self.columns = {
            rate: f"p_{name}"
            for task in self.funnel.binary
            for rate, name in ((task.rate, task.conditional), (task.joint_rate, task.joint))[: 2 if task.given else 1]
        }
        if not self.columns:
            raise ConfigError(f"run={folder} predicts no probability (data.tasks has no binary task) to rank by.")
        self.module = assembly.module.eval().requires_grad_(False)
        encoder = self.module.encoder
        if isinstance(encoder, Encoder) and encoder.kept_in is not None:
            encoder.keep_frozen_in(encoder.kept_in)
        self.rows = AskedRows(assembly.data)
        self.catalogue = Items(self.rows)

    @classmethod
    def of_run(cls, run: Path, calibration: str | None = None) -> Scorer:
        """From a run's folder. `calibration`: none, temperature, platt, isotonic; None: what the run's config says.

        Raises:
            RunError: if it is no finished run, cannot be written to, or has no such scaling.
        """
        return cls(load(run), scalings_of(run, calibration), run)

    def under(self, calibration: str) -> Scorer:
        """The same run in another calibration (none, temperature, platt, isotonic); weights and vectors are shared.

        Raises:
            RunError: if the run has no such calibration.
        """
        scalings = scalings_of(self.folder, calibration)
        _ = self.item_side  # computed once for both
        found = copy(self)
        found.scalings = scalings
        return found

    @property
    def rates(self) -> tuple[str, ...]:
        """What it says of a candidate, in the funnel's order: the last is all of the funnel together (ctcvr)."""
        return tuple(self.columns)

    @property
    def calibration(self) -> str:
        """What was done to its probabilities, for records: none, or a scaling, and of which rates where not of all."""
        rates = [task.rate for task in self.funnel.binary if task.rate in self.scalings]
        names = [name for name, kind in SCALINGS.items() if rates and isinstance(self.scalings[rates[0]], kind)]
        told = names[0] if names else RAW
        return f"{told} of {', '.join(rates)} alone" if 0 < len(rates) < len(self.funnel.binary) else told

    @property
    def keeps_items(self) -> bool:
        """Whether items have one vector each, whatever is asked."""
        encoder = self.module.encoder
        return isinstance(encoder, Encoder) and encoder.sets is None and self.assembly.data.interaction == "twin"

    # --- vectors -----------------------------------------------------------------------------------------------

    @cached_property
    def item_vectors(self) -> Float[NDArray[np.float32], "items width"]:
        """Each item's text as the run's encoder reads it alone; computed once and kept.

        Raises:
            ConfigError: if the run reads no texts.
        """
        encoder, data = self._encoder(), self.assembly.data
        weights = (self.folder / "weights" / MANIFEST).read_bytes()
        key = hashlib.sha256(weights + f"{data.catalogue_key} {encoder.kept_in}".encode()).hexdigest()[:16]
        width = encoder.width if encoder.sets is None else encoder.width * len(self.funnel.names)
        with built_folder(self.folder / "vectors" / key) as part:
            if part is not None:
                BoundaryCache.write(part, self.encoded_items(), pooled=True)
        return np.asarray(BoundaryCache.read(self.folder / "vectors" / key, width, pooled=True).values)

    @torch.inference_mode()
    def query_vectors(self, words: Sequence[str]) -> Float[NDArray[np.float32], "words width"]:
        """Words alone as the run's encoder reads them; tasks with weights of their own side by side.

        Raises:
            ConfigError: if the run reads no texts.
        """
        encoder = self._encoder()
        found = np.zeros((len(words), 0), dtype=np.float32)
        starts = range(0, len(words), AT_ONCE)
        for start in tracked(starts, len(starts), f"encoding {len(words):,} texts"):
            texts = self.rows.query_texts(words[start : start + AT_ONCE])
            assert texts.numbers is not None
            vectors = self._vectors(encoder, texts).numpy()
            if not found.shape[1]:
                found = np.zeros((len(words), vectors.shape[1]), dtype=np.float32)
            found[start + texts.numbers.numpy()] = vectors
        return found

    def user_vectors(self, keys: Sequence[str], events: int = 20) -> Float[NDArray[np.float32], "users width"]:
        """The mean vector of the items that each shopper clicked last; zeros of one without a past.

        Raises:
            ConfigError: if the run reads no texts, or the log tells no time.
        """
        past = self.rows.before([Asked(user=key) for key in keys], events)
        there = (past >= 0)[..., None]
        vectors = np.where(there, self.item_vectors[np.maximum(past, 0)], 0.0)
        return np.asarray(vectors.sum(axis=1) / np.maximum(there.sum(axis=1), 1), dtype=np.float32)

    def _encoder(self) -> Encoder:
        encoder = self.module.encoder
        if not isinstance(encoder, Encoder):
            raise ConfigError("backbone=none reads no text, so that nothing has a text vector; use another run.")
        return encoder

    @staticmethod
    def _vectors(encoder: Encoder, texts: Texts) -> Tensor:
        views = encoder.views(texts)
        return torch.cat([vectors for view, vectors in views.items() if view != SHARED or len(views) == 1], dim=1)

    @torch.inference_mode()
    def encoded_items(self) -> Iterator[tuple[Texts, Tensor]]:
        """Every item's text with its vector, part by part."""
        encoder, collator = self._encoder(), self.assembly.data.collator("twin")
        items = collator.catalogue().behind(len(collator.queries))
        parts = -(-len(items) // AT_ONCE)
        for texts in tracked(items.texts(AT_ONCE), parts, f"encoding {len(items):,} items once"):
            yield texts, self._vectors(encoder, texts)

    # --- probabilities -----------------------------------------------------------------------------------------

    @cached_property
    def item_side(self) -> ItemSide | None:
        """Above the encoder, with what depends on items alone computed once; None where rows have more than texts."""
        if not self.keeps_items or self.assembly.data.features:
            return None
        return ItemSide(self.module, torch.from_numpy(np.array(self.item_vectors)))

    def score(self, asked: Sequence[Asked], items: Sequence[Integers | None]) -> list[Rates]:
        """Each candidate's calibrated probabilities, request by request, whatever else is asked in the same call.

        `items`: numbers in the log; None: all items.

        Raises:
            ConfigError: if a number is none of the log's, or the run reads words and there are none.
        """
        candidates = [np.arange(len(self.catalogue)) if some is None else self._checked(some) for some in items]
        if self.item_side is not None:
            return [
                self._of_item_side(self.item_side, one.query, None if some is None else of_one)
                for one, some, of_one in zip(asked, items, candidates, strict=True)
            ]
        return self._in_parts(asked, candidates, (), self.calibrated)

    def levels(self, asked: Sequence[Asked], items: Sequence[Integers], task: Task) -> list[NDArray[np.float64]]:
        """(C, levels) of each request: the probability of each level of a task that has them, as it was trained."""

        def tell(output: HeadOutput) -> Rates:
            found = predictions(output, self.funnel)
            return {name: np.exp(found[name].double().numpy()) for name in task.predicted}

        parts = self._in_parts(asked, [self._checked(some) for some in items], (), tell)
        return [np.stack([of_one[name] for name in task.predicted], axis=1) for of_one in parts]

    def score_new(
        self, asked: Sequence[Asked], fields: Sequence[Mapping[str, Any]], like: int | None = None
    ) -> list[Rates]:
        """Probabilities of items that the log does not have, by their text and fields.

        `like`: an item of the log whose fields they have where `fields` does not say otherwise: what if it had this
        price, that title?

        Raises:
            ConfigError: if a field is nothing that the log tells of items.
        """
        known = {*self.catalogue.columns, *self.read_columns}
        for name in (name for one in fields for name in one if name not in known):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it tells {', '.join(sorted(known))}."
            raise ConfigError(f"{name!r} is nothing that the log tells of items{hint}")
        base = {} if like is None else self.rows.fields(int(self._checked(np.array([like]))[0])) | {"like": like}
        new = [base | dict(one) for one in fields]
        number = len(self.catalogue) + np.arange(len(new))
        return self._in_parts(asked, [number] * len(asked), new, self.calibrated)

    def batch(self, asked: Sequence[Asked], items: Sequence[Integers], new: Sequence[Mapping[str, Any]] = ()) -> Batch:
        """The rows of requests with every text that they read: what `assembly.module` takes."""
        return self.rows.batch(asked, items, new)[0]

    def calibrated(self, output: HeadOutput) -> Rates:
        """A head's logits as probabilities by rate, in the run's calibration."""
        found = self.module.scales.restore(predictions(output, self.funnel))
        said = {name: np.exp(found[name].double().numpy()) for name in self.columns.values()}
        said |= {f"p_{task.joint}": np.exp(found[f"p_{task.joint}"].double().numpy()) for task in self.funnel.binary}
        told = scaled(said, self.funnel, self.scalings)
        return {rate: np.asarray(told[name], dtype=np.float64) for rate, name in self.columns.items()}

    @property
    def read_columns(self) -> tuple[str, ...]:
        """What the run reads of a row beside its texts, by the names that `Asked.columns` takes; and the price."""
        needs = self.assembly.data.features
        return (*needs.ids, *needs.numbers, "price")

    def _checked(self, items: Any) -> Integers:
        numbers = np.asarray(items, dtype=np.int64)
        outside = numbers[(numbers < 0) | (numbers >= len(self.catalogue))]
        if len(outside):
            raise ConfigError(f"items: {outside[0]} must lie in 0 .. {len(self.catalogue) - 1}, the log's items.")
        return numbers

    @torch.inference_mode()
    def _of_item_side(self, side: ItemSide, query: str, items: Integers | None) -> Rates:
        vector = torch.from_numpy(self.query_vectors([self._said(query)])[0])
        return self.calibrated(side.logits(vector, None if items is None else torch.from_numpy(items)))

    def _said(self, query: str) -> str:
        if not query.strip() and query not in self.rows.queries:
            raise ConfigError(f"query={query!r} is empty, and this run reads words; give those of a search.")
        return query

    def _in_parts(
        self,
        asked: Sequence[Asked],
        items: Sequence[Integers],
        new: Sequence[Mapping[str, Any]],
        tell: Callable[[HeadOutput], Rates],
    ) -> list[Rates]:
        """What `tell` makes of rows, in forwards of bounded size; a request's rows may be spread over several."""
        found: list[list[Rates]] = [[] for _ in asked]
        part: list[tuple[int, int, int]] = []
        size = 0
        for n, of_one in enumerate(items):
            for start in range(0, max(len(of_one), 1), AT_ONCE):
                stop = min(start + AT_ONCE, len(of_one))
                if part and size + stop - start > AT_ONCE:
                    self._forward(asked, items, new, part, tell, found)
                    part, size = [], 0
                part.append((n, start, stop))
                size += stop - start
        if part:
            self._forward(asked, items, new, part, tell, found)
        return [{name: np.concatenate([of[name] for of in parts]) for name in parts[0]} for parts in found]

    @torch.inference_mode()
    def _forward(
        self,
        asked: Sequence[Asked],
        items: Sequence[Integers],
        new: Sequence[Mapping[str, Any]],
        part: Sequence[tuple[int, int, int]],
        tell: Callable[[HeadOutput], Rates],
        found: list[list[Rates]],
    ) -> None:
        """Score some requests' stretches of candidates, and hand each its own."""
        requests = [_cut(asked[n], start, stop, len(items[n])) for n, start, stop in part]
        some = [items[n][start:stop] for n, start, stop in part]
        batch, known = self.rows.batch(requests, some, new, kept=self.keeps_items)
        vectors = dict(self.module.encoder.views(batch.texts))
        if self.keeps_items:
            kept = torch.from_numpy(np.asarray(self.item_vectors[known]))
            vectors[SHARED] = torch.cat([vectors[SHARED].float(), kept])
        said = tell(self.module.score(batch, vectors))
        bounds = np.cumsum([0, *map(len, some)])
        for (n, _, _), begin, end in zip(part, bounds[:-1], bounds[1:], strict=True):
            found[n].append({rate: values[begin:end] for rate, values in said.items()})


def tracked(parts: Iterable[Part], total: int, told: str) -> Iterable[Part]:
    """With a bar on stderr, which goes when it is full; without one where all is done in a single part."""
    return track(parts, told, total=total, transient=True, console=Console(stderr=True), disable=total < 2)


def _cut(asked: Asked, start: int, stop: int, whole: int) -> Asked:
    """A request with the columns of some of its candidates."""
    if stop - start == whole:
        return asked
    columns = {
        name: value[start:stop] if np.ndim(value) == 1 and len(value) == whole else value
        for name, value in asked.columns.items()
    }
    return Asked(asked.query, asked.user, asked.time, columns)
