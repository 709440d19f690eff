"""A toy run: a linear click model on real batches, with a tuning method that has ranks."""

import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from funneltune.schema import Batch, Texts

sys.path.insert(0, str(Path(__file__).parent))

ROWS, TOKENS = 6, 10


def toy_batch(index):
    labels = {"click": torch.tensor([1.0, 0, 0, 1, 0, 0])}
    return Batch(
        texts=Texts(torch.arange(TOKENS) + index, torch.tensor([4, 6]), torch.tensor([4, 6])),
        text_of_row={"query": torch.zeros(ROWS, dtype=torch.long), "item": torch.ones(ROWS, dtype=torch.long)},
        labels=labels,
        observed={"click": torch.ones(ROWS)},
        request=torch.zeros(ROWS, dtype=torch.long),
        row=torch.arange(ROWS),
    )


class ToyTuning:
    """Rank 3 everywhere until `settles_at`, then 2 and 1; exportable from then on."""

    def __init__(self, settles_at=0, ranks=True):
        self.settles_at, self.ranks, self.steps = settles_at, ranks, 0

    def rank_pattern(self):
        if not self.ranks:
            return None
        names = [f"encoder.layer.{n}.attention.self.{m}" for n in (0, 1) for m in ("query", "value")]
        return dict(zip(names, (3, 3, 3, 3) if self.steps < self.settles_at else (2, 1, 0, 3), strict=True))

    def exportable(self):
        return self.steps >= self.settles_at


class Toy(L.LightningModule):
    def __init__(self, tuning=None, validation=(), fail_at=None, during=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.tuning = tuning or ToyTuning()
        self.validation, self.fail_at, self.during = list(validation), fail_at, during

    def training_step(self, batch, batch_idx):
        if self.fail_at == batch_idx:
            raise RuntimeError("planted")
        if self.during:
            self.during(self)
        loss = (self.layer(batch.labels["click"][:, None]) ** 2).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.tuning.steps += 1

    def validation_step(self, batch, batch_idx):
        if self.validation:
            self.log("validation/ctr/auc", self.validation[0], batch_size=len(batch))

    def on_validation_end(self):
        self.validation = self.validation[1:]

    def configure_optimizers(self):
        groups = [{"name": "head", "params": [self.layer.weight]}, {"name": "encoder", "params": [self.layer.bias]}]
        return torch.optim.SGD(groups, lr=0.125)


def toy_loader(batches=1):
    return DataLoader([toy_batch(i) for i in range(batches)], batch_size=None)


@pytest.fixture
def toy():
    return Toy


@pytest.fixture
def toy_tuning():
    return ToyTuning


@pytest.fixture
def loader():
    return toy_loader


@pytest.fixture
def fit(tmp_path):
    def run(module, callbacks=(), loggers=False, batches=3, folder=None, **trainer):
        built = L.Trainer(
            accelerator="cpu",
            default_root_dir=folder or tmp_path,
            callbacks=list(callbacks),
            logger=loggers,
            **{
                "max_epochs": 1,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "enable_checkpointing": True,
                "num_sanity_val_steps": 1,
                "log_every_n_steps": 1,
                **trainer,
            },
        )
        if not any(isinstance(c, L.pytorch.callbacks.ModelCheckpoint) for c in callbacks):
            built.callbacks[:] = [c for c in built.callbacks if not isinstance(c, L.pytorch.callbacks.ModelCheckpoint)]
        built.fit(module, toy_loader(batches), toy_loader())
        return built

    return run
