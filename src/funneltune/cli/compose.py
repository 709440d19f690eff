"""Command line -> composed config, with every fault of a user's overrides reported at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from funneltune.cli.arguments import key_of
from funneltune.cli.faults import Fault, explain, find_fault
from funneltune.cli.locate import PRIMARY, config_root
from funneltune.cli.schema import register
from funneltune.errors import ConfigError
from funneltune.secrets import secret_faults, word_faults

# ValueError is Hydra's word for a group that is given a number, AssertionError OmegaConf's for a key below a null one.
COMPOSING = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, AssertionError)


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


def compose_config(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The composed config of a run.

    Raises:
        ConfigError: naming every override that is wrong: nearest key, choices of a group, wanted type; or what looks
            like a secret, without its value.
    """
    if secrets := list(word_faults(overrides)):
        raise ConfigError("; ".join(secrets))
    refuse_search_paths(overrides)
    kept = list(overrides)
    faults: list[Fault] = []
    with opened():
        while True:
            try:
                composed = hydra.compose(PRIMARY, [*kept, *search_path(config_dir)])
                break
            except COMPOSING as error:
                fault = find_fault(error, kept)
                if isinstance(error, AssertionError):
                    fault = Fault(error, _below_null(kept, config_dir))
                faults.append(fault)
                if fault.override is None:
                    raise ConfigError("; ".join(explain(one, None) for one in faults)) from None
                kept.remove(fault.override)  # so that the next fault shows too
    if faults:
        raise ConfigError("; ".join(explain(fault, composed) for fault in faults))
    if secrets := list(secret_faults(OmegaConf.to_container(composed, resolve=False))):
        raise ConfigError("; ".join(secrets))
    return composed


def _below_null(overrides: Sequence[str], config_dir: Path | None) -> str | None:
    """The override without which the rest fails no assertion any more."""
    for suspect in (override for override in overrides if "." in override.partition("=")[0]):
        try:
            hydra.compose(PRIMARY, [*(o for o in overrides if o != suspect), *search_path(config_dir)])
        except AssertionError:
            continue
        except COMPOSING:
            pass
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
    return cfg
