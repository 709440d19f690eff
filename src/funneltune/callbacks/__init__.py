"""What watches a run: cost, history, rank map, checkpoints, progress, trackers."""

from funneltune.callbacks.efficiency import Efficiency
from funneltune.callbacks.history import History
from funneltune.callbacks.progress import Progress
from funneltune.callbacks.rank_map import RankMap
from funneltune.callbacks.selection import BestCheckpoint, StopEarly
from funneltune.callbacks.tracking import csv_logger, log_record, tensorboard_logger, tracking, wandb_logger

__all__ = [
    "BestCheckpoint",
    "Efficiency",
    "History",
    "Progress",
    "RankMap",
    "StopEarly",
    "csv_logger",
    "log_record",
    "tensorboard_logger",
    "tracking",
    "wandb_logger",
]
