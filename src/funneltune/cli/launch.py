"""Between the verb `study` and the sweeper: composing the study, and Hydra's errors told as ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from funneltune.cli.compose import compose_config, opened, search_path
from funneltune.cli.faults import explain, find_fault
from funneltune.cli.hydra_trust import check_hydra
from funneltune.cli.locate import PRIMARY
from funneltune.cli.schema import TOP_LEVEL
from funneltune.errors import ConfigError
from funneltune.experiments import WITHOUT, CellTask, StudyState, override_text, plan, split_sweeps

QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null", "hydra.sweep.subdir=.")


def without_lists(overrides: Sequence[str]) -> list[str]:
    """Overrides of one value. What cannot be read is left for `compose_config` to tell."""
    try:
        return split_sweeps(overrides)[0]
    except OverrideParseException:
        return list(overrides)


def axes_as_lists(overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """The same overrides, with one value of an axis that is no key of the config (a name of the study's own) as a list
    of one: Hydra would look for the key.
    """
    own = [override for override in without_lists(overrides) if override.partition("=")[0] not in TOP_LEVEL]
    plain = [override for override in own if re.fullmatch(r"[A-Za-z_]\w*", override.partition("=")[0])]
    studies = [override for override in overrides if override.startswith("study=")]
    if not plain or not studies:
        return list(overrides)
    study = compose_config(studies, config_dir, launched=True).study
    names = {*(study.axes or {}), *([WITHOUT] if study.parts else [])} if study is not None else set()
    return [
        f"{key}=choice({value})" if override in plain and key in names else override
        for override, (key, _, value) in ((override, override.partition("=")) for override in overrides)
    ]


def check_axes(cfg: DictConfig, overrides: Sequence[str], config_dir: Path | None) -> None:
    """Compose each value of each axis once, so that a misspelt one is told before anything runs.

    Raises:
        ConfigError: with the faults of the grid and of all its values.
    """
    study, shared = plan(cfg, overrides)
    faults: dict[str, None] = {}
    for key, values in study.axes.items():
        for value in values:
            try:
                compose_config([*shared, *study.overrides(key, value)], config_dir, launched=True)
            except ConfigError as error:
                faults[str(error)] = None
    if faults:
        raise ConfigError("; ".join(faults))
    study.check_baseline(list(cfg.baselines or []))


def launch(
    overrides: Sequence[str], folder: Path, config_dir: Path | None = None, task: CellTask | None = None
) -> dict[str, Any]:
    """Run a study's open cells through our sweeper and the launcher that the overrides choose; the state it ends in.

    Raises:
        FunnelError: what the sweep refuses, and what does not compose in one of its cells.
    """
    ours = [
        "hydra/sweeper=funneltune",
        f"hydra.sweep.dir={override_text(str(folder))}",
        *QUIET,
        *search_path(config_dir),
    ]
    with opened():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        asked = [*overrides, *ours]
        try:
            check_hydra(hydra.compose_config(PRIMARY, asked, RunMode.MULTIRUN))
            hydra.multirun(PRIMARY, task or CellTask(folder, config_dir), asked, with_log_configuration=False)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"study: {explain(find_fault(error, overrides), None)}") from error
    return StudyState(folder).read()
