"""Hydra's own node in a study: what of it could run code before the first cell is checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from funneltune.errors import ConfigError

PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")
LOGGING = ("version", "root", "disable_existing_loggers")
"""All that Hydra's `none` logging says; handlers and filters may be any callable (`()`)."""

FOREIGN = re.compile(r"\$\{(?!hydra\.)")


def check_hydra(cfg: DictConfig) -> None:
    """Refuse callbacks, logging handlers, variables and nested targets; a launcher and its numbers pass.

    Raises:
        ConfigError: with every fault found.
    """
    node = cfg.hydra
    faults = [f"hydra.callbacks.{name} would run code before any check; remove it" for name in _plain(node.callbacks)]
    for kind in ("job_logging", "hydra_logging"):
        odd = [key for key, value in _plain(node[kind]).items() if key not in LOGGING or (key == "root" and value)]
        faults += [f"hydra.{kind}.{key} may name any callable; a study logs to its cells' train.log" for key in odd]
    faults += [
        f"hydra.job.env_set.{name} is refused: a variable can run code; set it in the shell"
        for name in _plain(node.job.get("env_set"))
    ]
    for plugin in ("launcher", "sweeper"):
        plain = _plain(node[plugin])
        target = plain.pop("_target_", None)
        if not str(target).startswith(PLUGINS):
            faults.append(f"hydra.{plugin}._target_={target!r} is no plugin of Hydra; choose hydra/{plugin}=NAME")
        raw = OmegaConf.to_container(node[plugin], resolve=False)
        hidden = dict.fromkeys([*_hidden(plain, f"hydra.{plugin}"), *_outside(raw, f"hydra.{plugin}")])
        faults += [f"{path} is refused: a {plugin} takes plain values" for path in hidden]
        # A job's script is made of these: a line of its own in one of them would be run.
        lines = [where for where, value in _leaves(plain, f"hydra.{plugin}") if "\n" in f"{where}{value}"]
        faults += [f"{where!r} holds a line break, and would be a command of the job's script" for where in lines]
        for name in ("n_jobs", "cpus_per_task"):
            value = plain.get(name)
            if value is not None and (type(value) is not int or value < 1) and (name, value) != ("n_jobs", -1):
                faults.append(f"hydra.{plugin}.{name}={value!r} must be a whole number >= 1")
        if plain.get("setup"):
            faults.append(f"hydra.{plugin}.setup would run commands; run them in the shell that starts the study")
    if faults:
        raise ConfigError("; ".join(faults))


def _plain(node: Any) -> dict[str, Any]:
    """A mapping, resolved; empty where there is none."""
    found: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return {str(key): value for key, value in (found or {}).items()}


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every key and its path, those of mappings too."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield f"{path}.{key}", value
        yield from _leaves(value, f"{path}.{key}")


def _hidden(node: Any, path: str) -> Iterator[str]:
    """Targets and positional arguments below a plugin's own."""
    return (where for where, _ in _leaves(node, path) if where.endswith(("._target_", "._args_")))


def _outside(node: Any, path: str) -> Iterator[str]:
    """Interpolations of anything but Hydra's own values: one that reads the clock could change after this check."""
    return (where for where, value in _leaves(node, path) if isinstance(value, str) and FOREIGN.search(value))
