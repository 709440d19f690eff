"""Config faults found before anything is built, all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from funneltune.errors import ConfigError
from funneltune.runs.identity import as_plain

ALLOWED_TARGETS = ("funneltune.", "torch.optim.", "lightning.pytorch.callbacks.", "lightning.pytorch.loggers.")
ALLOWED_EXACTLY = ("lightning.Trainer", "lightning.pytorch.Trainer")
BASELINES = ("bm25", "cosine", "popularity", "trees")


def check_config(cfg: DictConfig) -> None:
    """Refuse a config that cannot run.

    Raises:
        ConfigError: with every fault found, one sentence each, joined by `; `.
    """
    plain = as_plain(cfg)
    faults = [*_targets(plain, ""), *_values(plain)]
    if faults:
        raise ConfigError("; ".join(faults))


def _targets(node: Any, path: str) -> Iterator[str]:
    """A config can name code: only the allow-listed is ever imported."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _targets(item, f"{path}[{index}]")
    if not isinstance(node, dict):
        return
    target = node.get("_target_")
    if target is not None and not (str(target).startswith(ALLOWED_TARGETS) or target in ALLOWED_EXACTLY):
        yield (
            f"{path or 'config'}._target_={target!r} is not allowed; "
            f"it must begin with {', '.join(ALLOWED_TARGETS)} or be lightning.Trainer"
        )
    for key, value in node.items():
        yield from _targets(value, f"{path}.{key}" if path else str(key))


def _values(plain: dict[str, Any]) -> Iterator[str]:
    seed = plain.get("seed")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        yield f"seed={seed!r} must be a whole number in [0, 2**32); set seed=0"
    if plain.get("select") not in {"last", "best"}:
        yield f"select={plain.get('select')!r} must be last or best"
    monitor = str(plain.get("monitor"))
    if not monitor.startswith("validation/"):
        yield f"monitor={monitor!r} must be a validation metric (validation/...): the test split never selects a model"
    for name in plain.get("baselines") or []:
        if name not in BASELINES:
            yield f"baselines: {name!r} is not one of {', '.join(BASELINES)}"
    optimizer, tuning = plain.get("optimizer") or {}, plain.get("tuning") or {}
    for field, rate in (("optimizer.lr", optimizer.get("lr")), ("tuning.learning_rate", tuning.get("learning_rate"))):
        if rate is not None and (not isinstance(rate, (int, float)) or not rate > 0):
            yield f"{field}={rate!r} must be a number above 0"
    for field, least in (("rows_per_batch", 1), ("eval_rows_per_batch", 1), ("max_tokens", 4), ("workers", 0)):
        value = (plain.get("data") or {}).get(field)
        if value is not None and (not isinstance(value, int) or value < least):
            yield f"data.{field}={value!r} must be a whole number >= {least}"
