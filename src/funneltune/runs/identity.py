"""What a run is: its config as plain data, the config's hash, the code's commit, the versions that made it."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from funneltune.records import as_json

PACKAGES = ("funneltune", "torch", "lightning", "transformers", "peft", "hydra-core", "numpy", "wandb")
WHERE_NOT_WHAT = (
    *("run_dir", "logger", "study", "search", "callbacks", "resume", "resume_changes", "gradients_every"),
    "calibration",
)
"""Top-level keys that say where a run goes, how it is watched or how it is used, not what it computes."""
OFF = {
    "balancing": "funneltune.objectives.Fixed",
    "adversary": "funneltune.modules.FGM",
    "privacy": "funneltune.modules.NoPrivacy",
}
"""Parts that may be absent -> what stands for their absence (an adversary with an epsilon of 0)."""
SHARING = ("sharing", "adapters")
"""Keys of `tuning` that may be absent where tasks share the tuned weights."""
DECIDING_CALLBACKS = ("funneltune.callbacks.StopEarly", "lightning.pytorch.callbacks.EarlyStopping")
"""Callbacks that do change what a run computes."""


def as_plain(cfg: DictConfig) -> dict[str, Any]:
    """The config, resolved, as dictionaries and lists."""
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def what_decides(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a plain config that decides a run's result."""
    kept = {key: value for key, value in plain.items() if key not in WHERE_NOT_WHAT}
    if kept.get("test") is True:  # the rule; runs from before there was the key have its hash
        del kept["test"]
    for key, target in OFF.items():  # likewise
        if _target(kept.get(key)) == target and not kept[key].get("epsilon"):
            del kept[key]
    tuning = kept.get("tuning")
    if isinstance(tuning, dict):
        off = [
            *(SHARING if tuning.get("sharing", "shared") == "shared" else ()),
            *([] if tuning.get("start") else ["start"]),
        ]
        kept["tuning"] = {key: value for key, value in tuning.items() if key not in off}
    data = kept.get("data")
    if isinstance(data, dict) and data.get("pseudonyms", ...) is None:  # likewise
        kept["data"] = {key: value for key, value in data.items() if key != "pseudonyms"}
    backbone = kept.get("backbone")
    if isinstance(backbone, dict) and backbone.get("sha256"):  # which tells the weights; revisions came later
        kept["backbone"] = {**backbone, "revision": None}
    for key in ("pretraining", "start"):
        if not kept.get(key):
            kept.pop(key, None)
    callbacks = plain.get("callbacks") or {}
    deciding = {k: v for k, v in callbacks.items() if isinstance(v, dict) and v.get("_target_") in DECIDING_CALLBACKS}
    return kept | ({"callbacks": deciding} if deciding else {})


def _target(node: Any) -> Any:
    return node.get("_target_") if isinstance(node, dict) else None


def config_hash(cfg: DictConfig) -> str:
    """sha256 of what decides a run's result; equal hashes mean the same run."""
    return hashlib.sha256(json.dumps(what_decides(as_plain(cfg)), sort_keys=True, default=str).encode()).hexdigest()


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Key -> `tuning.target_rank was 4, is 8`, of all that decides a run's result and differs between two configs."""
    before, after = _flat(as_json(what_decides(then))), _flat(as_json(what_decides(now)))
    return {
        key: f"{key} was {before.get(key, 'absent')}, is {after.get(key, 'absent')}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, "absent") != after.get(key, "absent")
    }


def dotted(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a plain config, dotted; a mapping before its own keys."""
    for key, child in config.items():
        yield f"{prefix}{key}"
        if isinstance(child, Mapping):
            yield from dotted(child, f"{prefix}{key}.")


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix[:-1]: node}
    return {k: v for key, child in node.items() for k, v in _flat(child, f"{prefix}{key}.").items()}


def git_commit() -> str | None:
    """Commit of the source tree that funneltune runs from, `+changes` appended where it is dirty; None if installed."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers, and the machine's threads."""
    found = {"python": platform.python_version(), "threads": str(torch.get_num_threads())}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
