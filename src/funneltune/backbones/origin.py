"""Where a model's files come from: a folder, a package, or a commit of the hub, which may be pinned or move."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers.utils import cached_file

from funneltune.errors import ConfigError

COMMIT = re.compile(r"[0-9a-f]{40}")
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def lies_here(name: str, revision: str | None = None) -> bool:
    """Whether a name is a local folder, or a hub id whose files are cached (at that revision)."""
    return Path(name).is_dir() or _cached(name, revision) is not None


def _cached(name: str, revision: str | None) -> Path | None:
    try:
        found = try_to_load_from_cache(name, CONFIG, revision=revision)
    except ValueError:  # no hub id at all
        return None
    return Path(found) if isinstance(found, str) else None


def is_pinned(revision: str | None) -> bool:
    """Whether a revision names one commit, and not a branch or tag, which move."""
    return revision is not None and COMMIT.fullmatch(revision) is not None


def origin_of(
    name: str, revision: str | None = None, package: str | None = None, sha256: str | None = None
) -> dict[str, Any]:
    """Where a model comes from, for a run's record: `from` (folder, package, hub), its name, the hub's commit or the
    weights' sha256, and whether that is pinned.

    Args:
        name: A local folder or a hub id.
        revision: The hub's, as the config has it.
        package: The installed one that stands in for the hub.
        sha256: Of the weights, where the config tells it.
    """
    found: dict[str, Any] = {"name": name}
    if Path(name).is_dir():
        return {**found, "from": "folder", "pinned": True}
    if package is not None:
        return {**found, "from": "package", "package": package, "sha256": sha256, "pinned": sha256 is not None}
    commit = _commit(_cached(name, revision)) or revision
    return {**found, "from": "hub", "revision": revision, "commit": commit, "pinned": is_pinned(revision)}


def _commit(cached: Path | None) -> str | None:
    """Of `cache/models--OWNER--NAME/snapshots/COMMIT/config.json`; where the weights lie in another snapshot (the hub's
    conversion of a model that has no safetensors), that one, the latest.
    """
    if cached is None or not COMMIT.fullmatch(cached.parent.name):
        return None
    converted = sorted(cached.parent.parent.glob(f"*/{WEIGHTS}"), key=lambda path: path.lstat().st_mtime)
    return cached.parent.name if (cached.parent / WEIGHTS).exists() or not converted else converted[-1].parent.name


def unpinned(part: str, origin: dict[str, Any]) -> str | None:
    """What to say of a model whose next download may be another; None where it is pinned."""
    if origin.get("pinned", True):
        return None
    if origin["from"] == "package":
        return f"{part}.sha256=null: the weights in {origin['package']} are taken as they are; name their sha256"
    commit = origin["commit"] if is_pinned(origin["commit"]) else None
    remedy = f"{part}.revision={commit}" if commit else f"{part}.revision=COMMIT, its 40 letters"
    return (
        f"{part}.revision={origin['revision']}: {origin['name']} may be another at its next download; pin it, {remedy}"
    )


@cache
def require_sum(name: str, revision: str | None, sha256: str) -> None:
    """Refuse weights of the hub with another sha256.

    Raises:
        ConfigError: naming both.
    """
    found = cached_file(name, WEIGHTS, revision=revision, _raise_exceptions_for_missing_entries=False)
    if found is None:  # in several files, or in none: loading says so
        return
    with Path(found).open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise ConfigError(
            f"backbone.name={name!r}: {WEIGHTS} has sha256 {actual[:12]}..., not {sha256[:12]}... "
            "(backbone.sha256); the file is damaged or another model's: remove it from the hub's cache, or set "
            "sha256=null."
        )
