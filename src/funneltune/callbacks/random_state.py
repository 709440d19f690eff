"""The state of every random generator, per rank: Lightning's checkpoints hold none."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

KEY = "random"
PYTHON = 625
NUMPY = 624


class RandomState(L.Callback):
    """Saves and restores the generators of Python, NumPy, torch and the rank's GPU, so that dropout goes on as it
    would have.

    Stored as one row of whole numbers per rank: a checkpoint holds tensors and plain values alone. Restored when
    training starts: Lightning calls `on_train_epoch_start` at no restart within an epoch.
    """

    def __init__(self) -> None:
        self._loaded: Tensor | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Gather the ranks' states; all ranks call it."""
        gathered = trainer.strategy.all_gather(packed(pl_module.device).to(pl_module.device))
        checkpoint[KEY] = gathered.reshape(trainer.world_size, -1).cpu()

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep them for the start of training."""
        self._loaded = checkpoint.get(KEY)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Set this rank's generators."""
        if self._loaded is not None:
            unpack(self._loaded[trainer.global_rank % len(self._loaded)], pl_module.device)
            self._loaded = None


def packed(device: torch.device) -> Tensor:
    """All generators as one vector of int64: torch's length and bytes, Python's, NumPy's, the GPU's bytes."""
    cpu = torch.get_rng_state().long()
    _, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (whatever draws from it must go on, too)
    parts = [
        torch.tensor([len(cpu)]),
        cpu,
        torch.tensor(words),
        _number(gauss),
        torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
        torch.tensor([numpy["state"]["pos"], numpy["has_gauss"]]),
        _number(numpy["gauss"]),
    ]
    if device.type == "cuda":
        parts.append(torch.cuda.get_rng_state(device).long())
    return torch.cat(parts)


def unpack(state: Tensor, device: torch.device) -> None:
    """Set all generators to what `packed` saw."""
    sizes = [1, int(state[0]), PYTHON, 2, NUMPY, 2, 2]
    _, cpu, words, gauss, key, place, numpy_gauss, gpu = torch.split(state, [*sizes, len(state) - sum(sizes)])
    torch.set_rng_state(cpu.to(torch.uint8))
    random.setstate((3, tuple(words.tolist()), _float(gauss)))
    numpy = {
        "bit_generator": "MT19937",
        "state": {"key": key.numpy().astype(np.uint32), "pos": int(place[0])},
        "has_gauss": int(place[1]),
        "gauss": _float(numpy_gauss) or 0.0,
    }
    np.random.set_state(numpy)  # noqa: NPY002
    if len(gpu) and device.type == "cuda":
        torch.cuda.set_rng_state(gpu.to(torch.uint8), device)


def _number(value: float | None) -> Tensor:
    """Whether there is a number, and its bits."""
    bits = torch.tensor([value or 0.0], dtype=torch.float64).view(torch.int64)
    return torch.cat([torch.tensor([int(value is not None)]), bits])


def _float(pair: Tensor) -> float | None:
    return float(pair[1:].clone().view(torch.float64)) if pair[0] else None
