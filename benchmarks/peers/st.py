"""Peer (c): sentence-transformers' trainer for two towers, with PEFT's LoRA through its own `add_adapter`."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig
from torch import Tensor, nn
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from benchmarks.measure import Step
from benchmarks.ours import Ours
from benchmarks.peers.hf import Clock, arguments_of, precision_of
from benchmarks.peers.models import backbone_of, esmm_loss, towers_of
from benchmarks.peers.rows import log_of


class SentenceTransformers:
    """Trains what `ours` trains, with the library's defaults: texts are tokenised batch by batch in its collator.

    Args:
        ours: Whose weights, rows and head are taken over; `twin`.
    """

    def __init__(self, ours: Ours, batches: int = 2) -> None:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformer, models

        log = log_of(ours, batches)
        labels = log.labels.tolist()
        self.rows = Dataset.from_dict({"query": log.query, "title": log.title, "label": labels})
        self.rows_per_batch = log.rows_per_batch
        with tempfile.TemporaryDirectory() as folder:
            backbone_of(ours).save_pretrained(folder)
            ours.assembly.data.tokenizer.save_pretrained(folder)
            transformers_logging.set_verbosity_error()  # of a pooler that is not there, and not read
            body = models.Transformer(folder, max_seq_length=log.max_tokens)
        pooling = models.Pooling(body.get_word_embedding_dimension(), "mean")
        self.model = SentenceTransformer(modules=[body, pooling], device="cuda" if torch.cuda.is_available() else "cpu")
        self.model.add_adapter(LoraConfig(r=8, lora_alpha=16.0, target_modules=["query", "value"]))
        self.loss = FunnelLoss(self.model, towers_of(ours))
        self.bf16 = precision_of(ours) == "bf16-mixed"
        self.learning_rate = float(ours.cfg.tuning.learning_rate)

    def run(self, steps: int) -> list[Step]:
        """See `Contestant.run`."""
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

        transformers_logging.set_verbosity_error()
        clock = Clock(self.rows_per_batch)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = SentenceTransformerTrainer(
                model=self.model,
                args=arguments_of(
                    SentenceTransformerTrainingArguments,
                    folder,
                    steps=steps + 1,
                    rows=self.rows_per_batch,
                    learning_rate=self.learning_rate,
                    bf16=self.bf16,
                ),
                train_dataset=self.rows,
                loss=self.loss,
                callbacks=[clock],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return clock.steps


class FunnelLoss(nn.Module):
    """ESMM's towers and loss over [u, v, u * v, |u - v|, cos], as the library calls a loss."""

    def __init__(self, model: nn.Module, towers: list[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.click, self.purchase = towers

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of a batch."""
        u, v = (self.model(features)["sentence_embedding"].float() for features in sentence_features)
        cosine = F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)
        vectors = torch.cat([u, v, u * v, (u - v).abs(), cosine], dim=-1)
        return esmm_loss(self.click(vectors).squeeze(1), self.purchase(vectors).squeeze(1), labels)
