"""Peer (b): transformers' Trainer around PEFT's LoRA, one row one example."""

from __future__ import annotations

import tempfile
import time
import warnings
from typing import Any

import torch
from torch.utils.data import Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from benchmarks.measure import Step
from benchmarks.ours import Ours
from benchmarks.peers.models import PlainCross, PlainTwin, backbone_of, towers_of, with_lora
from benchmarks.peers.rows import Examples, collate, log_of, pieces


class HFTrainer:
    """Trains what `ours` trains, on the same rows in the same order, as a competent user of transformers would.

    The Trainer's defaults stay: AdamW (fused), clipping at 1, linear schedule, padding to the longest, no workers.

    Args:
        ours: Whose weights, rows, head and interaction are taken over.
        micro: Rows per forward; the batch is accumulated from as many as it takes. None: the whole batch at once.
    """

    def __init__(self, ours: Ours, micro: int | None = None, batches: int = 4) -> None:
        log = log_of(ours, batches)
        cross = ours.assembly.backbone.interaction == "cross"
        self.examples = Examples(log, ours.assembly.data.tokenizer, cross=cross)
        self.accumulate = pieces(log.rows_per_batch, micro)
        self.micro = -(-log.rows_per_batch // self.accumulate)
        body = with_lora(backbone_of(ours))
        self.model = (PlainCross if cross else PlainTwin)(body, towers_of(ours))
        self.bf16 = precision_of(ours) == "bf16-mixed"
        self.learning_rate = float(ours.cfg.tuning.learning_rate)

    def run(self, steps: int) -> list[Step]:
        """See `Contestant.run`. A step is a whole batch, and its micro-batches are timed one by one."""
        transformers_logging.set_verbosity_error()
        clock = Clock(self.micro)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = steps if self.accumulate > 1 else steps + 1
            trainer = InOrder(
                model=self.model,
                args=arguments_of(
                    TrainingArguments,
                    folder,
                    steps=whole,
                    rows=self.micro,
                    learning_rate=self.learning_rate,
                    bf16=self.bf16,
                    gradient_accumulation_steps=self.accumulate,
                    remove_unused_columns=False,
                ),
                train_dataset=self.examples,
                data_collator=collate,
                callbacks=[clock],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return clock.steps


def arguments_of(
    kind: type[TrainingArguments], folder: str, *, steps: int, rows: int, learning_rate: float, bf16: bool, **more: Any
) -> TrainingArguments:
    """The library's defaults, without reports and files."""
    return kind(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=rows,
        learning_rate=learning_rate,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **more,
    )


def precision_of(ours: Ours) -> str:
    """What our trainer's `precision` becomes on this machine."""
    from funneltune.runs.precision import resolve_precision

    return resolve_precision(str(ours.cfg.trainer.precision), str(ours.cfg.trainer.accelerator))


class InOrder(Trainer):  # type: ignore[misc]
    """The rows as they come, so that both sides see the same ones."""

    def _get_train_sampler(self, *arguments: Any) -> Sampler[int]:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


class Clock(TrainerCallback):  # type: ignore[misc]
    """Times micro-batches from end to end; the first one is the warm-up."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.steps: list[Step] = []
        self._ended: float | None = None

    def on_substep_end(self, *arguments: Any, **more: Any) -> None:
        """A micro-batch has ended."""
        now = time.perf_counter()
        if self._ended is not None:
            self.steps.append(Step(self.rows, now - self._ended))
        self._ended = now

    on_step_end = on_substep_end
