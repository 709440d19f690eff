"""Several sets of the weights that a tuning method trains, over one backbone: a vector of each text for each task.

Legend: K sets; a batch has U unique texts, their vectors are W wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn


class WeightSets(nn.Module):
    """K sets of a backbone's trained parameters. The backbone holds none of them, but while it runs with one.

    Without gates a set belongs to the view of its label, a task. With gates all sets serve every view, and a text's
    vector is their mixture, weighed by the view's own gate:

        v_t = sum_k g_tk v_k,  g_t = softmax(W_t mean_k v_k)

    (a soft mixture of experts, Jacobs et al. 1991, whose experts are sets of adapters). Gates start at zero, so that a
    mixture starts as the mean.

    Args:
        backbone: With the parameters in it that are to be trained; they leave it.
        labels: The sets'; none holds a dot.
        draw: Called before each set but the first, to make the backbone's parameters what that set starts as; None: all
            sets start alike.
        mixed_for: Views with a gate over all sets; none: no mixture.
    """

    def __init__(
        self,
        backbone: nn.Module,
        labels: Sequence[str],
        draw: Callable[[], None] | None = None,
        mixed_for: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.mixed_for = tuple(mixed_for)
        first = {id(p): name for name, p in backbone.named_parameters() if p.requires_grad}
        self.names = tuple(first.values())
        """The parameters, as the backbone calls them."""
        self._places = [
            (backbone.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], first[id(p)])
            for name, p in backbone.named_parameters(remove_duplicate=False)
            if id(p) in first
        ]
        for number, label in enumerate(self.labels):
            if number and draw is not None:
                draw()
            # A name of its own kind: a task may be called what a module has already (`train`).
            self.add_module(f"for_{label}", _tree({n: getattr(owner, leaf) for owner, leaf, n in self._places}))
        for owner, leaf, _ in self._places:
            owner._parameters[leaf] = None
        width = int(backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]
        for view in self.mixed_for:
            gate = nn.Linear(width, len(self.labels), bias=False)
            nn.init.zeros_(gate.weight)
            self.add_module(f"gate_{view}", gate)
        self.last_gates: dict[str, Float[Tensor, "texts sets"]] = {}
        """The gates' weights of the texts that were read last, by `adapters_VIEW`."""

    def __len__(self) -> int:
        """How many sets there are."""
        return len(self.labels)

    def of(self, label: str) -> dict[str, nn.Parameter]:
        """A set's parameters by their names in the backbone."""
        return dict(self.get_submodule(f"for_{label}").named_parameters())

    def gate_parameters(self) -> list[nn.Parameter]:
        """What mixes the sets."""
        return [p for view in self.mixed_for for p in self.get_submodule(f"gate_{view}").parameters()]

    def reach(self, part: str) -> bool:
        """Whether a part of the backbone holds any of the parameters."""
        return any(name.startswith(f"{part}.") for name in self.names)

    @contextmanager
    def placed(self, label: str) -> Iterator[None]:
        """A set in its places in the backbone, for as long as the context lasts."""
        chosen = self.of(label)
        try:
            for owner, leaf, name in self._places:
                owner._parameters[leaf] = chosen[name]
            yield
        finally:
            for owner, leaf, _ in self._places:
                owner._parameters[leaf] = None

    def views(self, each: Sequence[Float[Tensor, "texts width"]]) -> dict[str, Float[Tensor, "texts width"]]:
        """What each view reads of the vectors that the sets give, in the order of the labels."""
        if not self.mixed_for:
            return dict(zip(self.labels, each, strict=True))
        with torch.autocast(each[0].device.type, enabled=False):
            return self._mixed(torch.stack(list(each), dim=1))

    def _mixed(self, each: Float[Tensor, "texts sets width"]) -> dict[str, Float[Tensor, "texts width"]]:
        gates = {view: self.get_submodule(f"gate_{view}") for view in self.mixed_for}
        each = each.to(next(iter(gates.values())).weight.dtype)  # type: ignore[arg-type]
        mean = each.mean(dim=1)
        weights = {view: torch.softmax(gate(mean), dim=1) for view, gate in gates.items()}
        self.last_gates = {f"adapters_{view}": found.detach() for view, found in weights.items()}
        return {view: torch.einsum("uk,ukw->uw", found, each) for view, found in weights.items()}


def _tree(parameters: Mapping[str, nn.Parameter]) -> nn.Module:
    """Copies of parameters, to be trained, in modules that do nothing but give them the same names."""
    root = nn.Module()
    for name, parameter in parameters.items():
        *path, leaf = name.split(".")
        place = root
        for step in path:
            if step not in place._modules:
                place.add_module(step, nn.Module())
            place = place.get_submodule(step)
        place.register_parameter(leaf, nn.Parameter(parameter.detach().clone()))
    return root
