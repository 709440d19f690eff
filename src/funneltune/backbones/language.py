"""A backbone with its language-modelling head, and the folder that a pretrained one is written to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel

from funneltune.backbones.families import known_family
from funneltune.backbones.resolve import DROPOUTS, Backbone, _from_home, _quiet
from funneltune.errors import ConfigError

FACTORIES = {"mlm": AutoModelForMaskedLM, "clm": AutoModelForCausalLM}


def language_model(backbone: Backbone, objective: Literal["mlm", "clm"]) -> PreTrainedModel:
    """A backbone with the language-modelling head that transformers has for it; `base_model` is the bare backbone.

    Its head comes with the weights where they hold one (BERT, GPT-2). Where they do not (MiniLM, whose was left out),
    it is new, and tied to the embeddings as its config says.

    Raises:
        ConfigError: if the architecture does not fit the objective, or has no such head.
    """
    config = backbone.config()
    family = known_family(config)
    if family is not None and family.decoder != (objective == "clm"):
        kind, other = ("a decoder", "clm") if family.decoder else ("an encoder", "mlm")
        raise ConfigError(
            f"pretraining.objective={objective} does not fit {config.model_type}, which is {kind}; "
            f"set pretraining={other}."
        )
    if type(config) not in FACTORIES[objective]._model_mapping:
        raise ConfigError(
            f"pretraining.objective={objective}: transformers has no such head for {config.model_type}; "
            "choose another backbone."
        )
    arguments: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa"}
    with _quiet():
        model: PreTrainedModel = (
            _from_home(backbone, FACTORIES[objective], config=config, use_safetensors=True, **arguments)
            if backbone.pretrained
            else FACTORIES[objective].from_config(config, trust_remote_code=False, **arguments)
        )
    return model


def longest_text(model: PreTrainedModel) -> int | None:
    """Tokens that learned positions reach; None where positions are computed."""
    config = model.config
    family = known_family(config)
    computed = {"modernbert", "qwen2", "qwen3", "llama", "mistral"}
    if config.model_type in computed or not hasattr(config, "max_position_embeddings"):
        return None
    behind = int(config.pad_token_id) + 1 if family is not None and family.after_padding else 0
    return int(config.max_position_embeddings) - behind


def write_backbone(model: PreTrainedModel, backbone: Backbone, folder: Path) -> None:
    """Write config.json, tokenizer and model.safetensors (float32), as any later run's `backbone.name` reads them.

    The head is kept too: who pretrains further goes on with it. The run's own `backbone.dropout` is not.
    """
    usual = replace(backbone, dropout=None).config()
    for key in DROPOUTS:
        if hasattr(usual, key):
            setattr(model.config, key, getattr(usual, key))
    with _quiet():
        model.float().save_pretrained(folder)
        backbone.tokenizer().save_pretrained(folder)
