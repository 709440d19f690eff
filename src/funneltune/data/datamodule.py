"""The LightningDataModule: a source to splits to batches, sharded over ranks, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from funneltune.data.collate import Collator, checked_texts, make_collator
from funneltune.data.facts import facts
from funneltune.data.features import FeatureColumns, training_numbers
from funneltune.data.late_labels import LateLabels
from funneltune.data.leaks import Guard, find_leaks, text_columns
from funneltune.data.loaders import EpochSampler, ResumableLoader, evaluation_loader
from funneltune.data.next_labels import cut_log
from funneltune.data.pictures import PictureEncoder, encode_pictures
from funneltune.data.requests import OBSERVED
from funneltune.data.row_sampling import RowSampling, weights_of
from funneltune.data.sampling import Plan, RequestPlan, Requests, evaluation_draws
from funneltune.data.slices import Slices
from funneltune.data.sources import Source
from funneltune.data.splits import Split
from funneltune.data.store import LogStore, tokenizer_fingerprint
from funneltune.data.token_count import TokenCount
from funneltune.data.training_rows import Told, TrainingRows
from funneltune.data.write import prepare
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.schema import Batch, Delayed, FeatureNeeds, Interaction


class LogDataModule(L.LightningDataModule):
    """A log as Lightning reads it.

    Args:
        source: Where the log comes from.
        tasks: The labels to predict.
        split: How it is cut.
        texts: Templates over the fields of queries and items: `{query: "{query}", item: "{title}"}`; None where the log
            has no texts.
        tokenizer: The backbone's.
        interaction: `twin`, `cross`, or `none` (no text is read).
        rows_per_batch: Rows of a training batch over all ranks, made of whole requests; None: see tokens_per_batch.
        tokens_per_batch: Tokens of a training batch's unique texts over all ranks; None: as many as its rows have.
        eval_rows_per_batch: Likewise for evaluation, per rank.
        max_tokens: Longest text with its special tokens.
        seed: Of the order of rows.
        workers: Loader processes; 0 collates in the training process.
        worker_timeout: Seconds in which a loader process must have made a batch; None: any.
        accumulate: Batches per optimizer step.
        unique: False encodes one text per row (the reference).
        cache_dir: Where log stores are kept.
        slices: Columns that evaluations are cut by, beside those of `data.slices.AUTOMATIC` that the log allows.
        train_share: Share of the training requests that is used (data-size studies); drawn by `seed`.
        features: What batches hold beside texts.
        max_unknown: Largest share of the log's tokens that the tokenizer may not know.
        leaks: What is done about leaks (see `Guard.parse`): `refuse`, `warn` or `ignore`, or {kind: word}.
        observed_until: When the labels of training rows were read: unix seconds, an ISO date, or `train`, the last
            training row's time (with a split by time). A label whose task's window had not passed may still come, and
            `delayed` says what becomes of it. None: all labels are final. Evaluations hold final labels.
        sampling: How training rows are drawn by their labels; see `RowSampling`.
        columns: Columns that training batches hold for the objective -> what asks for them.
        delayed: What becomes of labels that may still come (`ObjectiveNeeds.delayed`).
        vision: What makes vectors of the pictures that `features` names.
    """

    def __init__(
        self,
        *,
        source: Source,
        tasks: TaskFunnel,
        split: Split,
        texts: Mapping[str, str] | None,
        tokenizer: Any,
        interaction: Interaction,
        rows_per_batch: int | None = 128,
        tokens_per_batch: int | None = None,
        eval_rows_per_batch: int = 1024,
        max_tokens: int = 64,
        seed: int = 0,
        workers: int = 0,
        worker_timeout: float | None = 300.0,
        accumulate: int = 1,
        unique: bool = True,
        cache_dir: str | Path = "cache",
        slices: Sequence[str] = (),
        train_share: float = 1.0,
        features: FeatureNeeds | None = None,
        max_unknown: float = 0.2,
        leaks: str | Mapping[str, str] | None = None,
        observed_until: str | float | None = None,
        sampling: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        delayed: Delayed = "drop",
        vision: PictureEncoder | None = None,
    ) -> None:
        super().__init__()
        self.guard, self._guarded = Guard.parse(leaks), False
        self.leaks_found: list[dict[str, str]] = []
        """What the guard found before training, as plain values: kind, message, action."""
        if not 0 < train_share <= 1:
            raise ConfigError(f"data.train_share={train_share} must lie in (0, 1].")
        self.source, self.funnel, self.split = source, tasks, split
        self.texts = checked_texts(texts, interaction)
        self.tokenizer, self.interaction = tokenizer, interaction
        self.rows_per_batch, self.tokens_per_batch = rows_per_batch, tokens_per_batch
        self.eval_rows_per_batch, self.max_tokens = eval_rows_per_batch, max_tokens
        self.seed, self.accumulate, self.unique = seed, accumulate, unique
        self.workers, self.worker_timeout = workers, worker_timeout
        self.cache_dir, self.slices, self.train_share = Path(cache_dir), tuple(slices), train_share
        self.features, self.max_unknown = features or FeatureNeeds(), max_unknown
        self.pictures = vision, self.features.images
        self.sampling = RowSampling.parse(sampling, tasks, final=observed_until is None)
        self.observed_until, self.objective_columns, self.delayed = observed_until, dict(columns or {}), delayed
        self._loader: ResumableLoader | None = None
        self._position: dict[str, int] = {"epoch": 0, "handed_out": 0}
        self._store: LogStore | None = None
        self._requests: dict[str, Requests] = {}
        self._plan: RequestPlan | None = None

    # --- the log -----------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Build the store if it is not there; Lightning calls this once per machine."""
        encode_pictures(prepare(self.source, self.funnel, self.cache_dir), self.source, *self.pictures)

    def setup(self, stage: str | None = None) -> None:
        """Open the store and cut it, once; before a fit, look for leaks, once.

        Raises:
            DataError: with every leak that `leaks` refuses.
        """
        self._open()
        if stage == "fit" and not self._guarded:
            texts = self.texts if self.interaction != "none" else {}
            read = (texts, self._collator.features, self.funnel, self.split, text_columns(self.source))
            self.leaks_found = self.guard.act(find_leaks(self.store, self._requests, *read, self.guard.words))
            self.store.release()
            self._guarded = True
        if stage == "fit":
            _ = self._training

    def _open(self) -> None:
        if self._store is not None:
            return
        self._store = encode_pictures(prepare(self.source, self.funnel, self.cache_dir), self.source, *self.pictures)
        self._requests = cut_log(self._store, self.funnel, self.split, self.train_share, self.seed)
        self.cuts = Slices(self._store, self.slices, self.texts.get("query"), self._requests.get("train"))
        self._collator = make_collator(
            self._store,
            self.texts,
            self.tokenizer,
            self.interaction,
            max_tokens=self.max_tokens,
            unique=self.unique,
            max_unknown=self.max_unknown,
            features=FeatureColumns(self._store, self.features, self.remembered) if self.features else None,
        )
        self._lengths = self._store.request_lengths
        self._observed = {name: self._store.of_requests(f"{OBSERVED}{name}") for name in self.funnel.names}

    @property
    def remembered(self) -> NDArray[np.bool_]:
        """Rows that may appear in histories: all where time cuts the log, else those of the training split alone."""
        store = self.store
        known = np.ones(store.n_rows, dtype=bool)
        if self._requests and self.split.by != "time":
            known[:] = False
            known[store.rows_of(np.sort(self._requests["train"]))] = True
        return known

    @cached_property
    def _training(self) -> Collator | TrainingRows:
        """Training draws to batches; the evaluations' collator where training asks for nothing more."""
        late = LateLabels.read(self.store, self.observed_until, self.split, self.requests("train"))
        if not (self.objective_columns or self.sampling or self.observed_until is not None or self.delayed == "model"):
            return self._collator
        how = (self.sampling, weights_of(self.sampling, self.store, self.requests("train")))
        return TrainingRows(self._collator, self.seed, self.objective_columns, late, self.delayed, *how)

    @cached_property
    def _counts(self) -> dict[str, Any]:
        """What each request adds to the denominators of its optimizer step, as `RequestPlan` takes it."""
        if isinstance(self._training, TrainingRows) and (self.sampling or self.observed_until is not None):
            found = self._training.counts(self.requests("train"))
            return {"counted": found.rows, "observed": found.observed, "known": found.known}
        return {"observed": self._observed}

    @cached_property
    def catalogue_key(self) -> str:
        """What decides the log's texts as the backbone reads them, and their numbers."""
        told = [self.store.fingerprint, self.texts, self.max_tokens, self.interaction]
        return hashlib.sha256(json.dumps([*told, tokenizer_fingerprint(self.tokenizer)]).encode()).hexdigest()

    @property
    def store(self) -> LogStore:
        """The log, opened."""
        if self._store is None:
            self._open()
        assert self._store is not None
        return self._store

    def requests(self, split: str) -> Requests:
        """Request numbers of `train`, `validation`, `test` or `predict` (all)."""
        if split == "predict":
            return np.arange(self.store.n_requests)
        _ = self.store
        return self._requests[split]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, ascending."""
        return self.store.rows_of(np.sort(self.requests(split)))

    def n_rows(self, split: str) -> int:
        """How many rows a split has."""
        return int(self.store.request_lengths[self.requests(split)].sum())

    def training_labels(self, task: str) -> NDArray[Any]:
        """A task's labels on the training rows where it is observed."""
        labels, observed = self.told(self.rows("train"))
        return np.asarray(labels[task][observed[task]])

    def told(self, rows: NDArray[np.int64]) -> Told:
        """What training is told of rows: each task's labels, and where it is observed."""
        made = self._training
        return (made if isinstance(made, TrainingRows) else TrainingRows(made, self.seed)).told(rows)

    def training_numbers(self) -> Mapping[str, NDArray[np.float32]]:
        """Each number that is a feature, on the training rows."""
        return training_numbers(self.collator().features, self.rows("train"))

    def vector_widths(self) -> dict[str, int]:
        """Width of each fixed vector that is a feature."""
        return {name: int(self.store.vectors(name).shape[1]) for name in self.features.vectors}

    def columns(self, split: str) -> dict[str, NDArray[Any]]:
        """What is known of a split's rows: identifiers, labels, oracle, grades, slices. In the order of `rows`."""
        return facts(self.store, rows := self.rows(split)) | self.cuts.columns(rows)

    # --- batches -----------------------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """This process among the trainer's."""
        return int(self.trainer.global_rank) if self.trainer is not None else 0

    @property
    def world_size(self) -> int:
        """The trainer's processes."""
        return int(self.trainer.world_size) if self.trainer is not None else 1

    @property
    def _to_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def plan(self, epoch: int = 0) -> Plan:
        """The training batches of an epoch."""
        _ = self.store
        asked = (epoch, self.world_size)
        if self._plan is None or (self._plan.epoch, self._plan.world_size) != asked:
            self._plan = RequestPlan(
                requests=self.requests("train"),
                lengths=self._lengths,
                rows_per_batch=self.rows_per_batch,
                seed=self.seed,
                epoch=epoch,
                world_size=self.world_size,
                accumulate=self.accumulate,
                tokens_per_batch=self.tokens_per_batch,
                count=TokenCount(self._collator),
                **self._counts,
            )
        return self._plan

    def batches(self, rows: NDArray[np.int64], interaction: Interaction | None = None) -> Iterator[tuple[int, Batch]]:
        """Any rows, in their order, as evaluation batches: (place of the first row, batch)."""
        collator = self.collator(interaction)
        for start in range(0, len(rows), self.eval_rows_per_batch):
            yield start, collator.rows(rows[start : start + self.eval_rows_per_batch])

    def collator(self, interaction: Interaction | None = None) -> Collator:
        """Rows to batches, with the config's interaction or another one."""
        _ = self.store
        return self._collator if interaction is None else replace(self._collator, interaction=interaction)

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled by (seed, epoch); resumable."""
        self._loader = ResumableLoader(
            EpochSampler(self.plan, lambda: self.rank),
            self._training,
            self.store.rows_of,
            workers=self.workers,
            timeout=self.worker_timeout,
            pin_memory=self._to_gpu,
        )
        self._loader.load_state_dict(self._position)
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """Where the training rows stand. Lightning keeps the loader's state too, and loses it where the number of
        steps was asked for before a checkpoint is restored, as every scheduler does.
        """
        return dict(self._loader.state_dict() if self._loader is not None else self._position)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the batches of a saved state."""
        self._position = dict(state_dict)
        if self._loader is not None:
            self._loader.load_state_dict(self._position)

    def on_exception(self, exception: BaseException) -> None:
        """End the loader's workers, whatever they are at."""
        if self._loader is not None:
            self._loader.close()

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        share = (self.eval_rows_per_batch, self.rank, self.world_size)
        draws = evaluation_draws(self.requests(split), self._lengths, *share)
        return evaluation_loader(draws, self._collator, pin_memory=self._to_gpu)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, each row once over all ranks."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, likewise."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every row of the log, likewise."""
        return self._evaluation_loader("predict")
