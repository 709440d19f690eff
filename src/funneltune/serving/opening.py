"""Runs from their folders, ready to be served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from funneltune.data import Asked
from funneltune.decisions import Scorer
from funneltune.decisions.candidates import Candidates
from funneltune.decisions.explanations import Explainer
from funneltune.decisions.finding import WAYS, hybrid
from funneltune.decisions.order import REVENUE
from funneltune.errors import ConfigError, FunnelError, RunError
from funneltune.funnel import TaskFunnel
from funneltune.records import RECORD_NAME, RunRecord
from funneltune.serving.guard import Refused
from funneltune.serving.served import SMALL, ServedRun, require_one_log
from funneltune.serving.suggestions import LogChoices
from funneltune.serving.wire import RankRequest, Side

logger = logging.getLogger(__name__)


CALIBRATIONS = ("none", "temperature", "platt", "isotonic")
NONE: Mapping[str, Mapping[str, Any]] = {}


def open_runs(
    run: Path,
    run_b: Path | None = None,
    calibration: str | None = None,
    threads: int | None = None,
    rankings: Mapping[str, Mapping[str, Any]] = NONE,
) -> tuple[list[ServedRun], LogChoices]:
    """One run or two of one log, and what the log has to pick from.

    Args:
        run: Folder of a finished run.
        run_b: Another, to stand beside it.
        calibration: none, temperature, platt, isotonic; None: what each run's config says.
        threads: Of the model; None: PyTorch's choice.
        rankings: Name -> a ranking's settings, as a file of configs/ranking has them.

    Raises:
        RunError: if a folder is no finished run, or the runs' logs differ.
        ConfigError: if a package is missing.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    first = open_run(run, "a", calibration, rankings)
    choices = LogChoices(first.catalogue.rows)
    if run_b is None:
        return [first], choices
    second = open_run(run_b, "b", calibration, rankings)
    require_one_log(first, second)
    if first.name == second.name:  # two seeds of a cell, say
        first.name, second.name = (f"{one.name} ({path})" for one, path in ((first, run), (second, run_b)))
    return [first, second], choices


def open_run(
    run: Path, side: Side, calibration: str | None = None, rankings: Mapping[str, Mapping[str, Any]] = NONE
) -> ServedRun:
    """One run, its item vectors computed and its first answer given, so that no client waits for either."""
    scorer, record = Scorer.of_run(run, calibration), RunRecord.read(run / RECORD_NAME)
    cfg, data = scorer.assembly.cfg, scorer.assembly.data
    reads_text, needs = data.interaction != "none", data.features
    served = ServedRun(
        side=side,
        name=name_of(run, record),
        scorer=scorer,
        ways=_ways(scorer),
        calibrations=_calibrations(scorer),
        named=rankings,
        explain=_explaining(scorer, side),
        labels=_labels(scorer.funnel),
        reads_query=reads_text,
        reads_user=bool(needs.history) or any(name.split(".")[0] == "user" for name in (*needs.ids, *needs.numbers)),
        sees_all=len(scorer.catalogue) <= SMALL,
        about={
            "tuning": str(scorer.module.tuning.name),
            "backbone": str(cfg.backbone.get("name", "none")),
            "head": type(scorer.module.head).__name__,
            "calibration": calibration or str((record.config.get("calibration") or {}).get("use", "none")),
            "metrics": {key: record.value(key) for key in record.metrics.get("test", {}) if "[" not in key},
            "finished": record.finished,
        },
    )
    warm(served, next(iter(scorer.rows.queries), "") or "a")
    return served


def name_of(run: Path, record: RunRecord) -> str:
    """A run's cell in its study, else the name of its folder."""
    folder = run.resolve()
    return record.cell or (folder.parent.name if folder.name.startswith("seed=") else folder.name)


def warm(served: ServedRun, words: str) -> None:
    """Ask each way of finding candidates and each named ranking once: what is computed on first use is computed now.

    A ranking that the run or its log cannot carry out is told and left out.
    """
    rankings = served.rankings
    for way in rankings.candidates:
        wanted = RankRequest(query=words, candidates=way, by=rankings.by[-1], top=1)
        asked, find, finish = served.work(wanted)
        finish(served.scorer.score([asked], find()))
    for name in list(rankings.named):
        wanted = RankRequest(query=words, ranking=name, items=served.keys[:2])
        try:
            if REVENUE in rankings.of(wanted).worth.weights and not rankings.priced:
                raise ConfigError("by=revenue needs the price of every item.")
            asked, find, finish = served.work(wanted)
            finish(served.scorer.score([asked], find()))
        except (FunnelError, Refused) as error:
            logger.warning("ranking=%s is not offered: %s", name, error)
            rankings.drop(name)


def _calibrations(scorer: Scorer) -> dict[str, Scorer]:
    """The run in each calibration that it has."""
    found = {}
    for name in CALIBRATIONS:
        try:
            found[name] = scorer.under(name)
        except RunError:
            logger.debug("calibration=%s: the run has none", name)
    return found


def _labels(funnel: TaskFunnel) -> dict[str, str]:
    """Rate -> p(purchase | click), p(click and purchase)."""
    found = {}
    for task in funnel.binary:
        given = [str(edge).replace("!", "no ") for edge in task.given]
        found[task.rate] = f"p({task.name} | {', '.join(given)})" if given else f"p({task.name})"
        if given:
            found[task.joint_rate] = f"p({' and '.join([*given, task.name])})"
    return found


def _explaining(scorer: Scorer, side: Side) -> Callable[[Asked, int, str], dict[str, Any]] | None:
    """Explanations in JSON, under the name that the run is served by; None without Captum."""
    if find_spec("captum") is None:
        logger.warning("explanations are not offered: they need pip install 'funneltune[explain]'")
        return None
    explainer = Explainer(scorer)
    return lambda asked, item, rate: {**explainer.explain(asked, item, rate).to_json(), "run": side}


def _ways(scorer: Scorer) -> dict[str, Candidates]:
    """Every way of finding candidates that the run and its log allow, the fused one first."""
    try:
        fused = hybrid(scorer)
        return {"hybrid": fused, **fused.ways}
    except ConfigError as error:  # a package is missing
        logger.warning("candidates=hybrid is not offered: %s", error)
    found: dict[str, Candidates] = {}
    for name, way in WAYS.items():
        if name != "hybrid":
            try:
                found[name] = way(scorer)
            except ConfigError as error:
                logger.warning("candidates=%s is not offered: %s", name, error)
    return found
