"""When AdaLoRA shrinks its budget."""

from __future__ import annotations

from dataclasses import dataclass

from funneltune.errors import TuningError


@dataclass(frozen=True)
class RankSchedule:
    """AdaLoRA's budget over `total_steps` (Zhang et al. 2023, eq. 12): full, falling in a cubic, final.

    Steps `<= warmup_steps` keep every rank; the last `final_steps` train with the final ranks; between them the budget
    falls every `interval` steps.

    Raises:
        TuningError: if the three do not fit together.
    """

    total_steps: int
    warmup_steps: int
    final_steps: int
    interval: int

    def __post_init__(self) -> None:
        """The final phase needs a step (the last mask is forced at its start), the budget phase one of its own."""
        if self.warmup_steps < 0:
            raise TuningError(f"tuning.warmup_steps={self.warmup_steps} must be >= 0.")
        if self.final_steps < 1:
            raise TuningError(
                f"tuning.final_steps={self.final_steps} must be >= 1: the last allocation happens where the final "
                "phase starts, and without one the target is never reached; raise it."
            )
        if self.warmup_steps + self.final_steps >= self.total_steps:
            raise TuningError(
                f"tuning.final_steps={self.final_steps} leaves no budget phase: warmup_steps ({self.warmup_steps}) + "
                f"final_steps must be < total_steps={self.total_steps}; lower either, or train longer."
            )
        if not 1 <= self.interval <= self.total_steps - self.warmup_steps - self.final_steps:
            raise TuningError(
                f"tuning.interval={self.interval} must be >= 1 and fit into the budget phase of "
                f"{self.total_steps - self.warmup_steps - self.final_steps} steps; lower it."
            )

    @property
    def last_allocation(self) -> int:
        """The step after which ranks no longer change."""
        return self.total_steps - self.final_steps
