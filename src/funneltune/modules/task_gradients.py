"""Each task's own gradient over an optimizer step, and how alike the tasks' gradients are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

Reduce = Callable[[Tensor], Tensor]
"""The sum of a tensor over all ranks."""
Parameters = Mapping[str, nn.Parameter]


class TaskGradients:
    """The gradients of several scalars, by task and parameter: summed over the micro-batches of an optimizer step and,
    once `reduce` was called, over its ranks.

    Found by `torch.autograd.grad`, one backward pass a task: nothing is written into `.grad`, and DDP, which waits for
    such writing, sees nothing of it.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Tensor]] = {}
        """Task -> parameter -> gradient; a parameter that a task does not reach is not there."""

    def add(self, terms: Mapping[str, Float[Tensor, ""]], parameters: Parameters, *, keep_graph: bool) -> None:
        """The gradients of one micro-batch's terms. `keep_graph`: another backward pass follows."""
        names, values = list(parameters), list(parameters.values())
        told = {task: term for task, term in terms.items() if term.requires_grad}
        for number, (task, term) in enumerate(told.items(), start=1):
            again = keep_graph or number < len(told)
            own = self.found.setdefault(task, {})
            if not values:
                continue
            for name, gradient in zip(
                names, torch.autograd.grad(term, values, retain_graph=again, allow_unused=True), strict=True
            ):
                if gradient is not None:
                    own[name] = own[name] + gradient if name in own else gradient

    def reduce(self, tasks: Sequence[str], parameters: Parameters, total: Reduce) -> None:
        """Add up the ranks' gradients; a parameter that a task reaches on any rank is reached on all."""
        places = [(task, name) for task in tasks for name in parameters]
        if not places:
            return
        device = next(iter(parameters.values())).device
        there = torch.tensor([float(name in self.found.get(task, {})) for task, name in places], device=device)
        reached = [place for place, count in zip(places, total(there).tolist(), strict=True) if count > 0]
        if not reached:
            return
        own = [
            self.found.get(task, {}).get(name, torch.zeros_like(parameters[name])).flatten() for task, name in reached
        ]
        summed = torch.split(total(torch.cat(own)), [len(piece) for piece in own])
        self.found = {task: {} for task in tasks}
        for (task, name), piece in zip(reached, summed, strict=True):
            self.found[task][name] = piece.view_as(parameters[name]).to(parameters[name].dtype)

    def reached(self, name: str, tasks: Sequence[str]) -> int:
        """How many tasks reach a parameter."""
        return sum(name in self.found.get(task, {}) for task in tasks)

    def shared(self, tasks: Sequence[str], names: Sequence[str], by: int = 2) -> list[str]:
        """The parameters that at least so many tasks reach."""
        return [name for name in names if self.reached(name, tasks) >= by]

    def matrix(self, tasks: Sequence[str], names: Sequence[str]) -> Float[Tensor, "tasks width"]:
        """The tasks' gradients over parameters laid end to end; 0 where a task does not reach one."""
        like = [next(own[name] for own in self.found.values() if name in own) for name in names]
        dtype = torch.promote_types(like[0].dtype, torch.float32)
        # Filled in place: large models have room for few copies.
        found = torch.zeros(len(tasks), sum(one.numel() for one in like), dtype=dtype, device=like[0].device)
        for row, task in zip(found, tasks, strict=True):
            own = self.found.get(task, {})
            for name, place in zip(names, torch.split(row, [one.numel() for one in like]), strict=True):
                if name in own:
                    place.copy_(own[name].flatten())
        return found

    def norms(self, tasks: Sequence[str], names: Sequence[str]) -> Float[Tensor, " tasks"]:
        """Of each task's gradient over parameters."""
        reached = self.shared(tasks, names, by=1)
        return self.matrix(tasks, reached).norm(dim=1) if reached else torch.zeros(len(tasks))

    def clear(self) -> None:
        """Make room for the next step."""
        self.found = {}


def aggregate_into(
    gradients: TaskGradients,
    tasks: Sequence[str],
    parameters: Parameters,
    aggregate: Callable[[Float[Tensor, "tasks width"]], Float[Tensor, " width"]],
) -> None:
    """Leave in `.grad`: over the parameters that two or more tasks reach, the aggregate of the tasks' gradients; over
    others, the gradient of the one task; over all, the gradients of whatever else was added (penalties), as they are.
    """
    together = gradients.shared(tasks, list(parameters))
    made: dict[str, Tensor] = {}
    if together:
        vector = aggregate(gradients.matrix(tasks, together))
        pieces = torch.split(vector, [parameters[name].numel() for name in together])
        made = {name: piece.view_as(parameters[name]) for name, piece in zip(together, pieces, strict=True)}
    for name, parameter in parameters.items():
        rest = [
            own[name] for task, own in gradients.found.items() if name in own and not (name in made and task in tasks)
        ]
        parts = [*([made[name]] if name in made else []), *rest]
        parameter.grad = torch.stack(parts).sum(dim=0).to(parameter.dtype) if parts else None


def likeness(
    gradients: TaskGradients, tasks: Sequence[str], names: Sequence[str], word: str = "cosine"
) -> dict[str, Float[Tensor, ""]]:
    """`gradient/norm[a]` of each task's gradient over the named parameters, and `gradient/cosine[a,b]` of each two
    tasks' over those of them that two or more tasks reach (an adapter of one task's own says nothing of others).

    A task whose gradient is zero has no entry.
    """
    found: dict[str, Tensor] = {}
    for task, norm in zip(tasks, gradients.norms(tasks, names), strict=True):
        if norm > 0:
            found[f"gradient/norm[{task}]"] = norm
    together = gradients.shared(tasks, names)
    if not together:
        return found
    matrix = gradients.matrix(tasks, together)
    norms = matrix.norm(dim=1)
    for a, b in combinations(range(len(tasks)), 2):
        if norms[a] > 0 and norms[b] > 0:
            cosine = (matrix[a] / norms[a]) @ (matrix[b] / norms[b])
            found[f"gradient/{word}[{tasks[a]},{tasks[b]}]"] = cosine
    return found
