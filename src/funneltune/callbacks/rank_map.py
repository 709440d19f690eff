"""Where AdaLoRA keeps its ranks: a map of layers and modules, now and over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger
from matplotlib.figure import Figure

from funneltune.files import whole_file
from funneltune.metrics.ranks import grid

NAME = "rank_map.png"


class RankMap(L.Callback):
    """Draws the live rank per layer and module, and its total over time, for methods that have ranks.

    The figure goes to W&B as an image (`tuning/rank_map`) at the start, `snapshots` times while training and at the
    end, and to the run folder (`rank_map.png`) at the end.

    Args:
        snapshots: Pictures while training, evenly spread.
    """

    def __init__(self, snapshots: int = 5) -> None:
        self.snapshots = snapshots
        self._over_time: list[tuple[int, dict[str, int]]] = []
        self._every = 1

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the maps so far."""
        return {"over_time": [[step, pattern] for step, pattern in self._over_time]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self._over_time = [(step, dict(pattern)) for step, pattern in state_dict["over_time"]]

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """The map before the first allocation."""
        self._every = max(1, int(trainer.estimated_stepping_batches) // max(1, self.snapshots))
        if not self._over_time:
            self._take(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A snapshot now and then."""
        step = trainer.global_step
        if step % self._every == 0 and self._is_new(step):
            self._take(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """The final map."""
        if self._is_new(trainer.global_step):
            self._take(trainer, pl_module)
        if self._over_time and trainer.is_global_zero:
            with whole_file(Path(trainer.default_root_dir) / NAME) as part:
                draw(self._over_time).savefig(part, dpi=120)

    def _is_new(self, step: int) -> bool:
        return bool(self._over_time) and self._over_time[-1][0] != step

    def _take(self, trainer: L.Trainer, pl_module: Any) -> None:
        pattern = pl_module.tuning.rank_pattern()
        if not pattern:
            return
        self._over_time.append((trainer.global_step, dict(pattern)))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.log_image("tuning/rank_map", [draw(self._over_time)], step=trainer.global_step)


def draw(over_time: list[tuple[int, dict[str, int]]]) -> Figure:
    """The newest map as a heat map with its numbers, beside the total rank over time."""
    step, pattern = over_time[-1]
    modules, layers, ranks = grid(pattern)
    figure = Figure(figsize=(9, 0.5 * len(modules) + 1.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    most = max(max(p.values()) for _, p in over_time)
    left.imshow(ranks, cmap="viridis", vmin=0, vmax=most, aspect="auto")
    for (row, column), rank in np.ndenumerate(ranks):
        if np.isfinite(rank):
            shade = "white" if rank < 0.6 * most else "black"
            left.text(column, row, f"{rank:.0f}", ha="center", va="center", color=shade, fontsize=9)
    left.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    left.set_yticks(range(len(modules)), modules)
    left.set_xlabel("layer")
    left.set_title(f"live rank at step {step}")
    right.step([s for s, _ in over_time], [sum(p.values()) for _, p in over_time], where="post", color="#31688e")
    right.set_ylim(bottom=0)
    right.set_xlabel("step")
    right.set_title("total rank")
    return figure
