"""What the methods share that PEFT carries out: one adapter of a fixed name, and PEFT's own files both ways."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import cached_file

from funneltune.backbones.families import PARTS, Part
from funneltune.errors import TuningError
from funneltune.tuning.protocol import WeightTuning

ADAPTER = "funneltune"
"""PEFT finds an adapter's tensors by substring: the name must occur in no module's."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


class PeftTuning(WeightTuning):
    """A method that PEFT carries out.

    Args:
        parts: Which matrices of each layer are adapted, of query, key, value, attention_out, feed_forward_in,
            feed_forward_out.
        adapter: A folder or hub id in PEFT's format to start from; None: PEFT's own start.
        learning_rate: Of what PEFT adds.
        top: Adapt only so many of the highest layers; None: all.

    Raises:
        TuningError: if a part is unknown, or a stored adapter is missing or does not fit.
    """

    def __init__(
        self, parts: tuple[Part, ...] | list[Part], adapter: str | None, learning_rate: float, top: int | None
    ) -> None:
        super().__init__(learning_rate, top)
        unknown = [part for part in parts if part not in PARTS]
        if unknown or not parts:
            raise TuningError(f"tuning.parts={list(parts)!r} must name some of {', '.join(PARTS)}.")
        self.parts: tuple[Part, ...] = tuple(parts)
        self.adapter = adapter
        self._model: PeftModel | None = None

    def config(self, backbone: PreTrainedModel) -> PeftConfig:
        """PEFT's config for this backbone."""
        raise NotImplementedError

    def apply(self, backbone: PreTrainedModel) -> None:
        """Let PEFT add its parameters to the matched matrices; everything else is frozen."""
        self._model = wrap(backbone, self.config(backbone))
        self._backbone = backbone
        if self.adapter is not None:
            self._start_from(self.adapter)

    def _start_from(self, where: str) -> None:
        assert self._model is not None
        prefix = getattr(self.backbone, "base_model_prefix", "")
        found = {
            # PEFT stores DoRA's lengths without the `.weight` that the parameter has.
            re.sub(rf"^base_model\.model\.({re.escape(prefix)}\.)?", "", name)
            + (".weight" if name.endswith("lora_magnitude_vector") else ""): tensor
            for name, tensor in read_adapter(where).items()
        }
        own = {
            re.sub(rf"\.{ADAPTER}(?=\.|$)", "", name): parameter
            for name, parameter in self.backbone.named_parameters()
            if ADAPTER in name
        }
        odd = sorted(set(own) ^ set(found)) or [k for k in own if own[k].shape != found[k].shape]
        if odd:
            raise TuningError(
                f"tuning.adapter={where}: {odd[0]!r} is on one side only or has another shape; "
                f"set {self.shape_fields} as in its {CONFIG}."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(found[name])

    shape_fields = "tuning.parts and tuning.top"
    """The config's fields that decide which tensors there are, and their shapes."""

    def export_peft(self, folder: Path) -> None:
        """Write the adapter as PEFT does, so that `PeftModel.from_pretrained(backbone, folder)` loads it."""
        assert self._model is not None
        write_adapter(self._model, folder)


def wrap(backbone: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """PEFT's model around a backbone that it changes in place.

    Raises:
        TuningError: if the config matches nothing, or PEFT does not know how to adapt what it matches.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            return get_peft_model(backbone, config, adapter_name=ADAPTER)
    except (ValueError, NotImplementedError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise TuningError(
            f"tuning.targets={getattr(config, 'target_modules', None)!r} fits no module of {type(backbone).__name__} "
            f"({first}); give an expression that matches whole module names."
        ) from None


def stores_transposed(backbone: nn.Module, pattern: str) -> bool:
    """Whether the matched matrices are stored as (in, out), as GPT-2's Conv1D does."""
    return any(isinstance(m, Conv1D) and re.fullmatch(pattern, n) for n, m in backbone.named_modules())


def read_adapter(where: str) -> dict[str, Tensor]:
    """The tensors of a stored adapter: safetensors only, from a folder, the hub's cache or the hub.

    Raises:
        TuningError: if there are none or they are damaged.
    """
    try:
        local = Path(where) / WEIGHTS
        path = str(local) if Path(where).is_dir() else cached_file(where, WEIGHTS)
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise TuningError(
            f"tuning.adapter={where!r} holds no readable {WEIGHTS} ({first}); give a folder or hub id in PEFT's format "
            "with safetensors."
        ) from None


def write_adapter(model: PeftModel, folder: Path, tensors: dict[str, Tensor] | None = None, **fields: Any) -> None:
    """Tensors and config in PEFT's format; `tensors` and `fields` replace what PEFT would write."""
    folder.mkdir(parents=True, exist_ok=True)
    state = tensors if tensors is not None else get_peft_model_state_dict(model, adapter_name=ADAPTER)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    config = model.peft_config[ADAPTER]
    kept = {name: getattr(config, name) for name in (*fields, "inference_mode")}
    try:
        for name, value in {**fields, "inference_mode": True}.items():
            setattr(config, name, value)
        config.save_pretrained(str(folder))
    finally:
        for name, value in kept.items():
            setattr(config, name, value)
