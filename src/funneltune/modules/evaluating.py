"""The evaluating half of the LightningModule: every row of a split predicted once, then one exact number from all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
from numpy.typing import NDArray

from funneltune.backbones import Encoder, NoEncoder
from funneltune.data import LogDataModule
from funneltune.funnel import TaskFunnel
from funneltune.metrics import evaluate
from funneltune.modules.caching import Kept, open_cache, pays
from funneltune.modules.finite import FiniteGuard
from funneltune.modules.meter import PredictionMeter
from funneltune.modules.scales import LabelScales
from funneltune.modules.sharding import gather, release
from funneltune.schema import Batch, predictions

logger = logging.getLogger("funneltune")


class EvaluatingModule(L.LightningModule):
    """Validates, tests and predicts with whatever `forward` a subclass has."""

    encoder: Encoder | NoEncoder
    finite: FiniteGuard

    def __init__(self, funnel: TaskFunnel, evaluation: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.funnel = funnel
        self.evaluation = dict(evaluation or {})
        self.meter = PredictionMeter(funnel)
        self.scales = LabelScales(funnel)
        self.predicted: dict[str, dict[str, NDArray[Any]]] = {}
        """Per split: the columns of the last evaluation, predictions included."""
        self.measured: dict[str, dict[str, dict[str, Any]]] = {}
        """Per split: the metrics of the last evaluation, each with its protocol."""
        self.validated_at = -1
        """The optimizer step of the last validation."""
        self.kept: Kept | None = None
        """What the last fit had on disk of the states below its lowest trained layer."""

    def _open_cache(self, wanted: tuple[str, ...]) -> Kept | None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.encoder.caching.policy not in wanted or not isinstance(data, LogDataModule):
            return None
        if not isinstance(self.encoder, Encoder) or not pays(self.encoder, data, self.trainer):
            if self.encoder.caching.policy == "always" and "auto" in wanted:
                logger.warning("backbone.cache=always keeps nothing: no layer lies below the lowest that is trained.")
            return None
        return open_cache(self.encoder, data, self.trainer)

    def teardown(self, stage: str) -> None:
        """Another log would number its texts otherwise."""
        self.encoder.cache = None

    def _begin_evaluation(self) -> None:
        gather(self)  # ranks evaluate unequal numbers of batches
        self.encoder.reuse(True)
        if self.encoder.cache is None:
            self._open_cache(wanted=("always",))
        self.meter.begin()

    def _measure(self, batch: Batch) -> None:
        self.meter.update(batch.row, self.scales.restore(predictions(self(batch), self.funnel)))

    def _conclude(self, split: str) -> dict[str, dict[str, Any]]:
        """Gather the split's predictions, keep them, compute the protocol's metrics and log their values."""
        release(self)
        self.encoder.reuse(False)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, LogDataModule)
        split_rows = np.sort(data.rows(split))
        rows, predicted = self.meter.columns(split_rows, partial=self._limited(split))
        kept = np.searchsorted(split_rows, rows)
        columns: dict[str, NDArray[Any]] = {name: values[kept] for name, values in data.columns(split).items()}
        columns |= predicted
        self.predicted[split] = columns
        if split == "predict":
            return {}
        self.finite.require_predictions(split, predicted)
        asked = "slices" in self.evaluation
        slices: dict[str, Any] = {} if asked or split != "test" else {"slices": data.cuts.telling(columns)}
        measured = evaluate(columns, self.funnel, **self.evaluation, **slices)
        self.log_dict(
            {
                f"{split}/{key}": float("nan") if entry["value"] is None else float(entry["value"])
                for key, entry in measured.items()
                if asked or "[" not in key  # hundreds of slices that nobody asked for are for the record alone
            },
            rank_zero_only=False,
        )
        return measured

    def _limited(self, split: str) -> bool:
        limits = {
            "validation": self.trainer.limit_val_batches,
            "test": self.trainer.limit_test_batches,
            "predict": self.trainer.limit_predict_batches,
        }
        return limits[split] != 1.0

    def on_validation_epoch_start(self) -> None:
        """Start afresh."""
        self._begin_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics over the whole split."""
        self.measured["validation"] = self._conclude("validation")
        self.validated_at = self.global_step

    def on_test_epoch_start(self) -> None:
        """Start afresh."""
        self._begin_evaluation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        self._measure(batch)

    def on_test_epoch_end(self) -> None:
        """Metrics over the whole split."""
        self.measured["test"] = self._conclude("test")

    def on_predict_epoch_start(self) -> None:
        """Start afresh."""
        self._begin_evaluation()

    def predict_step(self, batch: Batch, batch_idx: int) -> bool:
        """Collect predictions. (Lightning takes None for an oversight and warns.)"""
        self._measure(batch)
        return True

    def on_predict_epoch_end(self) -> None:
        """Keep the columns; there is nothing to measure."""
        self._conclude("predict")
