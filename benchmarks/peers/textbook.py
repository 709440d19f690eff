"""Peer (a): the loop that tutorials show, in plain PyTorch."""

from __future__ import annotations

import time

import torch
from torch.utils.data import DataLoader

from benchmarks.measure import Step
from benchmarks.ours import Ours
from benchmarks.peers.hf import precision_of
from benchmarks.peers.models import Textbook
from benchmarks.peers.rows import Examples, collate, log_of, pieces


class TextbookLoop:
    """One row one sequence (query and title), padded to the longest, BertForSequenceClassification, AdamW."""

    def __init__(self, ours: Ours, micro: int | None = None, batches: int = 4) -> None:
        log = log_of(ours, batches)
        self.examples = Examples(log, ours.assembly.data.tokenizer, cross=True)
        self.accumulate = pieces(log.rows_per_batch, micro)
        self.micro = -(-log.rows_per_batch // self.accumulate)
        self.model = Textbook(ours)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=float(ours.cfg.tuning.learning_rate))
        self.bf16 = precision_of(ours) == "bf16-mixed"

    def run(self, steps: int) -> list[Step]:
        """See `Contestant.run`; micro-batches are timed one by one."""
        self.model.train()
        found: list[Step] = []
        wanted = steps * self.accumulate + (self.accumulate == 1)
        ended = time.perf_counter()
        for number, batch in zip(range(wanted), self._forever(), strict=False):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
                loss = self.model(**batch)["loss"] / self.accumulate
            loss.backward()
            if (number + 1) % self.accumulate == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            now = time.perf_counter()
            found.append(Step(len(batch["labels"]), now - ended))
            ended = now
        return found[1:]

    def _forever(self):  # type: ignore[no-untyped-def]
        while True:
            yield from DataLoader(self.examples, batch_size=self.micro, collate_fn=collate)
