"""A frozen vision transformer that makes one vector of a picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from funneltune.backbones.origin import origin_of
from funneltune.backbones.resolve import BROKEN_FILES, MAKES_NO_MODEL, _plain, _quiet
from funneltune.backbones.trust import check_home, field_faults
from funneltune.errors import ConfigError, is_out_of_memory

VisionPooling = Literal["pooler", "cls", "mean"]
PIXELS = "pixel_values"


@dataclass(frozen=True)
class Vision:
    """A vision backbone by name: ViT, DINOv2, or the picture side of CLIP and SigLIP. No weight of it ever moves.

    Pictures are read as the model's own preprocessor_config.json says (resize, crop, normalise), by PIL.

    Args:
        name: A local folder or a hub id. Weights are safetensors; code that lies beside them is never run.
        revision: The hub's commit, 40 letters; a branch or tag, or None (the newest), may be another one tomorrow.
        pretrained: False draws random weights (controls, tests): from `architecture`, which then names `model_type`.
        architecture: Fields of the model's config.
        pooling: `pooler` (the model's own, as CLIP and SigLIP were trained), the first token's vector (`cls`), or the
            `mean` of the last layer.
        images: Pictures of the log to read; None: all that `data.features.images` lists.
        batch: Pictures that are encoded together.
        seed: Of random weights.

    Raises:
        ConfigError: when weights are missing, damaged, incomplete or need code from elsewhere, or there is no picture
            side.
    """

    name: str
    revision: str | None = None
    pretrained: bool = True
    architecture: Mapping[str, Any] = field(default_factory=dict)
    pooling: VisionPooling = "cls"
    images: Sequence[str] | None = None
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse words that nothing knows, and fields that would fetch code."""
        if "://" in self.name:
            raise ConfigError(f"vision.name={self.name!r} is a URL; give a local folder or a hub id, OWNER/NAME.")
        if faults := list(field_faults(dict(self.architecture), "vision.architecture")):
            raise ConfigError("; ".join(faults) + ".")
        if self.pooling not in get_args(VisionPooling):
            raise ConfigError(f"vision.pooling={self.pooling!r} must be {', '.join(get_args(VisionPooling))}.")
        if not self.pretrained and "model_type" not in self.architecture:
            raise ConfigError(
                "vision.pretrained=false draws random weights from vision.architecture, which must name model_type "
                "(vit, dinov2, clip_vision_model, siglip_vision_model)."
            )
        if self.batch < 1:
            raise ConfigError(f"vision.batch={self.batch} must be >= 1.")

    def origin(self) -> dict[str, Any]:
        """Where its files come from, and whether they are pinned; nowhere where weights are drawn."""
        return origin_of(self.name, self.revision) if self.pretrained else {}

    def key(self) -> str:
        """A sha256 of the weights, of how pictures are read, and of the pooling."""
        return _opened(*self._asked()).key

    def encode(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(pictures, width): of RGB pictures (height, width, 3), of any size."""
        opened = _opened(*self._asked())
        parts = [opened(pictures[start : start + self.batch]) for start in range(0, len(pictures), self.batch)]
        return np.concatenate(parts)

    def _asked(self) -> tuple[Any, ...]:
        fields = json.dumps(_plain(self.architecture), sort_keys=True)
        return self.name, self.revision, self.pretrained, fields, self.pooling, self.seed


@dataclass(frozen=True)
class NoVision:
    """No picture is read."""

    images: Sequence[str] | None = ()

    def __post_init__(self) -> None:
        """Whatever is asked for."""
        object.__setattr__(self, "images", ())


class _Opened:
    """A model and its reading, in evaluation mode."""

    def __init__(self, model: nn.Module, processor: Any, pooling: VisionPooling) -> None:
        self.model, self.processor, self.pooling = model.eval().requires_grad_(False), processor, pooling
        told = hashlib.sha256(f"{pooling} {sorted(processor.to_dict().items())!r}".encode())
        for name, tensor in sorted(model.state_dict().items()):
            told.update(f"{name} {tuple(tensor.shape)}".encode())
            told.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self.key = told.hexdigest()

    @torch.no_grad()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        read = self.processor(list(pictures), return_tensors="pt", input_data_format="channels_last")
        found = self.model(**{PIXELS: read[PIXELS].float()})
        states: Tensor = found.last_hidden_state
        if self.pooling == "pooler":
            return np.asarray(found.pooler_output.float().numpy())
        pooled = states[:, 0] if self.pooling == "cls" else states.mean(dim=1)
        return np.asarray(pooled.float().numpy())


@lru_cache(maxsize=2)
def _opened(
    name: str,
    revision: str | None,
    pretrained: bool,
    architecture: str,
    pooling: VisionPooling,
    seed: int,
) -> _Opened:
    """The model, once per process; `architecture` in JSON."""
    fields: dict[str, Any] = json.loads(architecture)
    with _quiet():
        if pretrained:
            model, processor = _pretrained(name, revision, pooling, fields)
        else:
            model, processor = _random(fields, seed)
    model = getattr(model, "vision_model", model)  # of CLIP and SigLIP the picture side alone
    if getattr(model, "main_input_name", PIXELS) != PIXELS or not hasattr(model, "forward"):
        raise ConfigError(f"vision.name={name!r} reads no pictures; choose a ViT, DINOv2, CLIP or SigLIP model.")
    return _Opened(model, processor, pooling)


def _pretrained(
    name: str, revision: str | None, pooling: VisionPooling, fields: Mapping[str, Any]
) -> tuple[nn.Module, Any]:
    """A model and its preprocessor from their home.

    Raises:
        ConfigError: if they are not there, or weights that are read are missing.
    """
    if fields:
        raise ConfigError(
            f"vision.architecture has {', '.join(fields)}, and pretrained weights fix it; set vision.pretrained=false."
        )
    check_home(name, revision, "vision.name")
    trusted: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        model, loaded = AutoModel.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **trusted
        )
        processor = AutoImageProcessor.from_pretrained(name, backend="pil", **trusted)
    except (ImportError, *BROKEN_FILES) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join((str(error).strip() or type(error).__name__).split())[:200]
        raise ConfigError(
            f"vision.name={name!r} has no weights here ({reason}); name a local folder that holds config.json, "
            "preprocessor_config.json and model.safetensors, or allow the hub (HF_HUB_OFFLINE=0)."
        ) from None
    missing = [key for key in sorted(loaded["missing_keys"]) if pooling == "pooler" or "pooler" not in key]
    if missing:
        raise ConfigError(
            f"vision.name={name!r} lacks the weight {missing[0]!r}, which would be random; choose another model"
            + (", or vision.pooling=cls." if "pooler" in missing[0] else ".")
        )
    return model, processor


def _random(fields: Mapping[str, Any], seed: int) -> tuple[nn.Module, Any]:
    """A model drawn by the seed, with ViT's preprocessing at its size."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    given = dict(fields)
    try:
        config = AutoConfig.for_model(given.pop("model_type"), **given)
        size = int(config.image_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32)
    except MAKES_NO_MODEL as error:
        if is_out_of_memory(error):
            raise
        told = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"vision.architecture makes no vision model ({told}); see configs/vision/tiny.yaml."
        ) from None
    return model, ViTImageProcessorPil(size={"height": size, "width": size})
