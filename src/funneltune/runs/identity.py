"""What a run is: its config as plain data, the config's hash, the code's commit, the versions that made it."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

PACKAGES = ("funneltune", "torch", "lightning", "transformers", "peft", "hydra-core", "numpy", "wandb")
WHERE_NOT_WHAT = ("run_dir", "logger", "study", "callbacks")
"""Top-level keys that say where a run goes or how it is watched, not what it computes."""


def as_plain(cfg: DictConfig) -> dict[str, Any]:
    """The config, resolved, as dictionaries and lists."""
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def config_hash(cfg: DictConfig) -> str:
    """sha256 of what decides a run's result; equal hashes mean the same run."""
    plain = {key: value for key, value in as_plain(cfg).items() if key not in WHERE_NOT_WHAT}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


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
