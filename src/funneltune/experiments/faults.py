"""Faults of a config that its composition cannot see, and of the objects that it builds, told as a user's errors."""

from __future__ import annotations

import difflib
import errno
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig

from funneltune.errors import ConfigError, FunnelError, is_out_of_memory
from funneltune.metrics import evaluate

DATA_NODES = ("path", "source", "tasks", "split", "features", "pseudonyms")
"""Keys of the data group beside the datamodule's arguments."""
NEEDED = ("source", "tasks", "split", "texts")


def check(cfg: DictConfig) -> None:
    """Refuse a config that cannot run: `runs.check_config`, then every argument that its target does not take.

    Raises:
        ConfigError: with all faults found.
    """
    from funneltune.runs import check_config
    from funneltune.runs.assemble import DATA_ARGUMENTS, TRAINER_ARGUMENTS
    from funneltune.runs.identity import as_plain

    check_config(cfg)  # first: only allow-listed targets are imported below
    plain = as_plain(cfg)
    faults = [
        f"data.{key} is missing; the README shows a whole data config" for key in NEEDED if key not in plain["data"]
    ]
    faults += [_unknown(f"data.{key}", str(key), (*DATA_NODES, *DATA_ARGUMENTS)) for key in _foreign(plain["data"])]
    known = [name for name in inspect.signature(evaluate).parameters if name not in ("columns", "funnel")]
    faults += [_unknown(f"metrics.{key}", str(key), known) for key in plain["metrics"] if key not in known]
    trainer = plain.get("trainer") or {}
    theirs = {key: value for key, value in trainer.items() if key not in TRAINER_ARGUMENTS}
    faults += _arguments({**plain, "trainer": theirs}, "")
    if faults:
        raise ConfigError("; ".join(faults))


def user_fault(error: Exception) -> FunnelError | None:
    """What the user can mend in an error: ours, if Hydra wrapped one while it built an object; memory that was not
    there; a name that no file system takes; else None.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FunnelError):
            return cause
        if is_out_of_memory(cause):
            from funneltune.runs.out_of_memory import no_memory

            return no_memory(cause)
        if isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG:
            return ConfigError(f"{str(cause.filename)[:80]}... is no path: its name is too long; give a shorter one.")
        if not isinstance(cause, InstantiationException):
            return None
        cause = cause.__cause__
    return None


def _foreign(data: dict[str, Any]) -> list[str]:
    from funneltune.runs.assemble import DATA_ARGUMENTS

    return [key for key in data if key not in (*DATA_NODES, *DATA_ARGUMENTS)]


def _arguments(node: Any, path: str) -> Iterator[str]:
    """Keys beside a `_target_` that its signature does not name."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _arguments(item, f"{path}[{index}]")
    if not isinstance(node, dict):
        return
    if isinstance(target := node.get("_target_"), str):
        known = _parameters(target)
        if known is None:
            yield f"{path}._target_={target} cannot be imported; check its spelling"
        elif "**" not in known:
            given = [key for key in node if not re.fullmatch(r"_\w+_", str(key))]
            yield from (_unknown(f"{path}.{key}", str(key), known) for key in given if key not in known)
    for key, value in node.items():
        yield from _arguments(value, f"{path}.{key}" if path else str(key))


def _parameters(target: str) -> tuple[str, ...] | None:
    """Names of a callable's arguments; `**` among them where it takes any; None where there is no such callable."""
    parts = target.split(".")
    found: Any = None
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        break
    if not callable(found):
        return None
    parameters = inspect.signature(found).parameters.values()
    return tuple("**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters)


def _unknown(where: str, key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"{where} is no key" + (f" (nearest: {where.rpartition('.')[0]}.{near[0]})" if near else "")
