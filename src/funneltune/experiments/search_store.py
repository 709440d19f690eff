"""A search's folder: its trials in SQLite, its definition beside them, and who is at which trial.

A process holds a lock for as long as it is at a trial, and the lock goes with it: a trial that is running and held by
no one was cut off. It is taken up where it was, under its own number, so that a search that was interrupted asks for
the same points as one that was not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import URL

from funneltune.errors import RunError
from funneltune.experiments.search_plan import SearchPlan
from funneltune.files import locked, told_write_faults, write_text

DATABASE, DEFINITION, CLAIMS, TRIALS = "search.db", "search.yaml", ".claims", "trials"
STUDY_NAME = "search"
STARTUP = 6
"""Random trials before TPE proposes; Optuna's 10 would be half of a short search."""
BEFORE_PRUNING = 4
"""Whole trials before the median prunes."""
WAIT_SECONDS = 120
"""For another process that writes to the database."""
SHOWN = 3
STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
MAY_CHANGE = ("trials", "retries")
ATTEMPTS, ERROR = "attempts", "error"


@dataclass(frozen=True)
class SearchStore:
    """The folder of a search and what lies in it."""

    folder: Path
    plan: SearchPlan

    def open(self, config: Mapping[str, Any]) -> optuna.Study:
        """Begin the search, or take up the one that the folder holds.

        Args:
            config: What decides the result of a run without the space's keys.

        Raises:
            RunError: if the folder's search is another one, naming what differs, or cannot be read.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with told_write_faults(self.folder):
            (self.folder / CLAIMS).mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            self._define(config)
            return self._connect()

    def _connect(self) -> optuna.Study:
        path = self.folder / DATABASE
        try:
            storage = optuna.storages.RDBStorage(
                URL.create("sqlite", database=str(path)).render_as_string(),
                engine_kwargs={"connect_args": {"timeout": WAIT_SECONDS}},
            )
            return optuna.create_study(
                storage=storage,
                study_name=STUDY_NAME,
                load_if_exists=True,
                directions=["maximize" if objective.maximise else "minimize" for objective in self.plan.metrics],
                pruner=_pruner(self.plan.pruner),
            )
        except Exception as error:  # sqlalchemy's and optuna's, of many kinds
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{path} cannot be used ({reason}); restore it from a copy, or choose another search_dir."
            ) from None

    def _define(self, config: Mapping[str, Any]) -> None:
        """Write the definition, or hold it against the one that is there. Trials and retries may change."""
        from funneltune.runs.identity import differences, what_decides

        told = {f"search.{name}": value for name, value in self.plan.to_json().items() if name not in MAY_CHANGE}
        now = {**what_decides(config), **told}
        path = self.folder / DEFINITION
        if not path.is_file():
            if (self.folder / DATABASE).is_file():
                raise RunError(f"{path} is missing; restore it from a copy, or choose another search_dir.")
            write_text(path, yaml.safe_dump(now, sort_keys=False, allow_unicode=True))
            return
        try:
            then = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            then = None
        if not isinstance(then, dict):
            raise RunError(f"{path} cannot be read; restore it from a copy, or choose another search_dir.")
        if not (self.folder / DATABASE).is_file() and any((self.folder / TRIALS).glob("*")):
            raise RunError(
                f"{self.folder / DATABASE} is missing, although {TRIALS}/ holds trials; restore it from a copy, or "
                "choose another search_dir."
            )
        differ = list(differences(then, now).values())
        if differ:
            more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
            raise RunError(
                f"search_dir={self.folder} holds another search ({', '.join(differ[:SHOWN])}{more}); its trials do not "
                "compare with these. Choose another search_dir."
            )

    # --- trials ------------------------------------------------------------------------------------------------

    def trial_folder(self, number: int) -> Path:
        """Where a trial's run lies."""
        return self.folder / TRIALS / str(number)

    @contextmanager
    def next_trial(self, study: optuna.Study) -> Iterator[Trial | None]:
        """The next trial with its setting, held by this process while the block lasts; None where none is open."""
        with ExitStack() as held:
            with locked(self.folder):
                trial = self._cut_off(study, held) or self._fresh(study, held)
            yield trial

    def _cut_off(self, study: optuna.Study, held: ExitStack) -> Trial | None:
        """A trial whose process is gone; one that took its process with it too often is given up."""
        for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            with ExitStack() as claim:
                # What was running when it was listed may have ended, and been let go of, since.
                if not self._claim(frozen.number, claim) or not _is_running(study, frozen.number):
                    continue
                held.push(claim.pop_all())
            trial = Trial(study, frozen._trial_id)
            attempts = int(frozen.user_attrs.get(ATTEMPTS, 0))
            if attempts > self.plan.retries:
                trial.set_user_attr(ERROR, f"its process was killed {attempts} times (search.retries)")
                study.tell(trial, state=TrialState.FAIL)
                continue
            return self._with_setting(study, trial)
        return None

    def _fresh(self, study: optuna.Study, held: ExitStack) -> Trial | None:
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):  # a kill may leave a point of the grid
            number = len(study.get_trials(deepcopy=False))
            if number >= self.plan.total:
                return None
            if self.plan.sampler == "grid":
                study.enqueue_trial(self.plan.grid_point(number))
        trial = study.ask()
        assert self._claim(trial.number, held)
        return self._with_setting(study, trial)

    def _claim(self, number: int, held: ExitStack) -> bool:
        path = self.folder / CLAIMS / str(number)
        path.touch()
        try:
            held.enter_context(locked(path, refuse="busy"))
        except RunError:
            return False
        return True

    def is_held(self, number: int) -> bool:
        """Whether a process is at a trial."""
        with ExitStack() as held:
            return not self._claim(number, held)

    def _with_setting(self, study: optuna.Study, trial: Trial) -> Trial:
        """Draw what has not been drawn yet. Every draw has a seed of its own, from (seed, trial, key): it is the same
        whatever this process has drawn before.
        """
        study.sampler = self._sampler(trial.number, "")
        _ = trial.relative_params  # those that TPE draws together
        for setting in self.plan.space:
            study.sampler = self._sampler(trial.number, setting.key)
            setting.suggest(trial)
        return trial

    def _sampler(self, number: int, key: str) -> BaseSampler:
        digest = hashlib.sha256(f"{self.plan.seed}/{number}/{key}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        return TPESampler(seed=seed, n_startup_trials=STARTUP) if self.plan.sampler == "tpe" else RandomSampler(seed)

    # --- what it holds -----------------------------------------------------------------------------------------

    def status(self, trial: FrozenTrial) -> str:
        """finished, pruned, failed, running, interrupted."""
        return STATES.get(trial.state) or ("running" if self.is_held(trial.number) else "interrupted")

    def entries(self, study: optuna.Study) -> list[dict[str, Any]]:
        """Every trial as plain values."""
        return [
            {
                "number": trial.number,
                "status": self.status(trial),
                "params": {s.key: trial.params.get(s.key) for s in self.plan.space},
                "values": list(trial.values) if trial.state == TrialState.COMPLETE and trial.values else None,
                "validations": {str(step): value for step, value in trial.intermediate_values.items()},
                "error": trial.user_attrs.get(ERROR),
                "folder": f"{TRIALS}/{trial.number}",
            }
            for trial in study.get_trials(deepcopy=False)
        ]


def _is_running(study: optuna.Study, number: int) -> bool:
    return study.get_trials(deepcopy=False)[number].state == TrialState.RUNNING


def _pruner(name: str) -> BasePruner:
    if name == "median":
        return MedianPruner(n_startup_trials=BEFORE_PRUNING)
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return HyperbandPruner(min_resource=1) if name == "hyperband" else NopPruner()


def best_trials(entries: list[dict[str, Any]], maximise: list[bool]) -> list[int]:
    """The best trial; with several objectives those that no other equals in all of them and beats in one."""
    signs = [1.0 if more else -1.0 for more in maximise]
    points = {
        entry["number"]: [sign * value for sign, value in zip(signs, entry["values"], strict=True)]
        for entry in entries
        if entry["values"] and all(math.isfinite(value) for value in entry["values"])
    }
    if len(signs) == 1:
        return [max(points, key=lambda number: points[number][0])] if points else []
    return [
        number
        for number, point in points.items()
        if not any(
            other != point and all(a >= b for a, b in zip(other, point, strict=True)) for other in points.values()
        )
    ]
