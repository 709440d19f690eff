"""Which code a config may name, and the one call that builds it.

A dotted name that is merely followed leads anywhere: `torch.optim.lr_scheduler.warnings.sys` begins with an honest
prefix. So a target is looked up in the public names of a few packages, never traversed, and nothing else is imported.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from operator import attrgetter
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from funneltune.errors import ConfigError, FunnelError, is_out_of_memory

TRUST = "FUNNELTUNE_TRUST"
"""Environment variable: packages that the user vouches for, `mine` or `mine,other.part`. A config cannot set it."""
ROOMS = tuple(
    f"funneltune.{room}"
    for room in ("data", "backbones", "features", "heads", "objectives", "tuning", "modules", "callbacks")
)
OPTIMIZERS, CALLBACKS, LOGGERS = "torch.optim", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"
TRAINERS = ("lightning.Trainer", "lightning.pytorch.Trainer")
LEFT_OUT = {
    **dict.fromkeys(
        (
            *("BackboneFinetuning", "LambdaCallback", "ModelPruning", "ThroughputMonitor"),
            *("StochasticWeightAveraging", "WeightAveraging"),
        ),
        "it calls whatever function its arguments name",
    ),
    **dict.fromkeys(("BatchSizeFinder", "LearningRateFinder"), "it loads a checkpoint while it searches"),
    **dict.fromkeys(("CometLogger", "LitLogger"), "it uploads, and blanks no secret"),
    "WandbLogger": "it uploads, and blanks no secret; funneltune.callbacks.wandb_logger does",
}
"""Lightning's public names that a config may not use."""
KEYWORDS = {
    "_partial_": (True, False),
    "_recursive_": (True, False),
    "_convert_": ("none", "partial", "object", "all"),
}
"""Hydra's own keys beside a `_target_`, and their values. `_args_` would hide arguments from every check."""


def target_faults(node: Any, path: str = "") -> Iterator[str]:
    """What is not allowed in plain data, resolved, at any depth; one sentence each."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from target_faults(item, f"{path}[{index}]")
    elif isinstance(node, str) and "${" in node:
        yield f"{path}={node!r} would be read as an interpolation again, after the check; write it without ${{"
    elif isinstance(node, dict):
        if "_target_" in node:
            yield from _node_faults(node, path or "config")
        for key, value in node.items():
            if key != "_target_":
                yield from target_faults(value, f"{path}.{key}" if path else str(key))


def build(node: DictConfig, **arguments: Any) -> Any:
    """Hydra's `instantiate` behind the check, on the very values that were checked.

    Raises:
        ConfigError: if the node names what it may not.
    """
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    path = str(node._get_full_key(None) or "")
    if faults := list(target_faults(plain, path)):
        raise ConfigError("; ".join(faults))
    with told_of(node, path):
        return instantiate(plain, **arguments)


def made(node: DictConfig, **arguments: Any) -> Any:
    """What a node with `_partial_: true` makes of the arguments that only a run knows.

    Raises:
        ConfigError: likewise, or if the part refuses what the node gives it.
    """
    complete = build(node)
    with told_of(node, str(node._get_full_key(None) or "")):
        return complete(**arguments)


@contextmanager
def told_of(node: DictConfig, path: str) -> Iterator[None]:
    """A part's own errors while it is made (a TypeError for three of four betas) are about what the config gave it. A
    user's own part keeps its traceback.

    Raises:
        ConfigError: with the part's key.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, FunnelError):
            raise cause from None
        if is_out_of_memory(cause) or is_vouched_for(str(node.get("_target_"))):
            raise
        told = " ".join(str(cause).split()) or type(cause).__name__
        if path == "trainer" and "gpu backend" in told:
            told += " trainer=cpu needs none."
        raise ConfigError(f"{path or node.get('_target_')} cannot be made as the config says: {told}") from error


def allowed_names() -> list[str]:
    """Every name that a config may give as a target, without the packages that the user vouches for."""
    packages = (*ROOMS, OPTIMIZERS, CALLBACKS, LOGGERS)
    return [*(f"{package}.{name}" for package in packages for name in sorted(_offered(package))), *TRAINERS]


