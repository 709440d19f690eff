"""Seconds of training until the validation clicks are ranked so well, evaluations left out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from benchmarks.ours import Ours
from benchmarks.peers.hf import HFTrainer, InOrder, arguments_of
from benchmarks.peers.rows import collate, pad
from funneltune.data import LogDataModule
from funneltune.metrics.discrimination import auc
from funneltune.runs.assemble import make_trainer

MOST_STEPS = 400
EVERY = 2048
"""Rows between evaluations."""


class Reached(Exception):  # noqa: N818
    """The target is reached: training need not go on."""


class Watch:
    """Seconds of training, and the AUC now and then: `[rows, seconds, auc]`."""

    def __init__(
        self, evaluate: Callable[[], float], target: float, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.evaluate, self.target, self.now = evaluate, target, now
        self.seen: list[tuple[int, float, float]] = []
        self.rows, self.seconds, self._next = 0, 0.0, EVERY
        self._begun = 0.0

    def begin(self) -> None:
        """A step begins, the loader's work included."""
        self._begun = self.now()

    def step(self, rows: int) -> None:
        """A step has ended.

        Raises:
            Reached: when the target is reached.
        """
        self.seconds += self.now() - self._begun
        self.rows += rows
        if self.rows >= self._next:
            self._next += EVERY
            self.seen.append((self.rows, self.seconds, self.evaluate()))
            if self.seen[-1][-1] >= self.target:
                raise Reached
        self.begin()


def ours(side: Ours, target: float) -> list[tuple[int, float, float]]:
    """Ours until the target."""
    data, module = side.assembly.data, side.assembly.module
    data.setup()
    rows, label = _clicks(data)

    def evaluate() -> float:
        module.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=_low(side)):
            found = [module(batch).logits[data.funnel.names[0]].float() for _, batch in data.batches(rows)]
        module.train()
        return auc(label, torch.cat(found).double().numpy())

    watch = Watch(evaluate, target)
    side.cfg.trainer.max_steps = MOST_STEPS

    class Clock(L.Callback):
        def on_train_start(self, *_: Any) -> None:
            watch.begin()

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            watch.step(len(batch))

    with TemporaryDirectory() as folder, contextlib.suppress(Reached):
        make_trainer(side.cfg, Path(folder), [Clock()], []).fit(module, datamodule=data)
    return watch.seen


def hf(side: Ours, target: float) -> list[tuple[int, float, float]]:
    """Transformers' Trainer with PEFT until the target: the same rates for LoRA and towers, constant like ours."""
    data = side.assembly.data
    data.setup()
    peer = HFTrainer(side, batches=MOST_STEPS)
    rows, label = _clicks(data)
    texts = _Unique(data, rows)
    watch = Watch(lambda: auc(label, texts.scores(peer.model, peer.bf16)), target)

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **more: Any) -> None:
            watch.begin()

        def on_step_end(self, *_: Any, **more: Any) -> None:
            watch.step(peer.micro)

    head = [p for name, p in peer.model.named_parameters() if not name.startswith("backbone.")]
    lora = [p for name, p in peer.model.named_parameters() if name.startswith("backbone.") and p.requires_grad]
    groups = [{"params": lora, "lr": peer.learning_rate}, {"params": head, "lr": float(side.cfg.optimizer.lr)}]
    optimizer = torch.optim.AdamW(groups, fused=True, weight_decay=float(side.cfg.optimizer.weight_decay))
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    with TemporaryDirectory() as folder:
        arguments = arguments_of(
            TrainingArguments,
            folder,
            steps=MOST_STEPS,
            rows=peer.micro,
            learning_rate=peer.learning_rate,
            bf16=peer.bf16,
            remove_unused_columns=False,
        )
        trainer = InOrder(
            model=peer.model,
            args=arguments,
            train_dataset=peer.examples,
            data_collator=collate,
            callbacks=[Clock()],
            optimizers=(optimizer, constant),
        )
        trainer.remove_callback(PrinterCallback)
        with contextlib.suppress(Reached):
            trainer.train()
    return watch.seen


def _low(side: Ours) -> bool:
    from benchmarks.peers.hf import precision_of

    return precision_of(side) == "bf16-mixed"


def _clicks(data: LogDataModule) -> tuple[Any, Any]:
    rows = data.rows("validation")
    return rows, data.store.column(data.funnel.names[0])[rows]


class _Unique:
    """The validation texts, each once: a peer need not pay for its evaluations here."""

    def __init__(self, data: LogDataModule, rows: Any) -> None:
        self.place = {}
        self.ids = {}
        for side, table, field in (("query", "queries", "query"), ("item", "items", "item")):
            numbers, place = np.unique(data.store.column(field)[rows], return_inverse=True)
            texts = data.store.text(table, data.texts[side])  # type: ignore[arg-type]
            self.place[side] = torch.from_numpy(place)
            chosen = [texts[number] for number in numbers]
            self.ids[side] = data.tokenizer(chosen, truncation=True, max_length=data.max_tokens)["input_ids"]

    def _vectors(self, model: Any, side: str) -> Iterator[torch.Tensor]:
        for start in range(0, len(self.ids[side]), 512):
            yield model.encode(*pad(self.ids[side][start : start + 512])).float()

    @torch.no_grad()
    def scores(self, model: Any, low: bool) -> Any:
        """The click tower's logits."""
        model.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            u, v = (torch.cat(list(self._vectors(model, s)))[self.place[s]] for s in ("query", "item"))
        cosine = F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)
        found = model.click(torch.cat([u, v, u * v, (u - v).abs(), cosine], dim=-1)).squeeze(1)
        model.train()
        return found.double().numpy()
