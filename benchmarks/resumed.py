"""Runs that go on from a checkpoint, beside runs that were not cut off: `python -m benchmarks.resumed`.

With `CUBLAS_WORKSPACE_CONFIG=:4096:8` in the environment, cuBLAS can be deterministic.
"""

from __future__ import annotations

import argparse
import json
import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.gpu import Cell, arguments, overrides, release

RESUMED = (("adalora", "bf16-mixed", False), ("adalora", "bf16-mixed", True), ("full", "32-true", True))
"""Method, precision, and whether torch may use deterministic operations alone."""


def resume(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Train twice, then once more from the middle's checkpoint: the largest difference of any trained weight."""
    found = []
    with TemporaryDirectory(prefix="funneltune-gpu-") as folder:
        for number, (tuning, precision, deterministic) in enumerate(RESUMED):
            place = Path(folder) / str(number)
            case: dict[str, Any] = {"tuning": tuning, "precision": precision, "deterministic": deterministic}
            try:
                case |= _resumed(Cell("minilm", tuning, precision), deterministic, chosen, place)
            except Exception as error:  # an operation without a deterministic form says so
                traceback.print_exc()
                case["error"] = f"{type(error).__name__}: {error}"[:400]
            found.append(case)
    return found


def _resumed(cell: Cell, deterministic: bool, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from funneltune.callbacks import read_checkpoint
    from funneltune.cli.compose import compose_config

    half = 4 if chosen.quick else 12
    more = [
        *("trainer.enable_checkpointing=true", f"trainer.max_steps={2 * half}", "trainer.limit_val_batches=0"),
        *("callbacks.checkpoint.every_minutes=null", f"callbacks.checkpoint.every_n_steps={half}"),
        *("callbacks.checkpoint.keep=9", "backbone.dropout=0.1", f"trainer.deterministic={str(deterministic).lower()}"),
    ]
    cfg = compose_config([*overrides(cell, chosen, folder.parent / "cache"), *more])
    whole, again = (_fit(cfg, folder / name) for name in ("whole", "again"))
    middle = folder / "whole" / "checkpoints" / f"step-{half}.ckpt"
    resumed = _fit(cfg, folder / "resumed", middle)
    return {
        "steps": 2 * half,
        "from": half,
        "max_abs_resumed": _apart(whole, resumed),
        "max_abs_repeated": _apart(whole, again),
        "max_abs_moved": _apart(whole, read_checkpoint(middle)["state_dict"]),
    }


def _fit(cfg: Any, folder: Path, checkpoint: Path | None = None) -> dict[str, torch.Tensor]:
    """Trained weights at the end."""
    import lightning as L

    from funneltune.callbacks import StopRequest
    from funneltune.runs.assemble import assemble, make_trainer
    from funneltune.runs.train import wanted_callbacks

    release()
    L.seed_everything(int(cfg.seed), workers=True, verbose=False)
    made = assemble(cfg)
    made.data.prepare_data()
    made.data.setup("fit")
    torch.manual_seed(int(cfg.seed) if checkpoint is None else 12345)  # a new process begins in any state
    trainer = make_trainer(cfg, folder, wanted_callbacks(cfg, StopRequest()), [])
    trainer.fit(made.module, datamodule=made.data, ckpt_path=checkpoint, weights_only=True)
    return {name: p.detach().cpu() for name, p in made.module.named_parameters() if p.requires_grad}


def _apart(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """The largest difference of weights of one name and shape."""
    both = [name for name in one if name in other and one[name].shape == other[name].shape]
    return max(
        (float((one[name] - other[name].cpu()).abs().max()) for name in both if len(one[name])), default=math.nan
    )


if __name__ == "__main__":
    from benchmarks.ours import quiet

    quiet()
    print(json.dumps(resume(arguments(__doc__).parse_args())))