def is_vouched_for(target: str) -> bool:
    """Whether a target is the user's own, of a package that FUNNELTUNE_TRUST names."""
    return any(target.startswith(f"{prefix}.") for prefix in vouched_for())


def _node_faults(node: dict[Any, Any], path: str) -> Iterator[str]:
    target = node["_target_"]
    reason = f"a target is a dotted name, not {type(target).__name__}" if not isinstance(target, str) else None
    if isinstance(target, str):
        reason = _refusal(target)
    if reason is not None:
        yield f"{path}._target_={target!r} is not allowed: {reason}"
    for key, value in node.items():
        if not re.fullmatch(r"_\w*_", str(key)) or key == "_target_":
            continue
        if key not in KEYWORDS:
            yield f"{path}.{key} is no key beside a _target_; of Hydra's own, {', '.join(KEYWORDS)} are; name arguments"
        elif not any(value is one or (isinstance(one, str) and value == one) for one in KEYWORDS[key]):
            yield f"{path}.{key}={value!r} must be one of {', '.join(map(str, KEYWORDS[key]))}"


def _refusal(target: str) -> str | None:
    """Why a name may not be a target; None where it may."""
    package, _, name = target.rpartition(".")
    if target in TRAINERS or (package in (*ROOMS, OPTIMIZERS, CALLBACKS, LOGGERS) and name in _offered(package)):
        return None
    for prefix in vouched_for():
        if target.startswith(f"{prefix}."):
            return _not_vouched(target, prefix)
    if package in (CALLBACKS, LOGGERS) and name in LEFT_OUT:
        return LEFT_OUT[name]
    near = difflib.get_close_matches(target, allowed_names(), n=1, cutoff=0.75)
    return (
        "it is no public name of funneltune's rooms, no optimizer of torch.optim, no callback or logger of Lightning"
        + (f" (nearest: {near[0]})" if near else "")
        + f"; to use code of your own, set {TRUST}=PACKAGE in the environment"
    )


@cache
def _offered(package: str) -> frozenset[str]:
    """The public names of an allowed package that can be called: no module, no protocol, none that is left out."""
    module = importlib.import_module(package)
    found = set()
    for name in module.__all__:
        thing = getattr(module, name, None)
        if not callable(thing) or getattr(thing, "_is_protocol", False) or name in LEFT_OUT:
            continue
        if package != OPTIMIZERS or (inspect.isclass(thing) and hasattr(thing, "load_state_dict")):
            found.add(name)
    return frozenset(found)


def vouched_for() -> tuple[str, ...]:
    """The packages that FUNNELTUNE_TRUST names.

    Raises:
        ConfigError: if one is no dotted name, or is Python's own.
    """
    prefixes = tuple(part.strip() for part in os.environ.get(TRUST, "").split(",") if part.strip())
    for prefix in prefixes:
        if not all(part.isidentifier() for part in prefix.split(".")):
            raise ConfigError(f"{TRUST}: {prefix!r} is no package's dotted name; write {TRUST}=mypackage,other.")
        if prefix.partition(".")[0] in sys.stdlib_module_names:
            raise ConfigError(f"{TRUST}: {prefix!r} is Python's own and holds os.system; name your package.")
    return prefixes


def _not_vouched(target: str, prefix: str) -> str | None:
    """Why a name in a trusted package is not one of its own; None where it is."""
    home, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(home), name)
        # Hydra follows attributes where we import: they must lead to the same thing.
        same = attrgetter(target.partition(".")[2])(sys.modules[target.partition(".")[0]]) is found
    except Exception as error:  # whatever the user's own package raises while it is imported
        return f"{TRUST} vouches for {prefix}, but it cannot be imported ({type(error).__name__}: {error})"
    origin = getattr(found, "__module__", None)
    own = isinstance(origin, str) and (origin == prefix or origin.startswith(f"{prefix}."))
    if not (own and same and callable(found)) or inspect.ismodule(found):
        return f"{TRUST} vouches for what {prefix} defines, and this is defined in {origin or 'another module'}"
    return None
