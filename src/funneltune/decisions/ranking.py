"""Items in order for a query: the run's own probabilities, from item vectors that are computed once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from funneltune.backbones import BoundaryCache, Encoder
from funneltune.data import Specials, built_folder
from funneltune.decisions.item_side import ItemSide
from funneltune.errors import ConfigError
from funneltune.runs import Assembly, load
from funneltune.runs.weights import MANIFEST
from funneltune.schema import Texts, predictions

AT_ONCE = 4096
"""Items per forward while vectors are computed."""


class Ranked(NamedTuple):
    """An item in its place."""

    item: str
    """The log's identifier."""
    title: str
    """The item's text, as the backbone reads it."""
    p: dict[str, float]
    """Rate (ctr, cvr, ctcvr) -> probability."""


class Ranker:
    """Ranks the items of a run's log for any query, in the run's own precision.

    Item vectors are encoded once and kept in `vectors` of the run's folder, by what decides them: the run's weights and
    the items' texts. A query costs one short text and the head on the candidates.

    Args:
        assembly: The run, its weights loaded. Its module is for scoring only from here on.
        vectors: (items, width).

    Raises:
        ConfigError: if the run reads pairs, or more of a row than its texts, or has a vector per task.
    """

    def __init__(self, assembly: Assembly, vectors: Float[Tensor, "items width"]) -> None:
        _require_twin(assembly)
        self.assembly = assembly
        self.module, data = assembly.module.eval().requires_grad_(False), assembly.data
        assert isinstance(self.module.encoder, Encoder)
        if self.module.encoder.kept_in is not None:
            self.module.encoder.keep_frozen_in(self.module.encoder.kept_in)
        self.catalogue = ItemSide(self.module, vectors)
        self.specials = Specials.of(data.tokenizer)
        self.keys: list[str] = [str(key) for key in data.store.table("items").column("key").to_pylist()]
        self.titles = data.store.text("items", data.texts["item"])
        self.columns = {
            rate: f"p_{name}"
            for task in data.funnel.binary
            for rate, name in ((task.rate, task.conditional), (task.joint_rate, task.joint))[: 2 if task.given else 1]
        }

    @classmethod
    def of_run(cls, run: Path) -> Ranker:
        """From a run's folder.

        Raises:
            RunError: if it is no finished run, or cannot be written to.
        """
        assembly = load(run)
        _require_twin(assembly)
        weights = (run / "weights" / MANIFEST).read_bytes()
        key = hashlib.sha256(
            weights + f"{assembly.data.catalogue_key} {assembly.module.encoder.kept_in}".encode()
        ).hexdigest()[:16]
        with built_folder(run / "vectors" / key) as part:
            if part is not None:
                BoundaryCache.write(part, encode_items(assembly), pooled=True)
        kept = BoundaryCache.read(run / "vectors" / key, assembly.module.encoder.width, pooled=True)
        return cls(assembly, torch.from_numpy(np.array(kept.values)))

    @torch.inference_mode()
    def probabilities(
        self, query: str, items: Int[Tensor, " candidates"] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Rate -> each candidate's probability (all items without `items`), as `funneltune predict` has them.

        Raises:
            ConfigError: if the query is empty.
        """
        logits = self.catalogue.logits(self.module.encoder(self._texts(query))[0], items)
        found = self.module.scales.restore(predictions(logits, self.assembly.data.funnel))
        return {rate: np.exp(found[column].double().numpy()) for rate, column in self.columns.items()}

    def rank(self, query: str, by: str = "", top: int = 10, items: Sequence[int] | None = None) -> list[Ranked]:
        """The best `top` of some items (numbers in the log; None: all), highest first, equal ones in the log's order.

        `by`: a rate; without one, the last of the funnel (ctcvr).

        Raises:
            ConfigError: if the query is empty, `by` is no rate of the run, `top` < 1, or an item is none of the log's.
        """
        by = by or list(self.columns)[-1]
        if by not in self.columns:
            near = difflib.get_close_matches(by, self.columns, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"by={by!r} must be one of {', '.join(self.columns)}{hint}")
        if top < 1:
            raise ConfigError(f"top={top} must be >= 1, the number of items to show.")
        among = None if items is None else torch.as_tensor(items, dtype=torch.long)
        outside = [] if among is None else among[(among < 0) | (among >= len(self.keys))].tolist()
        if outside:
            raise ConfigError(f"items: {outside[0]} must lie in 0 .. {len(self.keys) - 1}, the log's items.")
        p = self.probabilities(query, among)
        order = np.argsort(-p[by], kind="stable")[:top]
        numbers = order if among is None else among.numpy()[order]
        values = zip(*(of_rate[order].tolist() for of_rate in p.values()), strict=True)
        return [
            Ranked(self.keys[item], self.titles[item], dict(zip(p, one, strict=True)))
            for item, one in zip(numbers.tolist(), values, strict=True)
        ]

    def _texts(self, query: str) -> Texts:
        """The query's own text, as a batch holds it."""
        if not query.strip():
            raise ConfigError(f"query={query!r} is empty; give the words of a search.")
        data, around = self.assembly.data, self.specials
        room = data.max_tokens - sum(token is not None for token in (around.before, around.after))
        ids = data.tokenizer(query, add_special_tokens=False, truncation=True, max_length=data.max_tokens)["input_ids"]
        whole = torch.tensor([t for t in (around.before, *ids[:room], around.after) if t is not None])
        return Texts(whole, torch.tensor([len(whole)]), torch.tensor([len(whole)]))


@torch.inference_mode()
def encode_items(assembly: Assembly) -> Iterator[tuple[Texts, Float[Tensor, "items width"]]]:
    """Every item's text with its vector, part by part."""
    encoder, collator = assembly.module.eval().encoder, assembly.data.collator()
    items = collator.catalogue().behind(len(collator.queries))
    parts = -(-len(items) // AT_ONCE)
    told = f"encoding {len(items):,} items once"
    for texts in track(items.texts(AT_ONCE), told, total=parts, transient=True, disable=parts < 2):
        yield texts, encoder(texts)


def _require_twin(assembly: Assembly) -> None:
    data = assembly.data
    if data.interaction != "twin":
        raise ConfigError(
            f"backbone.interaction={data.interaction}: items have no vectors of their own where each is read together "
            "with its query; rank with funneltune predict on a file of pairs, or train with backbone.interaction=twin."
        )
    if data.features:
        raise ConfigError(
            "features: this run reads more of a row than its texts, which a query alone does not have; rank with "
            "funneltune predict on a file of rows, or train with features=none."
        )
    sharing = getattr(assembly.module.tuning, "sharing", "shared")
    if sharing != "shared":
        raise ConfigError(
            f"tuning.sharing={sharing}: each task has vectors of its own, and items are kept with one; rank with "
            "funneltune predict on a file of pairs, or train with tuning.sharing=shared."
        )
