"""The sweep behind `funneltune study`: which cells are open, and who runs them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from funneltune.errors import ConfigError, FunnelError, RunError
from funneltune.experiments import progress
from funneltune.experiments.budgets import Matched, match_sizes
from funneltune.experiments.cell import CellTask
from funneltune.experiments.changes import busy, changes
from funneltune.experiments.faults import check
from funneltune.experiments.plan import Cell, Study, override_text
from funneltune.experiments.rates import choose, trials_of
from funneltune.experiments.state import StudyState

NEVER = "never"
SHOWN = 3
"""Keys that differ, in a message."""


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
    cells_of = _Composer(shared, config, context, StudyState(task.folder))
    cells = study.cells()
    matched: dict[str, Matched | None] = {}
    if study.match is not None:
        matched = match_sizes(study.match, {cell.name: cells_of.config(cell) for cell in cells})
        cells = [cell.also(sized.sizes) if (sized := matched[cell.name]) else cell for cell in cells]
    composed = [cells_of(cell) for cell in cells]
    tried = trials_of(study, composed)
    trials = [cells_of(trial) for trial in tried]
    for made in (*composed, *trials):
        try:
            check(made.cfg)
        except FunnelError as fault:
            raise ConfigError(f"cell {made.cell.name}: {fault}") from None
    state = cells_of.state
    _Runner(state, launcher, study.retries).refuse_others(composed if study.tune is None else trials)
    progress.warns([*changes([(made.cell, made.cfg) for made in composed], state), *busy()])
    with state.only_one():
        state.plan(study, _plain_study_config(config, study), cells, tried)
        if matched:
            state.tell(matched={name: asdict(one) if one else None for name, one in matched.items()})
            progress.says_sizes(matched)
        runner = _Runner(state, launcher, study.retries)
        if study.tune is not None:
            runner(trials)
            chosen = choose(study, composed, state)
            state.tell(tuned={name: choice.to_json() for name, choice in chosen.items()})
            progress.says_rates(chosen, study.tune.metric)
            composed = [cells_of(cell.also(chosen[cell.name].setting)) for cell in cells if chosen[cell.name].setting]
            for cell in cells:
                if not chosen[cell.name].setting:
                    state.mark(cell.folder, "failed", "none of its learning-rate trials finished")
            state.settle([made.cell for made in composed])
        runner(composed)


@dataclass(frozen=True)
class Composed:
    """A cell, what the launcher is handed for it, and the config that this composes."""

    cell: Cell
    overrides: list[str]
    cfg: DictConfig


@dataclass(frozen=True)
class _Composer:
    """Makes a cell's config, as the launcher will."""

    shared: list[str]
    """Overrides of all cells."""
    whole: DictConfig
    """Hydra's config of the study."""
    context: HydraContext
    state: StudyState

    def __call__(self, cell: Cell) -> Composed:
        """The cell with its config."""
        run_dir = f"run_dir={override_text(str(self.state.folder / cell.folder))}"
        overrides = [*self.shared, *cell.overrides, run_dir]
        cfg = self.context.config_loader.load_sweep_config(self.whole, overrides)
        with open_dict(cfg):
            del cfg["hydra"]
        cfg.study, cfg.run_dir = None, None
        return Composed(cell, overrides, cfg)

    def config(self, cell: Cell) -> DictConfig:
        """The cell's config alone."""
        return self(cell).cfg


@dataclass(frozen=True)
class _Runner:
    """Hands runs to the launcher: those that are open, and those that failed by no fault of their config once more."""

    state: StudyState
    launcher: Launcher
    retries: int

    def __call__(self, made: Sequence[Composed]) -> None:
        """Run what is open.

        Raises:
            RunError: as `refuse_others`.
        """
        left = self.refuse_others(made)
        for _ in range(1 + self.retries):
            if not left:
                return
            for one in left:
                # What an attempt left that cannot go on, or must not: a run folder starts empty.
                if one.cfg.resume == NEVER or not self.state.may_go_on(one.cell):
                    shutil.rmtree(self.state.folder / one.cell.folder, ignore_errors=True)
            self.launcher.launch([one.overrides for one in left], initial_job_idx=0)
            left = [one for one in left if self.state.may_be_retried(one.cell)]

    def refuse_others(self, made: Sequence[Composed]) -> list[Composed]:
        """The open ones.

        Raises:
            RunError: if one was made from another config.
        """
        return [one for one in made if not _is_done(one.cell, one.cfg, self.state)]


def _is_done(cell: Cell, cfg: DictConfig, state: StudyState) -> bool:
    """Whether a cell has finished with this very config.

    Raises:
        RunError: if it has finished, or can go on, with another one, naming the keys that differ.
    """
    from funneltune.runs.identity import as_plain, config_hash, differences

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
