"""The boundary cache of a run: whether it pays, what it is known by, and its one pass over the log's texts."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from rich.console import Console
from rich.progress import track
from torch import Tensor

from funneltune.backbones import DROPOUTS, BoundaryCache, Encoder
from funneltune.data import Catalogue, LogDataModule, built_folder
from funneltune.files import require_space
from funneltune.modules.sharding import gather, release
from funneltune.modules.state import sum_of
from funneltune.schema import Texts

logger = logging.getLogger("funneltune")
AT_ONCE = 4096
"""Texts per part of the pass."""
UNTOLD = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", *DROPOUTS}
"""Fields of a model's config that no hidden state depends on, in evaluation mode."""


@dataclass(frozen=True)
class Kept:
    """A cache on disk, for a run's record."""

    layers: int
    texts: int
    megabytes: float
    seconds: float
    """Of the pass over the log's texts; 0 where another run had made it."""


def pays(encoder: Encoder, data: LogDataModule, trainer: L.Trainer) -> bool:
    """Whether a run keeps what lies below its boundary: as the config says, or where training reads more texts than
    the log has.

    A function of config and log alone, and not of what lies on disk: a run that goes on decides as it did.
    """
    if encoder.caching.policy != "auto":
        return encoder.caching.policy == "always" and may_be_kept(encoder)
    batches = int(trainer.estimated_stepping_batches) * trainer.accumulate_grad_batches
    if batches < 1 or not may_be_kept(encoder):
        return False
    first = data.collator()(next(iter(data.plan().draws())))
    return batches * len(first.texts) > len(data.collator().catalogue())


def may_be_kept(encoder: Encoder) -> bool:
    """Whether something lies below the boundary that can be had by itself."""
    return encoder.frozen or (encoder.layered and encoder.boundary > 0)


def open_cache(encoder: Encoder, data: LogDataModule, trainer: L.Trainer) -> Kept | None:
    """Give the encoder the cache of its boundary and this log; the first process of a machine makes it where it is not
    there. None, and nothing is done, where it would be larger than the config allows.

    Raises:
        RunError: if the disk has no room for it.
        DataError: if it is there and damaged.
    """
    catalogue = data.collator().catalogue()
    rows, size = (len(catalogue), 4) if encoder.frozen else (catalogue.tokens, 2)
    needed = rows * encoder.width * size
    if needed > encoder.caching.limit_gb * 1e9:
        logger.warning(
            "hidden states of %d texts would take %.1f GB, more than backbone.cache_gb=%g: they are computed anew in "
            "every batch.",
            len(catalogue),
            needed / 1e9,
            encoder.caching.limit_gb,
        )
        return None
    folder = data.store.folder / f"hidden-{_key(encoder, data, str(trainer.precision))}"
    begun = time.perf_counter()
    gather(encoder)  # one rank runs it alone
    made = trainer.local_rank == 0 and _make(folder, encoder, catalogue, trainer, needed)
    seconds = time.perf_counter() - begun if made else 0.0
    trainer.strategy.barrier("boundary cache")
    release(encoder)
    with built_folder(folder):  # there by now: its checksums are compared
        encoder.cache = BoundaryCache.read(folder, encoder.width, pooled=encoder.frozen)
    return Kept(encoder.boundary, len(catalogue), needed / 2**20, seconds)


def _make(folder: Path, encoder: Encoder, catalogue: Catalogue, trainer: L.Trainer, needed: int) -> bool:
    with built_folder(folder) as part:
        if part is None:
            return False
        require_space(folder, needed)
        training = encoder.training
        encoder.eval()
        with trainer.precision_plugin.forward_context():
            BoundaryCache.write(part, _read(encoder, catalogue), pooled=encoder.frozen)
        encoder.train(training)
        return True


def _read(encoder: Encoder, catalogue: Catalogue) -> Iterator[tuple[Texts, Tensor]]:
    device = next(encoder.parameters()).device
    parts = -(-len(catalogue) // AT_ONCE)
    told = f"reading {len(catalogue):,} texts once"
    for texts in track(
        catalogue.texts(AT_ONCE), told, total=parts, transient=True, console=Console(stderr=True), disable=parts < 2
    ):
        yield texts, encoder.below(texts.to(device))


def _key(encoder: Encoder, data: LogDataModule, precision: str) -> str:
    """What decides the states: texts and tokenizer, the weights below the boundary, how they are computed."""
    backbone = encoder.backbone
    config = {name: value for name, value in backbone.config.to_dict().items() if name not in UNTOLD}
    weights = {name: p.detach() for name, p in encoder.parameters_below().items()}
    told = [data.catalogue_key, encoder.boundary, precision, encoder.packed, config, sum_of(weights)]
    told += [encoder.pooling] if encoder.frozen else []
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]
