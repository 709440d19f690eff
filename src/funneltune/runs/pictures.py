"""Which pictures a run reads, and by which vision backbone."""

from __future__ import annotations

from omegaconf import DictConfig

from funneltune.backbones import Vision
from funneltune.errors import ConfigError
from funneltune.runs.targets import build


def vision_of(cfg: DictConfig) -> Vision | None:
    """The config's vision backbone; None where no picture is read, as in runs from before there were any."""
    found = build(cfg.vision) if cfg.get("vision") else None
    return found if isinstance(found, Vision) else None


def pictures_of(cfg: DictConfig) -> tuple[str, ...]:
    """The pictures that the vision backbone reads: those that it names, else all that the log offers.

    Raises:
        ConfigError: if there are none.
    """
    vision = vision_of(cfg)
    if vision is None:
        return ()
    offered = (cfg.data.get("features") or {}).get("images") or ()
    found = tuple(str(name) for name in (offered if vision.images is None else vision.images))
    if not found:
        raise ConfigError(
            "vision: this log offers no pictures (data.features.images is empty); map them as data.source.images, or "
            "set vision=none."
        )
    return found
