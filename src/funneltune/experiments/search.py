"""The trials of a search: each is a run folder, trained by `runs.train` without a look at the test split."""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.trial import Trial, TrialState

from funneltune.errors import ConfigError, FunnelError, RunError
from funneltune.experiments import search_report
from funneltune.experiments.cell import as_train_command, finish_wandb, needs_own_process
from funneltune.experiments.faults import user_fault
from funneltune.experiments.search_plan import SearchPlan
from funneltune.experiments.search_space import Value
from funneltune.experiments.search_store import ATTEMPTS, ERROR, SearchStore, best_trials
from funneltune.files import locked
from funneltune.funnel import TaskFunnel
from funneltune.records import RECORD_NAME, SCHEMA_VERSION, RunRecord, write_json
from funneltune.secrets import redacted

RESULT_NAME = "search.json"
FIXED = ("test=false", "baselines=[]")
"""Of every trial: a search sees nothing of the test split."""
Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True)
class Search:
    """A search and how its trials are made.

    Args:
        plan: What is varied, and what is looked for.
        folder: Where the search lies, or will.
        compose: Overrides to a run's config that is found able to run.
        shared: The command's own overrides, which all trials have.
        train: Trains a config into a folder; `funneltune.runs.train` where it is None.
    """

    plan: SearchPlan
    folder: Path
    compose: Compose
    shared: tuple[str, ...] = ()
    train: Callable[..., RunRecord] | None = None
    ended: list[float] = field(default_factory=list)
    """Seconds that each trial of this process took."""

    @property
    def store(self) -> SearchStore:
        """Its folder."""
        return SearchStore(self.folder, self.plan)

    def check(self, base: DictConfig) -> None:
        """Refuse a search, or a setting of its space, that cannot run: nothing is written before.

        Raises:
            ConfigError: with all faults found.
        """
        from funneltune.runs.identity import as_plain

        plain = as_plain(base)
        self.plan.check(TaskFunnel.from_config(plain["data"]["tasks"]), plain.get("metrics"))
        faults: dict[str, None] = {}
        for overrides in self.plan.to_try():
            try:
                cfg = self._config(overrides)
                faults |= dict.fromkeys([*_trial_faults(cfg, self.plan), *_impossible(cfg)])
            except ConfigError as error:
                faults[str(error)] = None
        if faults:
            raise ConfigError("; ".join(faults))

    def run(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Run the open trials, together with whatever other process is at this search; what search.json then says.

        Args:
            base: The config, as plain data, that all trials share.

        Raises:
            RunError: if the folder holds another search, or cannot be written.
            Interrupted: after SIGTERM or SIGINT; the running trial goes on at the next call.
        """
        study = self.store.open(base)
        try:
            while self._run_next(study):
                pass
        finally:
            content = self.write(study, whole=True)
        return content

    def _run_next(self, study: optuna.Study) -> bool:
        """Run a trial; whether there was one left."""
        with self.store.next_trial(study) as trial:
            if trial is None:
                return False
            self.write(study)
            begun = time.monotonic()
            self._run_trial(study, trial)
            self.ended.append(time.monotonic() - begun)
        search_report.trial_ends(self.write(study), trial.number, self.ended)
        return True

    def write(self, study: optuna.Study, *, whole: bool = False) -> dict[str, Any]:
        """Write search.json, importances too if it is to be `whole`, and return it."""
        with locked(self.folder):
            entries = self.store.entries(study)
            content = {
                "schema_version": SCHEMA_VERSION,
                "name": self.plan.name,
                "search": self.plan.to_json(),
                "objectives": [
                    {"key": o.key, "direction": "maximise" if o.maximise else "minimise"} for o in self.plan.metrics
                ],
                "total": self.plan.total,
                "trials": entries,
                "best": best_trials(entries, [objective.maximise for objective in self.plan.metrics]),
                "importances": search_report.importances(study) if whole else None,
            }
            write_json(self.folder / RESULT_NAME, content)
        return content

    # --- one trial ---------------------------------------------------------------------------------------------

    def _all(self, overrides: Sequence[str]) -> list[str]:
        return [*self.shared, *self.plan.overrides, *overrides, *FIXED]

    def _config(self, overrides: Sequence[str]) -> DictConfig:
        cfg = self.compose(self._all(overrides))
        cfg.search, cfg.study, cfg.run_dir, cfg.resume = None, None, None, "auto"
        return cfg

    def _run_trial(self, study: optuna.Study, trial: Trial) -> None:
        """Train a trial, again where it failed for no fault of its setting, and note how it ended."""
        params = {key: _value(value) for key, value in trial.params.items()}
        search_report.trial_starts(trial.number, self.plan, params)
        for left in reversed(range(self.plan.retries + 1)):
            attempts = int(trial.user_attrs.get(ATTEMPTS, 0))
            trial.set_user_attr(ATTEMPTS, attempts + 1)
            try:
                values = self._values(trial, params)
            except optuna.TrialPruned as pruned:
                trial.set_user_attr(ERROR, str(pruned))
                study.tell(trial, state=TrialState.PRUNED)
                break
            except Exception as fault:
                mendable = user_fault(fault)
                if mendable is None:
                    sys.stderr.write(redacted(traceback.format_exc()))
                if mendable is not None or not left:
                    trial.set_user_attr(ERROR, _in_one_line(mendable or fault))
                    study.tell(trial, state=TrialState.FAIL)
                    break
                shutil.rmtree(self.store.trial_folder(trial.number), ignore_errors=True)
            except BaseException:
                trial.set_user_attr(ATTEMPTS, attempts)  # asked to stop: nothing that counts against the trial
                raise
            else:
                study.tell(trial, values)
                break
            finally:
                finish_wandb()
        shutil.rmtree(self.store.trial_folder(trial.number) / "checkpoints", ignore_errors=True)

    def _values(self, trial: Trial, params: Mapping[str, Value]) -> list[float]:
        """Train, and read the objectives off the record.

        Raises:
            FunnelError: whatever training refuses, and an objective that is undefined.
            TrialPruned: if the pruner stops the run.
        """
        overrides = self.plan.trial_overrides(params)
        cfg = self._config(overrides)
        run_dir = self.store.trial_folder(trial.number)
        if run_dir.exists() and not (run_dir / RECORD_NAME).is_file():
            shutil.rmtree(run_dir)  # cut off before it had anything to go on from
        from funneltune.callbacks.pruning import Pruning

        watching = [Pruning(self.plan.metrics[0].key, _reporter(trial))] if self.plan.pruner != "none" else []
        with as_train_command(self._all(overrides)):
            record = self._trainer()(cfg, run_dir, extra_callbacks=watching)
        found = [(objective.key, objective.value(record)) for objective in self.plan.metrics]
        undefined = [key for key, value in found if value is None]
        if undefined:
            raise RunError(
                f"{undefined[0]} is undefined in this trial's record; take a larger split, or another metric."
            )
        return [float(value) for _, value in found if value is not None]

    def _trainer(self) -> Callable[..., RunRecord]:
        if self.train is not None:
            return self.train
        from funneltune import runs

        return runs.train


def _trial_faults(cfg: DictConfig, plan: SearchPlan) -> list[str]:
    """What keeps a config from being a trial."""
    if needs_own_process(cfg):
        return [
            f"trainer.devices={cfg.trainer.devices}, strategy={cfg.trainer.strategy}: a trial is one process; set "
            "trainer.devices=1 trainer.strategy=auto, and start the search several times on the same search_dir"
        ]
    once = cfg.trainer.get("val_check_interval") in {1.0, None} and int(cfg.trainer.get("max_epochs") or 1) == 1
    if plan.pruner != "none" and once:
        return [
            f"search.pruner={plan.pruner} has nothing to go by, as trials validate at their end only; set "
            "trainer.val_check_interval=0.25, or search.pruner=none"
        ]
    return []


def _impossible(cfg: DictConfig) -> list[str]:
    """What the tuning method says of its values, without a backbone."""
    from funneltune.runs.targets import build

    try:
        build(cfg.tuning)
    except Exception as error:
        mendable = user_fault(error)
        if mendable is None:
            raise
        return [str(mendable).rstrip(".")]
    return []


def _reporter(trial: Trial) -> Callable[[int, float], bool]:
    """Notes a validation, once: a trial that goes on repeats what it had not saved."""

    def report(count: int, value: float) -> bool:
        if count not in trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(value, count)
        return trial.should_prune()

    return report


def _value(value: Any) -> Value:
    return value if isinstance(value, (int, float)) else str(value)


def _in_one_line(error: BaseException) -> str:
    told = str(error) if isinstance(error, FunnelError) else f"{type(error).__name__}: {error}"
    return redacted(" ".join(told.split()))
