"""Where things are in each architecture: its layers, their matrices, the ends of their blocks.

Everything that must know an architecture by name reads it here: tuning methods what to adapt, the encoder what it may
cut and pack. A family is found by the `model_type` of the model's config.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from transformers import PretrainedConfig

from funneltune.errors import ConfigError

Part = Literal["query", "key", "value", "attention_out", "feed_forward_in", "feed_forward_out"]
PARTS: tuple[Part, ...] = ("query", "key", "value", "attention_out", "feed_forward_in", "feed_forward_out")
"""The matrices of a transformer layer, in the order in which data meets them."""


@dataclass(frozen=True)
class Family:
    """One architecture. Module names are relative to a layer; a matrix that holds several parts is named in each."""

    name: str
    model_types: tuple[str, ...]
    layers: str
    """The list of layers, from the backbone."""
    query: tuple[str, ...]
    key: tuple[str, ...]
    value: tuple[str, ...]
    attention_out: tuple[str, ...]
    feed_forward_in: tuple[str, ...]
    feed_forward_out: tuple[str, ...]
    attention_end: str
    """The module after which the attention block's result meets the residual (its dropout, where it has one)."""
    feed_forward_end: str
    """Likewise for the feed-forward block."""
    feed_forward_norm: str = ""
    """The LayerNorm over the feed-forward block's residual sum; empty where norms come before blocks."""
    above: tuple[str, ...] = ()
    """What the backbone has behind its last layer."""
    decoder: bool = False
    """Attends to what came before only: a text is read off its last token."""
    packs: bool = True
    """Whether several texts may share a row behind a block mask, exactly."""
    after_padding: bool = False
    """Position ids start behind the padding's, at `pad_token_id` + 1, and not at 0."""

    @property
    def attention(self) -> str:
        """The module that holds the attention's projections and calls its kernel."""
        return self.query[0].rpartition(".")[0]

    def matrices(self, parts: tuple[Part, ...] = PARTS) -> tuple[str, ...]:
        """Names within a layer of the matrices that hold these parts, each once."""
        return tuple(dict.fromkeys(name for part in parts for name in getattr(self, part)))

    def targets(self, config: PretrainedConfig, parts: tuple[Part, ...] = PARTS, top: int | None = None) -> str:
        """A regular expression for the whole names of these matrices, in all layers or the `top` ones.

        Whole names, because a suffix matches too much: `output.dense` is also the end of `attention.output.dense`.
        """
        names = "|".join(re.escape(name) for name in self.matrices(parts))
        numbers = "|".join(str(layer) for layer in self.numbers(config, top))
        return rf"{re.escape(self.layers)}\.({numbers})\.({names})"

    def numbers(self, config: PretrainedConfig, top: int | None = None) -> range:
        """The numbers of all layers, or of the `top` ones."""
        total = int(config.num_hidden_layers)
        return range(0 if top is None else max(0, total - top), total)


def _bert(name: str, model_types: tuple[str, ...], **changes: object) -> Family:
    fields: dict[str, object] = {
        "layers": "encoder.layer",
        "query": ("attention.self.query",),
        "key": ("attention.self.key",),
        "value": ("attention.self.value",),
        "attention_out": ("attention.output.dense",),
        "feed_forward_in": ("intermediate.dense",),
        "feed_forward_out": ("output.dense",),
        "attention_end": "attention.output.dropout",
        "feed_forward_end": "output.dropout",
        "feed_forward_norm": "output.LayerNorm",
    }
    return Family(name=name, model_types=model_types, **(fields | changes))  # type: ignore[arg-type]


FAMILIES = (
    _bert("bert", ("bert", "electra")),
    _bert("roberta", ("roberta", "xlm-roberta", "camembert"), after_padding=True),
    _bert(
        "deberta",
        ("deberta-v2",),
        query=("attention.self.query_proj",),
        key=("attention.self.key_proj",),
        value=("attention.self.value_proj",),
        packs=False,  # its relative positions are made from the row, not from position ids
    ),
    Family(
        "distilbert",
        ("distilbert",),
        layers="transformer.layer",
        query=("attention.q_lin",),
        key=("attention.k_lin",),
        value=("attention.v_lin",),
        attention_out=("attention.out_lin",),
        feed_forward_in=("ffn.lin1",),
        feed_forward_out=("ffn.lin2",),
        attention_end="attention.out_lin",
        feed_forward_end="ffn.dropout",
        feed_forward_norm="output_layer_norm",
    ),
    Family(
        "modernbert",
        ("modernbert",),
        layers="layers",
        query=("attn.Wqkv",),
        key=("attn.Wqkv",),
        value=("attn.Wqkv",),
        attention_out=("attn.Wo",),
        feed_forward_in=("mlp.Wi",),
        feed_forward_out=("mlp.Wo",),
        attention_end="attn.out_drop",
        feed_forward_end="mlp.Wo",
        above=("final_norm",),
        packs=False,  # its local attention has a window of its own
    ),
    Family(
        "gpt2",
        ("gpt2",),
        layers="h",
        query=("attn.c_attn",),
        key=("attn.c_attn",),
        value=("attn.c_attn",),
        attention_out=("attn.c_proj",),
        feed_forward_in=("mlp.c_fc",),
        feed_forward_out=("mlp.c_proj",),
        attention_end="attn.resid_dropout",
        feed_forward_end="mlp.dropout",
        above=("ln_f",),
        decoder=True,
    ),
    Family(
        "qwen",
        ("qwen2", "qwen3", "llama", "mistral"),
        layers="layers",
        query=("self_attn.q_proj",),
        key=("self_attn.k_proj",),
        value=("self_attn.v_proj",),
        attention_out=("self_attn.o_proj",),
        feed_forward_in=("mlp.gate_proj", "mlp.up_proj"),
        feed_forward_out=("mlp.down_proj",),
        attention_end="self_attn.o_proj",
        feed_forward_end="mlp.down_proj",
        above=("norm",),
        decoder=True,
    ),
)

_BY_TYPE = {model_type: family for family in FAMILIES for model_type in family.model_types}


def known_family(config: PretrainedConfig) -> Family | None:
    """The family of a model, or None: then it can be trained and read, but nothing is known of its insides."""
    return _BY_TYPE.get(str(config.model_type))


def family_of(config: PretrainedConfig) -> Family:
    """The family of a model.

    Raises:
        ConfigError: if its architecture is in no family.
    """
    found = known_family(config)
    if found is None:
        raise ConfigError(
            f"backbone: architecture {config.model_type!r} is not known; there are {', '.join(sorted(_BY_TYPE))}. "
            "Add it to backbones/families.py."
        )
    return found
