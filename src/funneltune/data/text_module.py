"""Texts alone as Lightning reads them: shuffled by (seed, epoch), of like lengths in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from funneltune.data.language import HELD_OUT, TextReader, Tokens
from funneltune.schema import LanguageBatch

WINDOW = 16
"""Batches among which texts are sorted by length: little padding, and a new company for each text in every epoch."""


class TextDataModule(L.LightningDataModule):
    """Batches of texts for a language model.

    The trainer must load anew in every epoch (`reload_dataloaders_every_n_epochs=1`): order and masks are the epoch's.

    Args:
        train: Texts to train on, as token ids without special tokens.
        held_out: Texts to measure on; their masks never change.
        reader: Makes batches of them.
        texts_per_batch: Texts of a batch.
    """

    def __init__(
        self, train: Sequence[Tokens], held_out: Sequence[Tokens], reader: TextReader, texts_per_batch: int
    ) -> None:
        super().__init__()
        self.train, self.held_out, self.reader, self.texts_per_batch = train, held_out, reader, texts_per_batch

    def order(self, epoch: int) -> list[list[int]]:
        """The texts of each batch of an epoch, by their places in `train`."""
        generator = np.random.default_rng((self.reader.seed, epoch))
        drawn = generator.permutation(len(self.train))
        lengths = np.array([len(ids) for ids in self.train])
        size = self.texts_per_batch
        batches = []
        for start in range(0, len(drawn), WINDOW * size):
            window = drawn[start : start + WINDOW * size]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[at : at + size].tolist() for at in range(0, len(window), size)]
        return [batches[number] for number in generator.permutation(len(batches))]

    def train_dataloader(self) -> DataLoader[LanguageBatch]:
        """The current epoch's batches."""
        epoch = int(self.trainer.current_epoch) if self.trainer is not None else 0
        read = partial(self.reader.batch, epoch=1 + HELD_OUT + epoch)
        return DataLoader(self.train, batch_sampler=self.order(epoch), collate_fn=read)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[LanguageBatch]:
        """The held-out texts, shortest first."""
        order = sorted(range(len(self.held_out)), key=lambda number: len(self.held_out[number]))
        size = self.texts_per_batch
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        read = partial(self.reader.batch, epoch=HELD_OUT)
        return DataLoader(self.held_out, batch_sampler=batches, collate_fn=read)  # type: ignore[arg-type]
