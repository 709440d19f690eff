"""What is said where a batch does not fit into memory: which, how much there was, and what asks for less."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from omegaconf import DictConfig

from funneltune.backbones.encoder import LARGE_BUDGET, TOKEN_BUDGETS
from funneltune.callbacks.efficiency import resident_bytes
from funneltune.errors import NoMemoryError

ASKED = re.compile(r"tried to allocate ([\d.]+) ?(\w+)", re.IGNORECASE)


def no_memory(
    error: BaseException,
    cfg: DictConfig | None = None,
    *,
    doing: str = "",
    batch: str | None = None,
    frozen_below: bool = True,
) -> NoMemoryError:
    """The one line of an allocation that failed. Nothing is changed by itself: another batch is another experiment.

    Args:
        error: Whatever `errors.is_out_of_memory` knows.
        cfg: The run's config, whose settings could ask for less.
        doing: `training, step 7`, `test`, ...
        batch: What was at hand, in words; None: what the error's notes say of it.
        frozen_below: Whether the lowest layers are frozen: only what needs no gradient is read part by part.
    """
    at_hand = batch or "; ".join(dict.fromkeys(getattr(error, "__notes__", ()))) or None
    asked = ASKED.search(str(error))
    told = []
    if asked:
        size = f"{int(asked[1]) / 1e6:,.1f} MB" if asked[2] == "bytes" else f"{asked[1]} {asked[2]}"
        told.append(f"{size} more were asked for")
    told.append(_peak())
    where = f" in {doing}" if doing else ""
    training = doing.startswith("training") and batch is not None
    return NoMemoryError(
        f"out of memory{where}{f' with {at_hand}' if at_hand else ''} ({', '.join(told)}). Nothing was changed; "
        f"{'; '.join(_ways(cfg, training, rows=batch is not None, parts=frozen_below or not training))}."
    )


def _peak() -> str:
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        device = torch.cuda.current_device()
        whole = torch.cuda.get_device_properties(device).total_memory
        return f"the peak was {_gigabytes(torch.cuda.max_memory_allocated(device))} of the device's {_gigabytes(whole)}"
    return f"the process's peak was {_gigabytes(resident_bytes('VmHWM'))}"


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.2f} GB"


def _ways(cfg: DictConfig | None, training: bool, *, rows: bool, parts: bool) -> Iterator[str]:
    """Settings that ask for less and give the same: the same optimizer steps, the same predictions.

    Args:
        cfg: The run's config.
        training: Whether gradients were computed.
        rows: Whether a batch of rows was at hand, and not the log's texts alone.
        parts: Whether texts are read in parts that are let go of one by one.
    """
    if cfg is None:
        yield "a smaller backbone.token_budget reads fewer texts at once"
        return
    data: Any = cfg.data
    sizes = {name: data.get(name) for name in ("rows_per_batch", "tokens_per_batch")}
    halved = [f"data.{name}={size // 2}" for name, size in sizes.items() if size is not None and size > 1]
    if training and halved:
        more = 2 * int(cfg.trainer.get("accumulate_grad_batches", 1))
        yield f"{' '.join(halved)} trainer.accumulate_grad_batches={more} takes steps of the same size in smaller parts"
    if rows and not training:
        yield f"data.eval_rows_per_batch={max(1, int(data.get('eval_rows_per_batch') or 1024) // 2)} measures the same"
    if parts and "token_budget" in cfg.backbone:
        device = "cuda" if torch.cuda.is_available() and cfg.trainer.get("accelerator") != "cpu" else "cpu"
        budget = cfg.backbone.token_budget or TOKEN_BUDGETS.get(device, LARGE_BUDGET)
        yield f"backbone.token_budget={max(1, budget // 2)} reads fewer texts at once"
