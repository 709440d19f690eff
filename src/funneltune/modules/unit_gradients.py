"""The gradient of each privacy unit by itself, layer by layer, with Opacus's formulas.

Opacus's own module wrapper takes the first axis of every layer's input for the example. Here it is not: a row has two
texts (query and item), and a shopper several rows. So the hooks are ours, and tell each entry's unit; what a layer does
with its entries is Opacus's: a formula for Linear, Embedding, LayerNorm, ..., else `torch.func.vmap`.

Legend: a layer reads E entries (texts, or rows); a batch has U units; a parameter has the shape P.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from funneltune.errors import TuningError

Sampler = Callable[[nn.Module, list[Tensor], Tensor], Mapping[nn.Parameter, Tensor]]
TEXTS = "encoder."
"""Layers below it read texts, all others rows."""
CHECKED = 3
"""First batches in which the units' gradients are held against autograd's own sum."""


class UnitGradients:
    """Gathers, for each trained parameter, a gradient per unit of a batch: `parameter.grad_sample`, (U, P).

    A tensor hook per call of a layer, not a hook per layer: a layer that is called twice has two inputs, and nothing
    says in which order their gradients come.

    Args:
        module: Its trained parameters are watched until `end`.

    Raises:
        TuningError: if a layer mixes its entries, or keeps what it saw of them.
    """

    def __init__(self, module: nn.Module) -> None:
        self._names = {p: name for name, p in module.named_parameters() if p.requires_grad}
        self._samplers: dict[nn.Module, Sampler] = {}
        self._handles = []
        self._unit_of_row: Tensor | None = None
        self._unit_of_text: Tensor | None = None
        self._count, self._scale, self._checked = 0, 1.0, 0
        self._found: dict[nn.Parameter, Tensor] = {}
        for name, layer in module.named_modules():
            _require_independent(name, layer)
            if any(p.requires_grad for p in layer.parameters(recurse=False)):
                self._samplers[layer] = _sampler(name, layer)
                self._handles.append(layer.register_forward_hook(partial(self._watch, name)))

    def end(self) -> None:
        """Watch no longer."""
        for handle in self._handles:
            handle.remove()
        for parameter in self._names:
            parameter.grad_sample = None  # type: ignore[attr-defined]
        for layer in self._samplers:
            vars(layer).pop("ft_compute_sample_grad", None)

    def begin(self, unit_of_row: Tensor, unit_of_text: Tensor, scale: float) -> None:
        """A batch comes: the unit of each row and of each text, and what its gradients are multiplied by."""
        self._unit_of_row, self._unit_of_text, self._scale = unit_of_row, unit_of_text, scale
        self._count = int(unit_of_row.max()) + 1 if len(unit_of_row) else 0
        self._found = {}

    def collect(self) -> None:
        """After the backward pass: give every trained parameter its units' gradients, zeros where a unit has none.

        Raises:
            TuningError: if a parameter has a gradient that no layer's call accounts for.
        """
        for parameter in self._names:
            found = self._found.pop(parameter, None)
            if found is None:
                found = parameter.new_zeros((self._count, *parameter.shape), dtype=torch.float32)
            parameter.grad_sample = found  # type: ignore[attr-defined]
        if self._count and self._checked < CHECKED:
            self._checked += 1
            self._require_whole()
        self._unit_of_row = self._unit_of_text = None

    def _watch(self, name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self._unit_of_row is None or not isinstance(output, Tensor) or not output.requires_grad:
            return
        units = self._unit_of_text if name.startswith(TEXTS) else self._unit_of_row
        assert units is not None
        entries = inputs[0].detach()
        if len(entries) != len(units):
            raise TuningError(
                f"privacy=dp_sgd: {name} reads {len(entries)} entries where the batch has {len(units)}, so their "
                "gradients cannot be told apart; choose another backbone or head, or tuning=frozen."
            )
        output.register_hook(partial(self._add, layer, entries, units))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _add(self, layer: nn.Module, entries: Tensor, units: Tensor, slope: Tensor) -> None:
        read = entries.float() if entries.is_floating_point() else entries
        for parameter, each in self._samplers[layer](layer, [read], slope.float()).items():
            if not parameter.requires_grad:
                continue
            if parameter not in self._found:
                self._found[parameter] = each.new_zeros((self._count, *parameter.shape))
            self._found[parameter].index_add_(0, units, each, alpha=self._scale)

    def _require_whole(self) -> None:
        for parameter, name in self._names.items():
            each: Tensor = parameter.grad_sample  # type: ignore[attr-defined]
            whole = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            off = (each.sum(dim=0) - whole.float() * self._scale).abs().max()
            # Products of bfloat16 are summed in another order; what a missed use of a parameter changes is no rounding.
            if off > 0.03 * each.abs().sum(dim=0).max() + 1e-6 * self._scale:
                raise TuningError(
                    f"privacy=dp_sgd: {name} is used outside of its own layer, where the gradients of single rows "
                    "cannot be told apart; choose another tuning, head or backbone, or tuning=frozen."
                )


def _require_independent(name: str, layer: nn.Module) -> None:
    """Refuse layers through which one row's output depends on the others', trained or not."""
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
        raise TuningError(
            f"privacy=dp_sgd: {name} is a {type(layer).__name__}, which mixes the rows of a batch; use LayerNorm or "
            "GroupNorm in its place."
        )


def _sampler(name: str, layer: nn.Module) -> Sampler:
    """Opacus's formula for a layer; where it has none, its own way by `torch.func.vmap`.

    Raises:
        TuningError: if Opacus refuses the layer.
    """
    from opacus.grad_sample import GradSampleModule
    from opacus.grad_sample.functorch import ft_compute_per_sample_gradient, prepare_layer
    from opacus.validators import ModuleValidator

    faults = ModuleValidator.VALIDATORS.get(type(layer), lambda _: [])(layer)
    if faults:
        raise TuningError(f"privacy=dp_sgd: {name} ({type(layer).__name__}): {str(faults[0]).partition('. ')[0]}.")
    whole = not isinstance(layer, nn.LayerNorm) or layer.bias is not None  # the formula takes a bias for granted
    known: Mapping[type, Sampler] = GradSampleModule.GRAD_SAMPLERS
    for base in type(layer).__mro__ if whole else ():
        if base in known and getattr(base, "forward", None) is type(layer).forward:
            return known[base]
    try:
        prepare_layer(layer)
    except NotImplementedError as error:
        raise TuningError(f"privacy=dp_sgd: {name} ({type(layer).__name__}): {error}") from None
    by_vmap: Sampler = ft_compute_per_sample_gradient
    return by_vmap
