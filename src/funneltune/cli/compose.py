"""Command line -> composed config, with every fault of a user's overrides reported at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from funneltune.cli.arguments import key_of, nearest_clause
from funneltune.cli.faults import Fault, explain, find_fault
from funneltune.cli.locate import PRIMARY, config_root
from funneltune.cli.own_files import check_files
from funneltune.cli.schema import KEYS, register
from funneltune.errors import ConfigError
from funneltune.secrets import secret_faults, word_faults

TOLD = (HydraException, OmegaConfBaseException, yaml.YAMLError)
"""Errors that say what they are about. Hydra and OmegaConf stumble over some overrides (a key below a null one, a list
for a group) with any of Python's own.
"""


@contextmanager
def opened() -> Iterator[None]:
    """Hydra at our configs, for as long as the block lasts."""
    register()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="hydra")
        with hydra.initialize_config_dir(str(config_root()), job_name="funneltune", version_base="1.3"):
            yield


def search_path(config_dir: Path | None) -> list[str]:
    """The override that adds a user's folder of groups."""
    return [] if config_dir is None else [f"hydra.searchpath=['file://{config_dir}']"]


def refuse_search_paths(overrides: Sequence[str]) -> None:
    """A `pkg://` search path imports, that is runs, the package it names.

    Raises:
        ConfigError: if an override sets Hydra's search path.
    """
    for override in overrides:
        if key_of(override).startswith("hydra.searchpath"):
            raise ConfigError(f"{override}: Hydra's search path may run code; name a folder with --config-dir DIR.")


def refuse_hydras_own(overrides: Sequence[str]) -> None:
    """Only what launches several runs reads Hydra's own node; elsewhere a word about it would be passed over.

    Raises:
        ConfigError: if an override is about it.
    """
    for override in overrides:
        if re.match(r"hydra(?:[./]|$)", key_of(override)):
            raise ConfigError(f"{override}: Hydra's own keys say nothing here; only `funneltune study` has a launcher.")


def compose_config(overrides: Sequence[str], config_dir: Path | None = None, *, launched: bool = False) -> DictConfig:
    """The composed config of a run; `launched`: of several, which may choose one of Hydra's launchers.

    Raises:
        ConfigError: naming every override that is wrong: nearest key, choices of a group, wanted type; or what looks
            like a secret, without its value.
    """
    if secrets := list(word_faults(overrides)):
        raise ConfigError("; ".join(secrets))
    refuse_search_paths(overrides)
    if not launched:
        refuse_hydras_own(overrides)
    check_files(config_dir)
    kept = list(overrides)
    faults: list[Fault] = []
    with opened():
        while True:
            try:
                composed = hydra.compose(PRIMARY, [*kept, *search_path(config_dir)])
                break
            except Exception as error:
                fault = find_fault(error, kept)
                if fault.override is None and not isinstance(error, TOLD):
                    fault = Fault(error, _culprit(error, kept, config_dir))
                faults.append(fault)
                if fault.override is None:
                    raise ConfigError("; ".join(explain(one, None) for one in faults)) from None
                kept.remove(fault.override)  # so that the next fault shows too
    if told := [*(explain(fault, composed) for fault in faults), *_foreign(composed)]:
        raise ConfigError("; ".join(told))
    if secrets := list(secret_faults(OmegaConf.to_container(composed, resolve=False))):
        raise ConfigError("; ".join(secrets))
    return composed


def _foreign(composed: DictConfig) -> Iterator[str]:
    """Keys that nothing reads and keys taken away (~), of the nodes whose keys we know: `+` and a file may add any."""
    for node, known in KEYS.items():
        if node and node not in composed:
            continue  # taken away as a whole, which the top level says
        found = composed._get_node(node) if node else composed
        prefix = node and f"{node}."
        if not isinstance(found, DictConfig) or found._is_none() or found._is_missing() or found._is_interpolation():
            continue
        for key in map(str, found):
            if key not in known:
                yield f"{prefix}{key} is no key{nearest_clause(key, known)}; --cfg job lists all keys"
        yield from (
            f"{prefix}{key} was taken away (~{prefix}{key}); leave it, or give a value"
            for key in known
            if key not in found
        )


def _culprit(error: Exception, overrides: Sequence[str], config_dir: Path | None) -> str | None:
    """The last override without which this error does not come."""
    for suspect in reversed(overrides):
        try:
            hydra.compose(PRIMARY, [*(o for o in overrides if o != suspect), *search_path(config_dir)])
        except Exception as other:
            if type(other) is type(error) and str(other) == str(error):
                continue
        return suspect
    return None


def checked(cfg: DictConfig) -> DictConfig:
    """The config, found able to run.

    Raises:
        ConfigError: with every fault that can be seen before anything is built.
    """
    from funneltune.experiments import check

    try:
        check(cfg)
    except OmegaConfBaseException as error:  # a value that is still missing, an interpolation that leads nowhere
        raise ConfigError(explain(find_fault(error, ()), cfg)) from None
    except RecursionError:
        raise ConfigError("an interpolation, ${key}, leads back to itself; give one of its keys a value.") from None
    return cfg
