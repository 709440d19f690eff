"""Losses and gradients must be finite before they move anything; where they are not, which task and rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from funneltune.errors import FailedRunError
from funneltune.schema import Batch, HeadOutput, LossTerms

SHOWN = 5


class FiniteGuard:
    """Looks at the loss terms of an optimizer step and at its gradient's norm, in one synchronisation with the device.

    Args:
        limit: How many steps may be left out, and counted, before the run stops; 0: it stops at the first.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.taken_out = 0
        """Steps left out so far."""
        self.took_out_last = False
        """Whether the last step was left out."""
        self._step: list[tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]] = []

    def watch(self, batch: Batch, output: HeadOutput, terms: LossTerms) -> None:
        """Keep what a message would need of one batch of the step: rows, logits, terms."""
        logits = {name: logit.detach() for name, logit in output.logits.items()}
        self._step.append((batch.row, logits, {name: term.detach() for name, term in terms.terms.items()}))

    def forget(self) -> None:
        """Look away from a step that a GradScaler judges."""
        self._step, self.took_out_last = [], False

    def passes(self, norm: Tensor, step: int, agreed: Callable[..., bool]) -> bool:
        """Whether a step may move the weights. `agreed` is the ranks' common decision.

        Raises:
            FailedRunError: if it may not, and no more steps may be left out.
        """
        seen, self._step = self._step, []
        values = [norm.detach().reshape(()), *(term.reshape(()).to(norm) for _, _, t in seen for term in t.values())]
        finite = agreed(bool(torch.isfinite(torch.stack(values)).all()), all=True)
        self.took_out_last = not finite
        if finite:
            return True
        if self.taken_out >= self.limit:
            after = f" ({self.taken_out} steps were left out before)" if self.taken_out else ""
            raise FailedRunError(
                f"step {step} is not finite: {_blame(norm, seen)}{after}. Nothing was updated or saved; lower "
                "optimizer.lr or tuning.learning_rate, use trainer.precision=32-true, or let so many steps be left out "
                f"with skip_nonfinite={max(1, 2 * self.limit)}."
            )
        self.taken_out += 1
        return False

    def require_predictions(self, split: str, predicted: Mapping[str, NDArray[np.float64]]) -> None:
        """Refuse to measure what a diverged model predicts.

        Raises:
            FailedRunError: naming split, columns and how many rows.
        """
        wrong = {name: ~np.isfinite(values) for name, values in predicted.items()}
        rows = np.logical_or.reduce(list(wrong.values()))
        if rows.any():
            after = f" ({self.taken_out} steps were left out of its training)" if self.taken_out else ""
            raise FailedRunError(
                f"{split} split: {', '.join(name for name, which in wrong.items() if which.any())} not finite in "
                f"{int(rows.sum()):,} of {rows.size:,} rows: the model's weights predict such values, it has "
                f"diverged{after}; lower optimizer.lr or tuning.learning_rate, or trainer.gradient_clip_val."
            )


def _blame(norm: Tensor, seen: list[tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]]) -> str:
    """`the loss of purchase is nan (rows 3, 7 of the log)`; where every loss is finite, the logits that are not (of
    rows that a loss masks); else the gradient.
    """
    found: dict[str, str] = {}
    for rows, logits, terms in seen:
        wrong = {name: ~torch.isfinite(logit.reshape(len(rows), -1)).all(dim=1) for name, logit in logits.items()}
        for task, term in terms.items():
            if torch.isfinite(term).all():
                continue
            # A joint loss sums over several tasks: rows of its own logit, else of any.
            own = wrong.get(task)
            of_any = torch.stack(list(wrong.values())).any(dim=0)
            which = own if own is not None and own.any() else of_any
            found.setdefault(task, f"the loss of {task} is {float(term)} ({_rows(rows, which)})")
    for rows, logits, _ in () if found else seen:
        for task, logit in logits.items():
            which = ~torch.isfinite(logit.reshape(len(rows), -1)).all(dim=1)
            if which.any():
                found.setdefault(task, f"the logit of {task} is not finite ({_rows(rows, which)})")
    return "; ".join(found.values()) or f"the gradient's norm is {float(norm)}, though every task's loss is finite"


def _rows(rows: Tensor, which: Tensor) -> str:
    wrong = sorted(rows[which].tolist())
    if not wrong:
        return f"some of rows {int(rows.min())} to {int(rows.max())} of the log"
    return f"rows {', '.join(map(str, wrong[:SHOWN]))}{', ...' if len(wrong) > SHOWN else ''} of the log"
