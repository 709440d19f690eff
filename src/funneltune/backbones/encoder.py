"""Unique texts to vectors, in two parts: what lies below the lowest trained layer, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from funneltune.backbones import attention
from funneltune.backbones.layout import Chunk, chunks
from funneltune.backbones.memory import VectorMemory
from funneltune.schema import Texts

Pooling = Literal["mean", "cls"]


@dataclass(frozen=True)
class Hidden:
    """Hidden states at the boundary, chunk by chunk; None where an architecture is not cut into layers."""

    chunks: tuple[Chunk, ...]
    states: tuple[Float[Tensor, "_ _ width"] | None, ...]


class Encoder(nn.Module):
    """A pretrained transformer that encodes each unique text of a batch once.

    `boundary` layers (the lowest, with the embeddings) run without gradient and without dropout; the tuning method
    sets it. BERT models are cut into layers and packed, several texts to a row behind a block mask, which is exact;
    other architectures run padded and whole, in `upper`, with boundary 0. Where the boundary lies above all layers,
    the vectors of up to `remember` texts are kept for the batches to come.
    """

    def __init__(
        self, backbone: PreTrainedModel, pooling: Pooling = "mean", token_budget: int = 4096, remember: int = 0
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.token_budget = token_budget
        self.width: int = backbone.config.hidden_size
        self.memory = VectorMemory(remember)
        self.layered = backbone.config.model_type == "bert" and not backbone.config.is_decoder
        self._boundary = 0
        if self.layered:
            backbone.set_attn_implementation(attention.NAME)

    @property
    def n_layers(self) -> int:
        """Layers of the backbone."""
        return int(self.backbone.config.num_hidden_layers)

    @property
    def boundary(self) -> int:
        """How many of the lowest layers are frozen, embeddings included; 0 where anything below is trained."""
        return self._boundary

    @boundary.setter
    def boundary(self, layers: int) -> None:
        self._boundary = layers
        self.memory.forget()
        self.train(self.training)

    def train(self, mode: bool = True) -> Encoder:
        """Training mode for what is trained; the frozen part stays in evaluation mode (no dropout)."""
        super().train(mode)
        if self._boundary > 0 and mode:
            if self.layered:
                self.backbone.embeddings.eval()
                for layer in self.backbone.encoder.layer[: self._boundary]:
                    layer.eval()
            elif self._boundary >= self.n_layers:
                self.backbone.eval()
        return self

    def forward(self, texts: Texts) -> Float[Tensor, "texts width"]:
        """One vector per unique text."""
        if self._boundary >= self.n_layers and self.memory.limit:
            return self.memory.vectors(texts, self._encode)
        return self._encode(texts)

    def _encode(self, texts: Texts) -> Float[Tensor, "texts width"]:
        return self.upper(self.lower(texts))

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        """Vectors of the weights that were there before are worth nothing."""
        self.memory.forget()
        super()._load_from_state_dict(*arguments, **keywords)

    def lower(self, texts: Texts) -> Hidden:
        """Everything below the boundary. Exact, and free of gradient where the boundary is above 0."""
        laid_out = tuple(chunks(texts, self.token_budget, packed=self.layered))
        if not self.layered:
            return Hidden(laid_out, (None,) * len(laid_out))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._boundary == 0):
            return Hidden(laid_out, tuple(self._embed(chunk) for chunk in laid_out))

    def _embed(self, chunk: Chunk) -> Float[Tensor, "rows positions width"]:
        states: Tensor = self.backbone.embeddings(
            input_ids=chunk.input_ids, position_ids=chunk.position_ids, token_type_ids=chunk.token_type_ids
        )
        return self._layers(chunk, states, slice(0, self._boundary))

    def _layers(self, chunk: Chunk, states: Tensor, which: slice) -> Float[Tensor, "rows positions width"]:
        layers = self.backbone.encoder.layer[which]
        bias = attention.as_bias(chunk.mask, states.device, states.dtype)
        for layer in layers:
            states = layer(states, bias)
        return states

    def upper(self, hidden: Hidden, task: str | None = None) -> Float[Tensor, "texts width"]:
        """From the boundary to pooled vectors.

        `task` chooses among per-task adapters where a tuning method has them; the methods here share theirs.
        """
        pooled = []
        for chunk, states in zip(hidden.chunks, hidden.states, strict=True):
            pooled.append(self._pool(chunk, self._above(chunk, states)))
        return torch.cat(pooled)

    def _above(self, chunk: Chunk, states: Tensor | None) -> Float[Tensor, "rows positions width"]:
        if states is not None:
            return self._layers(chunk, states, slice(self._boundary, None))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._boundary < self.n_layers):
            segments = (
                {"token_type_ids": chunk.token_type_ids}
                if getattr(self.backbone.config, "type_vocab_size", 0) > 1
                else {}
            )
            output = self.backbone(input_ids=chunk.input_ids, attention_mask=chunk.mask.long(), **segments)
            states_above: Tensor = output.last_hidden_state
            return states_above

    def _pool(self, chunk: Chunk, states: Float[Tensor, "rows positions width"]) -> Float[Tensor, "texts width"]:
        """Mean over a text's tokens, or its first token's vector; in float32."""
        flat = states.reshape(-1, states.shape[-1]).float()
        if self.pooling == "cls":
            return flat[chunk.place[chunk.lengths.cumsum(0) - chunk.lengths]]
        summed = flat.new_zeros(len(chunk.lengths), flat.shape[1]).index_add(0, chunk.text, flat[chunk.place])
        return summed / chunk.lengths.unsqueeze(1)
