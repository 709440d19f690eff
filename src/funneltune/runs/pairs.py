"""Which head, objective and tuning method go together; each that does not, with its reason."""

from __future__ import annotations

from collections.abc import Iterator

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import Head
from funneltune.objectives import Objective
from funneltune.schema import SHARED
from funneltune.tuning import TuningMethod


def refusals(*, head: Head, objective: Objective, tuning: TuningMethod, features: bool) -> Iterator[str]:
    """Why these do not go together, one sentence each; nothing where they do."""
    words = type(head).__name__.lower()
    if head.space not in objective.spaces:
        yield (
            f"head={words} gives p(task and its edges), and objective={objective.name} needs p(task | edges); use "
            "objective=entire_space_bce with it, or another head"
        )
    if head.views != (SHARED,) and not features and tuning.sharing == "shared":
        yield (
            f"head={words} reads a representation of each task's own, and there is none; choose features, "
            "or tuning.sharing=per_task"
        )


def require_pairs(*, head: Head, objective: Objective, tuning: TuningMethod, features: bool) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: with every reason.
    """
    if found := list(refusals(head=head, objective=objective, tuning=tuning, features=features)):
        raise ConfigError("; ".join(found) + ".")


def readers(head: Head, funnel: TaskFunnel) -> tuple[str, ...]:
    """Who reads a vector of each text where tasks do not share the tuned weights: the tasks, and SHARED too where the
    head reads what is shared beside what is a task's own.
    """
    return (*funnel.names, *((SHARED,) if len(head.views) > 1 and SHARED in head.views else ()))
