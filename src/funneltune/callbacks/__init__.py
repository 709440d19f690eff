"""What watches a run: cost, history, rank map, checkpoints, progress, trackers."""

from funneltune.callbacks.checkpoint_files import (
    CheckpointFiles,
    checkpoints_in,
    newest_checkpoint,
    read_checkpoint,
)
from funneltune.callbacks.checkpoints import FOLDER as CHECKPOINTS
from funneltune.callbacks.checkpoints import Checkpoints
from funneltune.callbacks.efficiency import Efficiency
from funneltune.callbacks.history import History
from funneltune.callbacks.last_batch import LastBatch
from funneltune.callbacks.progress import Progress
from funneltune.callbacks.random_state import RandomState
from funneltune.callbacks.rank_map import RankMap
from funneltune.callbacks.selection import StopEarly
from funneltune.callbacks.stopping import StopRequest
from funneltune.callbacks.tracking import (
    csv_logger,
    log_record,
    tensorboard_logger,
    track_study,
    tracking,
    wandb_logger,
)

__all__ = [
    "CHECKPOINTS",
    "CheckpointFiles",
    "Checkpoints",
    "Efficiency",
    "History",
    "LastBatch",
    "Progress",
    "RandomState",
    "RankMap",
    "StopEarly",
    "StopRequest",
    "checkpoints_in",
    "csv_logger",
    "log_record",
    "newest_checkpoint",
    "read_checkpoint",
    "tensorboard_logger",
    "track_study",
    "tracking",
    "wandb_logger",
]
