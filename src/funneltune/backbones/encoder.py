"""Unique texts to vectors, in two parts: what lies below the lowest trained layer, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from funneltune.backbones import attention
from funneltune.backbones.boundary import BoundaryCache, Caching
from funneltune.backbones.families import known_family
from funneltune.backbones.layout import Chunk, chunks
from funneltune.backbones.memory import VectorMemory
from funneltune.backbones.views import WeightSets
from funneltune.errors import ConfigError, is_out_of_memory
from funneltune.schema import SHARED, Texts

Pooling = Literal["mean", "cls", "last"]
TOKEN_BUDGETS, LARGE_BUDGET = {"cpu": 4096}, 16_384
"""Tokens per chunk where the config leaves it open: what stays in a CPU's caches, and what keeps a GPU busy (2.7 times
the rows per second of 4,096 there, benchmarks/gpu.py)."""
LAYERED = frozenset({"bert", "roberta", "xlm-roberta", "camembert"})
"""Model types whose forward is embeddings, then layers of (states, mask): they can be cut between any two."""


@dataclass(frozen=True)
class Hidden:
    """Hidden states at the boundary, chunk by chunk; None where an architecture is not cut into layers."""

    chunks: tuple[Chunk, ...]
    states: tuple[Float[Tensor, "_ _ width"] | None, ...]


class Encoder(nn.Module):
    """A pretrained transformer that encodes each unique text of a batch once.

    `boundary` layers (the lowest, with the embeddings) run without gradient and without dropout; the tuning method
    sets it. BERT-like models are cut into layers; others run whole, in `upper`. Where the architecture allows it, texts
    are packed, several to a row behind a block mask, which is exact; elsewhere they are padded.

    Three things keep a text from being read again: within a batch it is there once; `cache`, where one is given, holds
    what lies below the boundary for every text of a log; and the vectors of up to `remember` texts are kept from batch
    to batch for as long as no weight moves (a boundary above all layers, or an evaluation: `reuse`).

    Matrices that nothing trains can be kept in the dtype that autocast would copy them to in every forward
    (`keep_frozen_in`): the same products, half the memory and its traffic.

    With several `sets` of tuned weights a text has a vector for each task (`views`): what lies below is computed once,
    what lies above once per set.

    Raises:
        ConfigError: if a decoder is pooled at its first token, which has seen no other.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        pooling: Pooling = "mean",
        token_budget: int | None = None,
        remember: int = 0,
        packed: bool = True,
        caching: Caching | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.family = known_family(backbone.config)
        if pooling == "cls" and self.family is not None and self.family.decoder:
            raise ConfigError(
                f"backbone.pooling=cls reads the first token, which sees no other in {backbone.config.model_type}; "
                "set backbone.pooling=last."
            )
        self.pooling = pooling
        self.token_budget = token_budget
        self.width: int = backbone.config.hidden_size
        self.memory = VectorMemory(remember)
        self.layered = backbone.config.model_type in LAYERED and not getattr(backbone.config, "is_decoder", False)
        self.packed = packed and self.family is not None and self.family.packs
        self.one_chunk_in_training = False
        """Whatever the token budget: for ranks that must call each layer equally often."""
        self._boundary = 0
        self._reuse = False
        self.caching = caching or Caching()
        self.cache: BoundaryCache | None = None
        """Of the boundary and the log at hand; whoever sets it sees to that."""
        self.kept_in: torch.dtype | None = None
        """The dtype of matrices that nothing trains; None: that of all weights."""
        self.sets: WeightSets | None = None
        """Where tasks do not share the tuned weights; None: they do."""
        if self.layered:
            backbone.set_attn_implementation(attention.NAME)

    @property
    def n_layers(self) -> int:
        """Layers of the backbone."""
        return int(self.backbone.config.num_hidden_layers)

    @property
    def max_positions(self) -> int | None:
        """Tokens of the longest text that learned positions reach; None where positions are computed."""
        for name, module in self.backbone.named_modules():
            if isinstance(module, nn.Embedding) and name.endswith(("position_embeddings", "wpe")):
                behind = self.family is not None and self.family.after_padding
                return module.num_embeddings - (int(self.backbone.config.pad_token_id) + 1 if behind else 0)
        return None

    @property
    def boundary(self) -> int:
        """How many of the lowest layers are frozen, embeddings included; 0 where anything below is trained."""
        return self._boundary

    @boundary.setter
    def boundary(self, layers: int) -> None:
        self._boundary = layers
        self.cache = None
        self.memory.forget()
        self.train(self.training)

    @property
    def frozen(self) -> bool:
        """Whether the boundary lies above all layers."""
        return self._boundary >= self.n_layers

    def parameters_below(self) -> dict[str, nn.Parameter]:
        """What decides the states at the boundary; where all is frozen, every weight."""
        if self.frozen or not self.layered:
            return dict(self.backbone.named_parameters())
        layers = enumerate(self.backbone.encoder.layer[: self._boundary])
        below = {"embeddings": self.backbone.embeddings} | {str(number): layer for number, layer in layers}
        return {f"{part}.{name}": p for part, module in below.items() for name, p in module.named_parameters()}

    def reuse(self, until_told: bool) -> None:
        """Keep vectors from batch to batch, because no weight moves for a while; with False, no longer."""
        self._reuse = until_told
        if not self.frozen:
            self.memory.forget()

    def train(self, mode: bool = True) -> Encoder:
        """Training mode for what is trained; the frozen part stays in evaluation mode (no dropout)."""
        super().train(mode)
        if self._boundary > 0 and mode:
            self.backbone.eval()
            if self._boundary < self.n_layers:
                assert self.family is not None
                for layer in self.backbone.get_submodule(self.family.layers)[self._boundary :]:
                    layer.train()
        return self

    def keep_frozen_in(self, dtype: torch.dtype) -> None:
        """Round the frozen linear layers to what autocast multiplies by, for good; from here on it is always on.

        Embeddings, normalisations and whatever is trained stay as they are.
        """
        for module in self.backbone.modules():
            if type(module) is nn.Linear:
                for parameter in module.parameters(recurse=False):
                    if not parameter.requires_grad:
                        parameter.data = parameter.data.to(dtype)
        self.kept_in = dtype

    def compile_layers(self) -> None:
        """Compile every layer when it first runs, once for all lengths of texts.

        Raises:
            ConfigError: if the architecture is not known by layers.
        """
        if self.family is None:
            kind = self.backbone.config.model_type
            raise ConfigError(f"backbone.compile=true: the layers of {kind} are not known; set it to false.")
        for layer in self.backbone.get_submodule(self.family.layers):
            layer.compile(dynamic=True)

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        return nullcontext() if self.kept_in is None else torch.autocast(device.type, dtype=self.kept_in)

    def forward(self, texts: Texts) -> Float[Tensor, "texts width"]:
        """One vector per unique text.

        Raises:
            ConfigError: if it has one per task.
        """
        if self.sets is not None:
            raise ConfigError("tuning.sharing: a text has a vector for each task here; Encoder.views has them.")
        if self.frozen and (vectors := self._cached(texts)) is not None:
            return vectors
        if (self.frozen or self._reuse) and self.memory.limit:
            return self.memory.vectors(texts, self._encode)
        return self._encode(texts)

    def views(self, texts: Texts) -> dict[str, Float[Tensor, "texts width"]]:
        """The vectors by whom they serve: SHARED, or tasks where a tuning method gives each its own weights."""
        if self.sets is None:
            return {SHARED: self(texts)}
        if self._reuse and self.memory.limit:
            kept = self.memory.vectors(texts, lambda new: torch.cat(self._encode_each(new), dim=1))
            return self.sets.views(torch.split(kept, self.width, dim=1))
        return self.sets.views(self._encode_each(texts))

    def views_above(self, hidden: Hidden) -> dict[str, Float[Tensor, "texts width"]]:
        """The same, from states at the boundary, where these are the same for all (`shares_lower`)."""
        with self._precision(hidden.chunks[0].input_ids.device):
            return {SHARED: self.upper(hidden)} if self.sets is None else self.sets.views(self._each(lambda: hidden))

    @property
    def shares_lower(self) -> bool:
        """Whether the states at the boundary are the same for every set of weights."""
        return self.sets is None or not self.layered or not self.sets.reach("embeddings")

    @property
    def gates(self) -> dict[str, Float[Tensor, "texts sets"]]:
        """How the vectors of the last texts were mixed, by `adapters_TASK`; empty where nothing is."""
        return {} if self.sets is None else self.sets.last_gates

    def _cached(self, texts: Texts) -> Tensor | None:
        return None if self.cache is None else self.cache.find(texts)

    def _encode(self, texts: Texts) -> Float[Tensor, "texts width"]:
        with _naming(texts), self._precision(texts.token_ids.device):
            return self.upper(self.lower(texts))

    def _encode_each(self, texts: Texts) -> list[Float[Tensor, "texts width"]]:
        """The vectors that each set of weights gives; what lies below all of them is computed once."""
        with _naming(texts), self._precision(texts.token_ids.device):
            if not self.shares_lower:
                return self._each(lambda: self.lower(texts))
            hidden = self.lower(texts)
            return self._each(lambda: hidden)

    def _each(self, below: Callable[[], Hidden]) -> list[Float[Tensor, "texts width"]]:
        """Set by set; `below` is called while it is in place."""
        assert self.sets is not None
        found = []
        for label in self.sets.labels:
            with self.sets.placed(label):
                found.append(self.upper(below()))
        return found

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        """What was kept of the weights that were there before is worth nothing."""
        self.memory.forget()
        super()._load_from_state_dict(*arguments, **keywords)

    def lower(self, texts: Texts) -> Hidden:
        """Everything below the boundary. Exact, and free of gradient where the boundary is above 0."""
        causal = self.family is not None and self.family.decoder
        fitting = self.token_budget or TOKEN_BUDGETS.get(texts.token_ids.device.type, LARGE_BUDGET)
        budget = max(1, texts.token_ids.numel() * len(texts)) if self._whole_batch() else fitting
        laid_out = tuple(chunks(texts, budget, packed=self.packed, causal=causal))
        if not self.layered:
            return Hidden(laid_out, (None,) * len(laid_out))
        if not self.frozen and (kept := self._cached(texts)) is not None:
            sizes = [len(chunk.place) for chunk in laid_out]
            return Hidden(laid_out, tuple(map(_spread, laid_out, torch.split(kept, sizes))))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._boundary == 0):
            return Hidden(laid_out, tuple(self._embed(chunk) for chunk in laid_out))

    @torch.no_grad()
    def below(self, texts: Texts) -> Float[Tensor, "rows width"]:
        """What a cache keeps: the tokens' states at the boundary, text by text; where all is frozen, vectors."""
        if self.frozen:
            return self._encode(texts)
        with _naming(texts), self._precision(texts.token_ids.device):
            hidden = self.lower(texts)
        states = [
            states.flatten(0, 1)[chunk.place]
            for chunk, states in zip(hidden.chunks, hidden.states, strict=True)
            if states is not None
        ]
        return torch.cat(states)

    def _whole_batch(self) -> bool:
        return self.one_chunk_in_training and self.training

    def _embed(self, chunk: Chunk) -> Float[Tensor, "rows positions width"]:
        states: Tensor = self.backbone.embeddings(
            input_ids=chunk.input_ids, position_ids=self._positions(chunk), token_type_ids=self._segments(chunk)
        )
        return self._layers(chunk, states, slice(0, self._boundary))

    def _positions(self, chunk: Chunk) -> Int[Tensor, "rows positions"]:
        behind = self.family is not None and self.family.after_padding
        return chunk.position_ids + (int(self.backbone.config.pad_token_id) + 1 if behind else 0)

    def _segments(self, chunk: Chunk) -> Int[Tensor, "rows positions"]:
        """Which of two texts a token belongs to; all the first where the model was trained on one segment."""
        several = getattr(self.backbone.config, "type_vocab_size", 0) > 1
        return chunk.token_type_ids if several else torch.zeros_like(chunk.token_type_ids)

    def _layers(self, chunk: Chunk, states: Tensor, which: slice) -> Float[Tensor, "rows positions width"]:
        layers = self.backbone.encoder.layer[which]
        mask = chunk.mask if chunk.mask.ndim == 4 else chunk.mask[:, None, None, :]
        bias = attention.as_bias(mask, states.device, states.dtype)
        for layer in layers:
            states = layer(states, bias)
        return states

    def upper(self, hidden: Hidden) -> Float[Tensor, "texts width"]:
        """From the boundary to pooled vectors, with the weights that are in place."""
        pooled = []
        for chunk, states in zip(hidden.chunks, hidden.states, strict=True):
            pooled.append(self._pool(chunk, self._above(chunk, states)))
        return torch.cat(pooled)

    def _above(self, chunk: Chunk, states: Tensor | None) -> Float[Tensor, "rows positions width"]:
        if states is not None:
            return self._layers(chunk, states, slice(self._boundary, None))
        arguments = {"input_ids": chunk.input_ids, "attention_mask": chunk.mask if self.packed else chunk.mask.long()}
        if self.packed:
            arguments["position_ids"] = self._positions(chunk)
        if getattr(self.backbone.config, "type_vocab_size", 0) > 1:
            arguments["token_type_ids"] = chunk.token_type_ids
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._boundary < self.n_layers):
            states_above: Tensor = self.backbone(**arguments).last_hidden_state
            return states_above

    def _pool(self, chunk: Chunk, states: Float[Tensor, "rows positions width"]) -> Float[Tensor, "texts width"]:
        """Mean over a text's tokens, or its first or last token's vector; in float32."""
        flat = states.reshape(-1, states.shape[-1]).float()
        ends = chunk.lengths.cumsum(0)
        if self.pooling == "cls":
            return flat[chunk.place[ends - chunk.lengths]]
        if self.pooling == "last":
            return flat[chunk.place[ends - 1]]
        summed = flat.new_zeros(len(chunk.lengths), flat.shape[1]).index_add(0, chunk.text, flat[chunk.place])
        return summed / chunk.lengths.unsqueeze(1)


def _spread(chunk: Chunk, states: Float[Tensor, "tokens width"]) -> Float[Tensor, "rows positions width"]:
    """A chunk's states from those of its tokens; where no token is, zeros, which no token looks at."""
    rows, positions = chunk.input_ids.shape
    flat = states.new_zeros(rows * positions, states.shape[1]).index_copy_(0, chunk.place, states)
    return flat.view(rows, positions, -1)


@contextmanager
def _naming(texts: Texts) -> Iterator[None]:
    """Where there is no memory for texts, note which they were."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            error.add_note(texts.in_words())
        raise
