"""The trained tensors of a run as safetensors, with a manifest that says how to rebuild the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from funneltune.errors import RunError
from funneltune.files import require_space, sha256_of, told_write_faults, whole_file, write_text
from funneltune.modules import FunnelModule

TENSORS, MANIFEST = "trained.safetensors", "manifest.json"


def _above(module: FunnelModule) -> dict[str, nn.Module]:
    parts = {"head": module.head, "interaction": module.interaction, "scales": module.scales}
    return parts | ({"features": module.features} if len(module.features) else {})


def save_weights(module: FunnelModule, folder: Path, *, write: bool = True) -> int:
    """Write what training changed in backbone, head and interaction. Returns the bytes written.

    All ranks call it, because sharded tensors are gathered; only the one with `write` writes.
    """
    named = {f"backbone.{name}": t for name, t in module.tuning.export(module.encoder.backbone).items()}
    for prefix, part in _above(module).items():
        named |= {f"{prefix}.{name}": t for name, t in part.state_dict().items()}
    tensors = {name: _whole(t).detach().cpu().contiguous() for name, t in named.items()}
    if not write:
        module.tuning.export_peft(folder / "peft", write=False)
        return 0
    require_space(folder, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
    with told_write_faults(folder):
        (folder / MANIFEST).unlink(missing_ok=True)  # of an attempt that was interrupted; it is written last
        folder.mkdir(parents=True, exist_ok=True)
        module.tuning.export_peft(folder / "peft")
    with whole_file(folder / TENSORS) as aside:
        try:
            save_file(tensors, aside)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "tuning": module.tuning.name,
        "rank_pattern": module.tuning.rank_pattern(),
        "files": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def read_weights(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """The tuning method that `save_weights` wrote down, and the tensors, by part and name.

    Raises:
        RunError: if a file is missing or damaged (its sha256 differs).
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        method, expected = str(manifest["tuning"]), manifest["files"][TENSORS]
        if sha256_of(folder / TENSORS) != expected:
            raise RunError(f"{folder}/{TENSORS} is damaged: its sha256 is not the manifest's; train it anew.")
        return method, load_file(folder / TENSORS)
    except FileNotFoundError as error:
        raise RunError(f"{error.filename} is missing: the run has no weights; train it again.") from None
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise RunError(f"{folder} holds unreadable weights ({error}); restore them or train again.") from None


def load_weights(module: FunnelModule, folder: Path) -> None:
    """Bring a freshly assembled module to the state that `save_weights` wrote.

    Raises:
        RunError: if a file is missing, damaged (its sha256 differs), or belongs to another architecture.
    """
    _, tensors = read_weights(folder)
    parts: dict[str, dict[str, Any]] = {"backbone": {}, **{prefix: {} for prefix in _above(module)}}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix not in parts:
            raise RunError(f"{folder} does not fit the run's config: it holds {name}, which this run has no part for.")
        parts[prefix][rest] = tensor
    try:
        module.tuning.restore(module.encoder.backbone, parts.pop("backbone"))
        for prefix, part in _above(module).items():
            part.load_state_dict(parts[prefix])
    except RuntimeError as error:
        told = " ".join(str(error).split())[:200]  # torch names the tensors and their shapes below its first line
        raise RunError(f"{folder} does not fit the run's config: {told}") from None
