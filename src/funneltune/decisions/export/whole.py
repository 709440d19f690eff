"""The whole model in one safetensors file, with what it takes to build it again: no hub, no pickle, no run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from funneltune.backbones import Backbone, Encoder
from funneltune.data import LogDataModule
from funneltune.decisions.export.exported import MANIFEST
from funneltune.decisions.export.graphs import write_manifest
from funneltune.errors import RunError
from funneltune.files import sha256_of
from funneltune.modules import FunnelModule
from funneltune.runs import Assembly, assemble, check_config

TENSORS, CONFIG = "model.safetensors", "config.yaml"


def write_whole(assembly: Assembly, folder: Path, told: Mapping[str, Any], *, merged: bool) -> None:
    """Every tensor of backbone, interaction, features, head and scales, named by its part; tokenizer and config beside.

    `told` goes into the manifest. `merged`: the tuning method's update is in the backbone's own weights, so that
    nothing is left to tune.
    """
    folder.mkdir(parents=True)
    named = {
        f"{part}.{name}": tensor.detach().clone().contiguous()
        for part, module in _parts(assembly.module).items()
        for name, tensor in module.state_dict().items()
    }
    save_file(named, folder / TENSORS)
    cfg = assembly.cfg.copy()
    OmegaConf.set_struct(cfg, False)
    if isinstance(assembly.backbone, Backbone):
        assert isinstance(assembly.module.encoder, Encoder)
        assembly.module.encoder.backbone.config.save_pretrained(folder)
        assembly.backbone.tokenizer().save_pretrained(folder)
        home = {
            "name": ".",
            "pretrained": False,
            "architecture": {},
            "revision": None,
            "fallback": None,
            "sha256": None,
        }
        for key, value in home.items():
            cfg.backbone[key] = value
        if merged:
            cfg.tuning = {"_target_": "funneltune.tuning.Frozen"}
        for key in ("adapter", "start"):  # what training began from
            if cfg.tuning.get(key) is not None:
                cfg.tuning[key] = None
    (folder / CONFIG).write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    write_manifest(folder, {**told, "merged": merged})


def read_whole(folder: Path, data: LogDataModule | None = None) -> Assembly:
    """The model that `write_whole` left, in float32 and evaluation mode.

    Args:
        folder: `model` of an export.
        data: A datamodule to read rows with; None: the config's.

    Raises:
        RunError: if a file is missing, damaged, or fits no model.
        ConfigError: if the config asks for what it may not.
    """
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        damaged = next((n for n, wanted in told["files"].items() if sha256_of(folder / n) != wanted), None)
        if damaged is not None:
            raise RunError(f"{folder / damaged} is damaged: its sha256 is not the manifest's; export the run again.")
        cfg = OmegaConf.load(folder / CONFIG)
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RunError(f"{folder} holds no whole model ({error}); give the folder `model` of an export.") from None
    if cfg.backbone.get("name") == ".":
        cfg.backbone.name = str(folder.resolve())
    check_config(cfg)  # type: ignore[arg-type]
    assembly = assemble(cfg, data)  # type: ignore[arg-type]
    parts = _parts(assembly.module)
    try:
        for part, module in parts.items():
            own = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
            module.load_state_dict(own)
    except RuntimeError as error:
        raise RunError(f"{folder} does not fit its config: {str(error).splitlines()[0]}") from None
    assembly.module.eval()
    return assembly


def _parts(module: FunnelModule) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {"interaction": module.interaction, "features": module.features}
    found |= {"head": module.head, "scales": module.scales}
    if isinstance(module.encoder, Encoder):
        found["backbone"] = module.encoder.backbone
        if module.encoder.sets is not None:
            found["sets"] = module.encoder.sets
    return found
