"""The tuned backbone as a Hugging Face folder: no peft, no funneltune, and any later run's `backbone.name`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from funneltune.backbones import Backbone, Encoder
from funneltune.backbones.language import write_backbone
from funneltune.decisions.export.checking import Rows, TestRows
from funneltune.runs import Assembly
from funneltune.runs.targets import build
from funneltune.schema import SHARED

ADAPTERS = "adapters.safetensors"
"""What `tuning.start` takes up."""


def refusal(assembly: Assembly) -> str | None:
    """Why a run has no backbone to be written; None where it has one."""
    module, tuning = assembly.module, assembly.module.tuning
    if not isinstance(module.encoder, Encoder):
        return "backbone=none: there is no backbone to merge"
    if not tuning.pretrains:
        return f"tuning={tuning.name} has no place in the backbone's own weights, and cannot be merged"
    if tuning.sharing == "mixture":
        return "tuning.sharing=mixture: a text's vector is a mixture of several sets, which no single backbone computes"
    if tuning.sharing == "per_task" and tuning.pretrains != "merged":
        return f"tuning.sharing=per_task: sets of tuning={tuning.name} adapters are not merged"
    return None


def merge(assembly: Assembly) -> bool:
    """Make what training moved a part of the backbone's own weights, where it is one set of such; whether it is.

    The run computes the same afterwards, in fewer products.
    """
    encoder, tuning = assembly.module.encoder, assembly.module.tuning
    if not isinstance(encoder, Encoder) or encoder.sets is not None or tuning.pretrains != "merged":
        return False
    tuning.merge()
    return True


def write_merged(assembly: Assembly, folder: Path, again: Callable[[], Assembly]) -> dict[str, Path]:
    """Write the backbone: one folder, or one per task below it. Returns the folders by whom they serve.

    Args:
        assembly: The run, its update merged (`merge`) where tasks share it.
        folder: To be made.
        again: Loads the run anew, for the sets of each task.
    """
    encoder, tuning, backbone = assembly.module.encoder, assembly.module.tuning, assembly.backbone
    assert isinstance(encoder, Encoder)
    assert isinstance(backbone, Backbone)
    if tuning.pretrains == "start":
        folder.mkdir(parents=True)
        tensors = {name: t.detach().clone().contiguous() for name, t in tuning.export(encoder.backbone).items()}
        save_file(tensors, folder / ADAPTERS)
        torch.manual_seed(assembly.cfg.seed)  # as the run drew it, where nothing was pretrained
        write_backbone(backbone.model(), backbone, folder)
        return {SHARED: folder}
    if encoder.sets is None:
        write_backbone(encoder.backbone, backbone, folder)
        return {SHARED: folder}
    found = {}
    for label in encoder.sets.labels:
        one = again()
        assert isinstance(one.module.encoder, Encoder)
        assert one.module.encoder.sets is not None
        with one.module.encoder.sets.placed(label):
            one.module.tuning.merge()
            write_backbone(one.module.encoder.backbone, backbone, folder / label)
        found[label] = folder / label
    return found


def predicted_by_merged(assembly: Assembly, folders: dict[str, Path], rows: TestRows) -> Rows:
    """What the run's head says on the vectors of the folders' backbones."""
    assert isinstance(assembly.backbone, Backbone)
    encoders = {}
    for view, folder in folders.items():
        home = replace(
            assembly.backbone,
            name=str(folder.resolve()),
            revision=None,
            fallback=None,
            sha256=None,
            pretrained=True,
            architecture={},
        )
        encoders[view] = home.encoder().eval()
        if (folder / ADAPTERS).is_file():
            node = {**assembly.cfg.tuning, "start": str(folder / ADAPTERS)}
            build(type(assembly.cfg)(node)).apply(encoders[view].backbone)
            encoders[view].eval()
    return rows.predicted(lambda batch: assembly.module.score(batch, {v: e(batch.texts) for v, e in encoders.items()}))
