"""Everything above the encoder, for one query and many items: what depends on the item alone is computed once.

Legend: N items, C candidates; text vectors are W wide.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from funneltune.backbones import Encoder
from funneltune.modules import FunnelModule
from funneltune.schema import SHARED, Batch, HeadOutput, Texts

SAMPLE = 8
"""Items on which the folded head is held against the module's own."""


class ItemSide:
    """Scores candidates as `FunnelModule.score` does.

    The features [u, v, u * v, |u - v|, cos] meet a linear layer of weights [A B C D e] as A u + B v + (C diag(u)) v +
    D |u - v| + e cos: B v belongs to the item, A u to the query, and what remains is half of the products; where the
    encoder multiplies in bfloat16, so do these, with sums in float32. A head whose first layers are not linear on these
    features (found by trying), or that reads more than the shared representation, is scored as it stands.

    Args:
        module: Of a run with `twin` and without features, in evaluation mode.
        vectors: (N, W), float32.
    """

    def __init__(self, module: FunnelModule, vectors: Float[Tensor, "items width"]) -> None:
        self.module, self.vectors = module, vectors
        self.norms = vectors.norm(dim=1).clamp_min(1e-8)
        assert isinstance(module.encoder, Encoder)
        self.multiplied_in = module.encoder.kept_in or vectors.dtype
        self.head = copy.deepcopy(module.head)
        width = vectors.shape[1]
        self._folded: list[_Folded] = []
        for name, layer in list(self.head.named_modules()):
            if isinstance(layer, nn.Linear) and layer.in_features == 4 * width + 1:
                folded = _Folded(layer, vectors)
                self.head.set_submodule(name, folded)
                self._folded.append(folded)
        self.folds = bool(self._folded) and self.head.views == (SHARED,) and self._agrees()

    @torch.inference_mode()
    def _agrees(self) -> bool:
        query, items = self.vectors[0].flip(0), torch.arange(min(SAMPLE, len(self.vectors)))
        try:
            found = self._by_parts(query, items, self.vectors.dtype)
        except (RuntimeError, TypeError):
            return False
        wanted = self._whole(query, items)
        return all(torch.allclose(found.logits[k], wanted.logits[k], atol=1e-4, rtol=1e-4) for k in wanted.logits)

    def logits(self, query: Float[Tensor, " width"], items: Int[Tensor, " candidates"] | None) -> HeadOutput:
        """A logit per task and candidate; None: all items."""
        return self._by_parts(query, items, self.multiplied_in) if self.folds else self._whole(query, items)

    def _by_parts(self, query: Tensor, items: Tensor | None, dtype: torch.dtype) -> HeadOutput:
        vectors, norms = (self.vectors, self.norms) if items is None else (self.vectors[items], self.norms[items])
        cosine = (vectors @ query) / (norms * query.norm().clamp_min(1e-8))
        for folded in self._folded:
            folded.query, folded.items, folded.cosine = query, items, cosine
        of_both = torch.cat([vectors, (vectors - query).abs_()], dim=1).to(dtype)
        output: HeadOutput = self.head(dict.fromkeys((*self.module.funnel.names, SHARED), of_both))
        return output

    def _whole(self, query: Tensor, items: Tensor | None) -> HeadOutput:
        vectors = self.vectors if items is None else self.vectors[items]
        n = len(vectors)
        none = torch.zeros(0, dtype=torch.long)
        batch = Batch(
            texts=Texts(none, none, none),
            text_of_row={"query": torch.zeros(n, dtype=torch.long), "item": torch.arange(1, n + 1)},
            labels={},
            observed={},
            request=torch.zeros(n, dtype=torch.long),
            row=torch.arange(n),
        )
        return self.module.score(batch, {SHARED: torch.cat([query.unsqueeze(0), vectors])})


class _Folded(nn.Module):
    """A linear layer on twin features whose input is [v, |u - v|]; the rest it is told before."""

    def __init__(self, layer: nn.Linear, vectors: Float[Tensor, "items width"]) -> None:
        super().__init__()
        width = vectors.shape[1]
        parts = torch.split(layer.weight.detach(), [width] * 4 + [1], dim=1)
        self.of_query, of_item, self.of_product, self.of_distance = parts[:4]
        self.of_cosine, self.bias = parts[4][:, 0], layer.bias
        with torch.no_grad():
            self.kept = F.linear(vectors, of_item)
        self.query = self.cosine = torch.zeros(0)
        self.items: Tensor | None = None

    def forward(self, of_both: Float[Tensor, "candidates twice"]) -> Float[Tensor, "candidates outputs"]:
        """The layer's output, in float32."""
        kept = self.kept if self.items is None else self.kept[self.items]
        weight = torch.cat([self.of_product * self.query, self.of_distance], dim=1).to(of_both.dtype)
        found = F.linear(of_both, weight) + (kept + F.linear(self.query, self.of_query, self.bias))
        return found.addr_(self.cosine, self.of_cosine)
