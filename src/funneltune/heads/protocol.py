"""What assembly and module know of a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from funneltune.schema import HeadOutput, Space


class Head(Protocol):
    """Vectors to logits; an nn.Module, made as `HEAD(width=..., funnel=..., **config)`."""

    space: Space
    """What its logits are of: p(task | edges), or p(task and its edges)."""

    @property
    def views(self) -> tuple[str, ...]:
        """The representations that it reads: `schema.SHARED` alone, or also (only) one of each task's own, by the
        task's name.
        """
        ...

    def __call__(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """`inputs` has every task's name (the same tensor for all where none has its own), and SHARED where `views`
        has it.
        """
        ...
