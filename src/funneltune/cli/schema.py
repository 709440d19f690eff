"""The top level of a run's config: its keys and their types. A key that is not here is refused when composing.

Values and their comments live in configs/train.yaml; the groups' own keys in their files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class StudyConfig:
    """The grid of a study: every combination of the axes, times the seeds."""

    axes: dict[str, Any] = field(default_factory=dict)
    """Override key -> its values: `tuning: [frozen, adalora]`, `head.dropout: [0.0, 0.1]`; or a name of your own ->
    label -> overrides: `input: {text: [features=none], ids: [backbone=none, tuning=frozen]}`.
    """
    seeds: list[int] = field(default_factory=lambda: [0])
    baseline: str | None = None
    """The cell that the others are compared with, by its name (`tuning=frozen`), or one of `baselines`; null: none."""
    metric: str = "ctcvr/auc"
    """The metric that says which cell leads."""
    metrics: list[str] = field(default_factory=list)
    """The metrics that are compared, beside `metric`."""


@dataclass
class TrainConfig:
    """One run."""

    name: str = MISSING
    seed: int = MISSING
    run_dir: str | None = None
    resume: str | None = None
    resume_changes: list[str] = field(default_factory=list)
    skip_nonfinite: int = 0
    test: bool = True
    select: str = MISSING
    monitor: str = MISSING
    baselines: list[str] = MISSING
    data: Any = MISSING
    backbone: Any = MISSING
    features: Any = MISSING
    tuning: Any = MISSING
    head: Any = MISSING
    objective: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    metrics: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING
    study: StudyConfig | None = None


TOP_LEVEL = tuple(f.name for f in fields(TrainConfig))


def register() -> None:
    """Let configs/train.yaml name `train_schema` in its defaults."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig, provider="funneltune")
