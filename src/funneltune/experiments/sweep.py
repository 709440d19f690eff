"""The sweep behind `funneltune study`: which cells are open, and who runs them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from funneltune.errors import ConfigError, FunnelError, RunError
from funneltune.experiments.cell import CellTask
from funneltune.experiments.faults import check
from funneltune.experiments.plan import Cell, Study, override_text
from funneltune.experiments.state import StudyState

NEVER = "never"
SHOWN = 3
"""Keys that differ, in a message."""

Composed = tuple[Cell, list[str], DictConfig]


def split_sweeps(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Overrides with one value, and those with several (`tuning=frozen,full`, `seed=range(3)`) by key."""
    fixed: list[str] = []
    swept: dict[str, list[str]] = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        assert override.input_line is not None
        if not override.is_sweep_override():
            fixed.append(override.input_line)
        elif override.is_discrete_sweep():
            swept[override.get_key_element()] = list(override.sweep_string_iterator())
        else:
            raise ConfigError(f"{override.input_line} is a continuous range; a study needs a list of values.")
    return fixed, swept


def plan(config: DictConfig, overrides: Sequence[str]) -> tuple[Study, list[str]]:
    """The study that a composed config and its command line ask for, and the overrides that all its cells share.

    A key given on the command line replaces the axis of that name: with several values, or with one.

    Raises:
        ConfigError: if the grid cannot be run.
    """
    fixed, swept = split_sweeps(overrides)
    node = OmegaConf.to_container(config.study, resolve=True)
    assert isinstance(node, dict)
    shared = []
    for override in fixed:
        key, _, value = override.partition("=")
        if key == "seed" or key in (node.get("axes") or {}):
            swept[key] = [value]
        else:
            shared.append(override)
    return Study.from_config(str(config.name), {str(key): value for key, value in node.items()}, swept), shared


def sweep(
    arguments: Sequence[str], config: DictConfig, context: HydraContext, launcher: Launcher, task: CellTask
) -> None:
    """Run a study's open cells through a launcher. study.json tells how each ended.

    Args:
        arguments: the overrides that every cell shares, `study=NAME` among them; comma lists become axes.
        config: Hydra's composed config of the study.
        context: composes each cell's config.
        launcher: Hydra's, as configured.
        task: what the launcher was set up with; it knows the study's folder.

    Raises:
        ConfigError: if a cell's config cannot run. No cell is started then.
        RunError: if a finished cell was made from another config, or another process is at this study.
    """
    study, shared = plan(config, arguments)
    study.check_baseline(list(config.baselines or []))
    state = StudyState(task.folder)
    composed = [_compose(cell, shared, config, context, state) for cell in study.cells()]
    for cell, _, cfg in composed:
        try:
            check(cfg)
        except FunnelError as fault:
            raise ConfigError(f"cell {cell.name}: {fault}") from None
    open_cells = [made for made in composed if not _is_done(made, state)]
    with state.only_one():
        state.plan(study, _plain_study_config(config, study))
        for cell, _, cfg in open_cells:
            # What an attempt left that cannot go on, or must not: a run folder starts empty.
            if cfg.resume == NEVER or not state.may_go_on(cell):
                shutil.rmtree(state.folder / cell.folder, ignore_errors=True)
        if open_cells:
            launcher.launch([overrides for _, overrides, _ in open_cells], initial_job_idx=0)


def _compose(cell: Cell, shared: list[str], config: DictConfig, context: HydraContext, state: StudyState) -> Composed:
    run_dir = f"run_dir={override_text(str(state.folder / cell.folder))}"
    overrides = [*shared, *cell.overrides, run_dir]
    cfg = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    cfg.study, cfg.run_dir = None, None
    return cell, overrides, cfg


def _is_done(made: Composed, state: StudyState) -> bool:
    """Whether a cell has finished with this very config.

    Raises:
        RunError: if it has finished, or can go on, with another one, naming the keys that differ.
    """
    from funneltune.runs.identity import as_plain, config_hash, differences

    cell, _, cfg = made
    record = state.record_of(cell)
    if record is None or (record.status != "finished" and not state.may_go_on(cell)):
        return False
    if record.config_hash == config_hash(cfg):
        return record.status == "finished"
    differ = list(differences(record.config, as_plain(cfg)).values())
    told = ", ".join(differ[:SHOWN]) + (f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else "")
    has = "has finished" if record.status == "finished" else "was begun"
    raise RunError(
        f"{state.folder / cell.folder} {has} with another config ({told}); choose another study_dir, or delete that "
        "folder to run it again."
    )


def _plain_study_config(config: DictConfig, study: Study) -> dict[str, Any]:
    """The composed config with the grid as it is run, the command line's comma lists included."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    grid = {key: value for key, value in study.to_json().items() if key != "name"}
    return {str(key): value for key, value in plain.items() if key != "hydra"} | {"study": grid}
