"""What the methods share that PEFT carries out: one adapter of a fixed name, and PEFT's own files both ways."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import cached_file

from funneltune.backbones.families import PARTS, Part
from funneltune.errors import TuningError
from funneltune.tuning.protocol import WeightTuning

ADAPTER = "funneltune"
"""PEFT finds an adapter's tensors by substring: the name must occur in no module's."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
UNDERSTOOD = {
    *("peft_type", "task_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "lora_alpha", "lora_dropout", "target_modules", "feedforward_modules"),
    *("fan_in_fan_out", "bias", "use_dora", "init_lora_weights", "init_ia3_weights", "layers_to_transform"),
    *("num_virtual_tokens", "token_dim", "num_attention_heads", "num_layers", "encoder_hidden_size"),
    *("megatron_core", "qalora_group_size"),  # always set; they mean something beside a megatron_config, use_qalora
}
"""Keys of a stored adapter's config that may hold something: they describe tensors, or nothing here reads them."""
PLAIN_STARTS = (None, "gaussian", "orthogonal")
"""`init_lora_weights` that leave the backbone as it is; eva, corda, pissa and loftq read data or change its weights."""


class PeftTuning(WeightTuning):
    """A method that PEFT carries out.

    Args:
        parts: Which matrices of each layer are adapted, of query, key, value, attention_out, feed_forward_in,
            feed_forward_out.
        adapter: A folder or hub id in PEFT's format to start from; None: PEFT's own start.
        learning_rate: Of what PEFT adds.
        top: Adapt only so many of the highest layers; None: all.
        sharing: Whom they serve: `shared`, `per_task` or `mixture`.
        adapters: Sets of a mixture; None: as many as tasks.

    Raises:
        TuningError: if a part is unknown, or a stored adapter is a URL, is missing or does not fit.
    """

    def __init__(
        self,
        parts: tuple[Part, ...] | list[Part],
        adapter: str | None,
        learning_rate: float,
        top: int | None,
        sharing: str,
        adapters: int | None,
    ) -> None:
        super().__init__(learning_rate, top, sharing, adapters)
        unknown = [part for part in parts if part not in PARTS]
        if unknown or not parts:
            raise TuningError(f"tuning.parts={list(parts)!r} must name some of {', '.join(PARTS)}.")
        if ":/" in str(adapter):
            raise TuningError(f"tuning.adapter={adapter!r} is a URL; give a local folder or a hub id, OWNER/NAME.")
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

    def merge(self) -> None:
        """Add the update to the matrices that it stands beside, and take it away."""
        assert self._model is not None
        self._model.merge_and_unload()

    def export_peft(self, folder: Path, *, write: bool = True) -> None:
        """Write the adapter as PEFT does, so that `PeftModel.from_pretrained(backbone, folder)` loads it; of several
        sets each into a folder of its own, by task or by number.
        """
        assert self._model is not None
        if self._sets is None:
            write_adapter(self._model, folder, write=write)
            return
        for label in self._sets.labels:
            with self._sets.placed(label):
                write_adapter(self._model, folder / label, write=write)


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

    Its config builds nothing, ours does; it is read to refuse what it asks for and would not get.

    Raises:
        TuningError: if there are none, they are damaged, or the adapter's config asks for more than tensors.
    """
    try:
        local = Path(where) / WEIGHTS
        path = local if Path(where).is_dir() else Path(cached_file(where, WEIGHTS))
        _check_adapter(where, path.with_name(CONFIG))
        return load_file(str(path))
    except (OSError, SafetensorError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise TuningError(
            f"tuning.adapter={where!r} holds no readable {WEIGHTS} ({first}); give a folder or hub id in PEFT's format "
            "with safetensors."
        ) from None


def _check_adapter(where: str, path: Path) -> None:
    """Refuse an adapter whose config names code, other files, or a computation that `tuning` does not have."""
    if not path.is_file():
        return
    told = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise ValueError(f"{CONFIG} holds no mapping")
    odd = [key for key, value in told.items() if value and key not in UNDERSTOOD]
    start = told.get("init_lora_weights", True)
    if not isinstance(start, bool) and start not in PLAIN_STARTS:
        odd.append("init_lora_weights")
    library = (told.get("auto_mapping") or {}).get("parent_library") or "transformers"
    if not str(library).startswith("transformers"):
        odd.append("auto_mapping")
    if odd:
        raise TuningError(
            f"tuning.adapter={where!r}: {CONFIG} asks for {odd[0]}={told[odd[0]]!r}, which is not carried out here; "
            "merge or export the adapter without it."
        )


def write_adapter(
    model: PeftModel, folder: Path, tensors: dict[str, Tensor] | None = None, *, write: bool = True, **fields: Any
) -> None:
    """Tensors and config in PEFT's format; `tensors` and `fields` replace what PEFT would write.

    All ranks call it, because sharded tensors are gathered; only the one with `write` writes.
    """
    state = tensors if tensors is not None else get_peft_model_state_dict(model, adapter_name=ADAPTER)
    whole = {name: t.full_tensor() if isinstance(t, DTensor) else t for name, t in state.items()}
    if not write:
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in whole.items()}, folder / WEIGHTS)
    config = model.peft_config[ADAPTER]
    kept = {name: getattr(config, name) for name in (*fields, "inference_mode")}
    try:
        for name, value in {**fields, "inference_mode": True}.items():
            setattr(config, name, value)
        config.save_pretrained(str(folder))
    finally:
        for name, value in kept.items():
            setattr(config, name, value)
