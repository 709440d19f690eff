"""What a run makes only after its folder is begun, made once before: a value that Lightning or torch refuses is told
while nothing is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from funneltune.runs.assemble import make_trainer
from funneltune.runs.logs import train_log
from funneltune.runs.targets import build, made, told_of

STEPS = 10
"""Of the schedule that is tried; any number would do."""


STARTS = ".wandb_logger"
"""A tracker that begins its run as soon as it is made."""


def rehearse(cfg: DictConfig) -> None:
    """Make optimizer, schedule, callbacks, trackers and trainer of a config, and let go of them.

    Raises:
        ConfigError: naming the part that a value does not suit.
    """
    weights = nn.Parameter(torch.zeros(2, 2))
    optimizer = made(cfg.optimizer, params=[{"params": [weights], "name": "rehearsal"}])
    made(cfg.scheduler, optimizer=optimizer, total_steps=STEPS)
    nodes: dict[Any, Any] = cfg.get("callbacks") or {}
    for node in nodes.values():
        if node is not None:
            build(node)
    trackers: dict[Any, Any] = cfg.get("logger") or {}
    for node in trackers.values():
        if node is not None and not str(node.get("_target_")).endswith(STARTS):
            with told_of(node, "logger"):
                build(node, _partial_=True)(save_dir=".", config={})
    with train_log(None), told_of(cfg.trainer, "trainer"):
        make_trainer(cfg, Path(), [], [])
