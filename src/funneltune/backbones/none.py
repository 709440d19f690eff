"""No backbone: the control that reads ids and numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.backbones.boundary import Caching
from funneltune.backbones.encoder import Pooling
from funneltune.schema import SHARED, Batch, Interaction, Texts


class _Nothing(nn.Module):
    """What a tuning method finds where there is no transformer: no layer, no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=0, model_type="none")


class NoEncoder(nn.Module):
    """Encodes no text to vectors of no width."""

    width = 0
    n_layers = 0
    boundary = 0
    frozen = True
    gates: ClassVar[dict[str, Tensor]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.caching, self.cache = Caching("never"), None
        self.backbone = _Nothing()

    def reuse(self, until_told: bool) -> None:
        """There is nothing to keep."""

    def views(self, texts: Texts) -> dict[str, Float[Tensor, "texts 0"]]:
        """Nothing, for all tasks alike."""
        return {SHARED: self(texts)}

    def forward(self, texts: Texts) -> Float[Tensor, "texts 0"]:
        """Nothing of nothing."""
        return texts.lengths.new_zeros(len(texts), 0).float()


class NoInteraction(nn.Module):
    """A row's texts are not there: a vector of no width."""

    width = 0

    def forward(self, batch: Batch, text_vectors: Float[Tensor, "texts 0"]) -> Float[Tensor, "rows 0"]:
        """One empty vector per row."""
        return text_vectors.new_zeros(batch.row.shape[0], 0)  # no len(): a tracer follows shapes alone


@dataclass(frozen=True)
class NoBackbone:
    """Stands where a `Backbone` would: rows are told by their features alone.

    `interaction` and `dropout` are there because experiments set them of any backbone; nothing reads them here.
    """

    name: str = "none"
    interaction: Interaction = "none"
    dropout: float | None = None

    def __post_init__(self) -> None:
        """Whatever an experiment asks for, no text is read."""
        object.__setattr__(self, "interaction", "none")

    def tokenizer(self) -> Any:
        """None is needed."""
        return None

    def encoder(self, pooling: Pooling | None = None) -> NoEncoder:
        """The empty encoder."""
        return NoEncoder()
