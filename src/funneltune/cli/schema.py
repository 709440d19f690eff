"""The top level of a run's config: its keys and their types. A key that is not here is refused when composing.

Values and their comments live in configs/train.yaml; the groups' own keys in their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class StudyConfig:
    """The runs of a study, every combination of the axes, times the seeds and folds, and how they are compared."""

    design: str = "grid"
    """`grid`, or `leave_one_out`: everything, and everything but each of the `parts`."""
    axes: dict[str, Any] = field(default_factory=dict)
    """Override key -> its values: `tuning: [frozen, adalora]`, `head.dropout: [0.0, 0.1]`; or a name of your own ->
    label -> overrides: `input: {text: [features=none], ids: [backbone=none, tuning=frozen]}`.
    """
    parts: dict[str, Any] = field(default_factory=dict)
    """Part -> the overrides that leave it out: `history: [features.history=0]`; cells are called `without=history`."""
    seeds: list[int] = field(default_factory=lambda: [0])
    folds: int | None = None
    """Parts of a cross-validation over requests, users or queries (`data.split.by`): each tests once, at every seed."""
    baseline: str | None = None
    """The cell that the others are compared with, by its name (`tuning=frozen`), or one of `baselines`; null: none."""
    pairs: Any = None
    """Who is held against whom: `baseline` (every cell against it), `all`, the name of an axis (only cells that differ
    in nothing else, each against the baseline's value), or [[cell, other], ...].
    """
    metric: str = "ctcvr/auc"
    """The metric that says which cell leads."""
    metrics: list[str] = field(default_factory=list)
    """The metrics that are compared, beside `metric`."""
    match: str | None = None
    """`trainable_parameters`: choose ranks and bottlenecks so that all methods that have one train as many weights."""
    budget: Any = None
    """How many, or the cell whose own number it is; null: the first such cell's."""
    tune: Any = None
    """Learning-rate trials: {rates: [0.3, 1, 3] (multiples of each cell's own), overrides: [data.train_share=0.25],
    metric: validation/..., seeds: 3 (of the study's, for each rate)}.
    """
    retries: int = 1
    """How often a run that failed by no fault of its config is begun again."""


@dataclass
class SearchConfig:
    """A search: what is varied, what is looked for, and how it proceeds."""

    space: dict[str, Any] = field(default_factory=dict)
    """Override key -> `{low: 1e-4, high: 1e-2, log: true}` or a list of choices (`tuning: [lora, adalora]`); or a name
    of your own -> label -> overrides: `rank: {small: [tuning.rank=4], large: [tuning.rank=16]}`.
    """
    metrics: list[str] = field(default_factory=list)
    """`validation/...` of a run's record, `cost/...`, `parameters/...`; several: a front is looked for."""
    trials: int = 20
    """In all: a second call goes on to as many."""
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    """Of the points that are tried; each trial trains with the run's own seed."""
    overrides: list[str] = field(default_factory=list)
    """Of every trial, and not of the command that trains the best setting: `data.train_share=0.25`."""
    retries: int = 2
    """How often a trial is tried again whose process was killed, or that failed for no fault of its setting."""


@dataclass
class CalibrationConfig:
    """Scalings of a run's probabilities, fitted on its validation rows."""

    methods: list[str] = MISSING
    use: str = MISSING


@dataclass
class TrainConfig:
    """One run."""

    name: str = MISSING
    seed: int = MISSING
    run_dir: str | None = None
    start: Any = None
    """Folders of finished runs; null: the backbone as it was pretrained."""
    resume: str | None = None
    resume_changes: list[str] = field(default_factory=list)
    gradients_every: int = 0
    skip_nonfinite: int = 0
    test: Any = True
    """`true` or `false`; a `bool` would take any number."""
    select: str = MISSING
    monitor: str = MISSING
    baselines: list[str] = MISSING
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    data: Any = MISSING
    backbone: Any = MISSING
    vision: Any = MISSING
    features: Any = MISSING
    tuning: Any = MISSING
    head: Any = MISSING
    objective: Any = MISSING
    balancing: Any = MISSING
    adversary: Any = MISSING
    privacy: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    metrics: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING
    pretraining: Any = None
    """Of `funneltune pretrain` alone."""
    study: StudyConfig | None = None
    search: SearchConfig | None = None


TOP_LEVEL = tuple(f.name for f in fields(TrainConfig))
NODES: Mapping[str, Any] = {"calibration": CalibrationConfig, "study": StudyConfig, "search": SearchConfig}
KEYS: Mapping[str, tuple[str, ...]] = {
    "": TOP_LEVEL,
    **{name: tuple(f.name for f in fields(node)) for name, node in NODES.items()},
}
"""Node -> its keys, of the top level and of the nodes whose keys stand here."""


def register() -> None:
    """Let configs/train.yaml name `train_schema` in its defaults."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig, provider="funneltune")
