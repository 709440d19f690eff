"""Whom the tuned weights serve: all tasks, each task its own set, or each task a mixture of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from funneltune.backbones import WeightSets
from funneltune.errors import TuningError
from funneltune.schema import SHARED

SHARINGS = ("shared", "per_task", "mixture")
SPREAD = 0.02
"""Standard deviation, BERT's own at its start, of what is added to a mixture's further sets where a method draws
nothing: sets that start alike have the same gradients and stay alike."""


def check_sharing(name: str, sharing: str, adapters: int | None, only_shared: str) -> None:
    """Refuse what a tuning method cannot share, or not share.

    Raises:
        TuningError: if the word is unknown or not for this method, or the number of sets is out of range.
    """
    if sharing not in SHARINGS:
        raise TuningError(f"tuning.sharing={sharing!r} must be one of {', '.join(SHARINGS)}.")
    if sharing != "shared" and only_shared:
        raise TuningError(f"tuning.sharing={sharing} does not go with tuning={name}: {only_shared}; set it to shared.")
    if adapters is None:
        return
    if sharing != "mixture":
        raise TuningError(
            f"tuning.adapters={adapters} is the number of sets that a mixture mixes, and tuning.sharing={sharing}; set "
            "tuning.sharing=mixture, or tuning.adapters=null."
        )
    if isinstance(adapters, bool) or not isinstance(adapters, int) or adapters < 2:
        raise TuningError(
            f"tuning.adapters={adapters!r} must be a whole number >= 2; one set for all tasks is tuning.sharing=shared."
        )


def per_task(backbone: nn.Module, views: Sequence[str]) -> WeightSets:
    """A set for each view; all start as the one that was drawn, so that the start is the shared run's."""
    return WeightSets(backbone, views)


def mixture(backbone: nn.Module, views: Sequence[str], adapters: int | None, redraw: Callable[[], bool]) -> WeightSets:
    """`adapters` sets (None: as many as tasks), drawn one by one, and a gate for each view.

    `redraw` draws the backbone's trained parameters anew where a method draws any, and says whether it did.

    Raises:
        TuningError: if there is one task, and nothing says how many sets there are.
    """
    number = adapters or sum(view != SHARED for view in views)
    if number < 2:
        raise TuningError(
            "tuning.sharing=mixture mixes as many sets as there are tasks, and there is one; say how many: "
            "tuning.adapters=2."
        )

    def draw() -> None:
        if redraw():
            return
        with torch.no_grad():
            for parameter in backbone.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter), alpha=SPREAD)

    return WeightSets(backbone, [str(label) for label in range(number)], draw, mixed_for=views)
