"""Few-shot curves: the target's test after training on n of its requests, from each start and seed.

Every start at a seed is trained on the same requests, in the same order, and tested on the same rows: differences are
paired by seed and by request.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from numpy.typing import NDArray
from omegaconf import DictConfig

from funneltune.errors import ConfigError, RunError
from funneltune.experiments.transfer.settings import PRETRAINED, Settings, Start
from funneltune.experiments.transfer.target import beginning, funnel_of, last_rate, share, texts_read
from funneltune.funnel import TaskFunnel
from funneltune.metrics import (
    Comparison,
    clusters_in,
    compact,
    judge,
    metric_keys,
    of_scorer,
    pair,
    read_statistics,
)
from funneltune.metrics.comparison import higher_is_better
from funneltune.records import STATISTICS_NAME
from funneltune.runs import Carried, train, zero_shot
from funneltune.runs.assemble import assemble_data
from funneltune.runs.baselines import score_baselines
from funneltune.runs.targets import build

Arrays = Mapping[str, NDArray]
LEXICAL = ("bm25", "cosine")
"""What an untrained shop has: word matching, and the pretrained backbone's own cosine."""


@dataclass
class Transferred:
    """What came of it."""

    settings: Settings
    metric: str
    counts: list[int]
    """Shot counts, ascending; 0 where it was asked for."""
    requests: int
    """Training requests of the target."""
    funnel: TaskFunnel
    carried: dict[Start, Carried] = field(default_factory=dict)
    statistics: dict[tuple[Start, int], list[Arrays]] = field(default_factory=dict)
    """Of each start and shot count, by seed; at 0 shots one, of no seed."""
    lexical: tuple[str, ...] = ()
    seconds: float = 0.0

    def value(self, start: Start, shots: int, metric: str = "") -> list[float]:
        """The metric of each seed's run."""
        return [one.value for one in clusters_in(self.statistics[start, shots], metric or self.metric)]

    def differences(self, metric: str = "") -> dict[tuple[Start, int], Comparison]:
        """Each start less the pretrained backbone alone at the same shots; Holm-corrected over all of them."""
        found = {
            (start, shots): pair(
                self.statistics[start, shots],
                self.statistics[PRETRAINED, shots],
                metric or self.metric,
                start.name,
                PRETRAINED.name,
            )
            for start in self.settings.compared
            for shots in self.counts
            if shots
        }
        return dict(zip(found, judge(list(found.values())), strict=True))

    def untrained(self) -> dict[tuple[Start, str], Comparison]:
        """Each start with no request of the target, less word matching and the bare cosine."""
        found = {
            (start, scorer): pair([here], [of_scorer(here, scorer)], self.metric, start.name, scorer)
            for start in (self.settings.compared if 0 in self.counts else ())
            for here in self.statistics[start, 0]
            for scorer in self.lexical
            if self.metric in metric_keys(of_scorer(here, scorer))
        }
        return dict(zip(found, judge(list(found.values())), strict=True))

    def trained(self) -> dict[tuple[Start, int], Comparison]:
        """Each start after so many requests, less what it is with none; Holm-corrected over all of them."""
        found = {
            (start, shots): pair(
                self.statistics[start, shots],
                self.statistics[start, 0] * len(self.settings.seeds),
                self.metric,
                start.name,
                f"{start.name}, untrained",
            )
            for start in (self.settings.compared if 0 in self.counts else ())
            for shots in self.counts
            if shots
        }
        return dict(zip(found, judge(list(found.values())), strict=True))

    def ahead(self, start: Start, shots: int) -> dict[str, float]:
        """What takes no training on the target and yet scores better than a start after so many requests: word
        matching, the bare cosine, the start as it was. By the values alone, without a test.
        """
        (untrained,) = self.statistics[start, 0]
        scored = {scorer: of_scorer(untrained, scorer) for scorer in self.lexical}
        known: dict[str, Mapping[str, NDArray]] = {
            scorer: of for scorer, of in scored.items() if self.metric in metric_keys(of)
        }
        known[f"{start.name} untrained"] = untrained
        values = {name: clusters_in([of], self.metric)[0].value for name, of in known.items()}
        own, sign = _mean(self.value(start, shots)), 1 if higher_is_better(self.metric) else -1
        return {name: value for name, value in values.items() if sign * value > sign * own}

    def worth(self, start: Start, shots: int) -> float:
        """Requests of the target with which the pretrained backbone alone gets as far: straight between the logarithms
        of two counts. Infinity: more than the last one; NaN: fewer than the first.
        """
        wanted = _mean(self.value(start, shots))
        points = [(n, _mean(self.value(PRETRAINED, n))) for n in self.counts if n]
        if not points or wanted < points[0][1]:
            return math.nan
        for (n, low), (more, high) in pairwise(points):
            if low <= wanted <= high and high > low:
                return float(n * (more / n) ** ((wanted - low) / (high - low)))
        return math.inf if wanted > max(value for _, value in points) else float(points[0][0])


def transfer(cfg: DictConfig, run: Path, settings: Settings, folder: Path) -> Transferred:
    """Train and test on the target's log, from every start, with every count and seed.

    Args:
        cfg: The target's config (`target.onto`).
        run: The run whose weights are carried.
        settings: What is asked for.
        folder: Where the runs go: START/shots=N/seed=S.

    Raises:
        ConfigError: if the log has fewer requests, or not the metric; RunError, TuningError: if weights do not go on.
    """
    began = time.perf_counter()
    if not texts_read(cfg):
        raise RunError(f"run={run} reads no texts (backbone=none), and its identifiers mean nothing on another log.")
    data = assemble_data(cfg, build(cfg.backbone))
    data.prepare_data()
    data.setup()
    requests = len(data.requests("train"))
    counts = settings.counts(requests)
    if counts == [0] and not settings.compared:
        raise ConfigError("start=pretrained with shots=0 leaves nothing to measure; ask for shots, or another start.")
    found = Transferred(settings, settings.metric, counts, requests, funnel_of(cfg))
    for start in settings.compared:
        _measure_untrained(found, beginning(cfg, start, run, settings.seeds[0]), start, folder)
    jobs = [
        (start, shots, seed)
        for shots in counts
        if shots
        for start in dict.fromkeys((PRETRAINED, *settings.compared))
        for seed in settings.seeds
    ]
    for number, (start, shots, seed) in enumerate(jobs, 1):
        home = folder / start.name.replace(" ", "_") / f"shots={shots}" / f"seed={seed}"
        at = time.perf_counter()
        train(share(beginning(cfg, start, run, seed), start, shots, requests), home)
        told = f"{number}/{len(jobs)}: {start.name}, {shots} requests, seed {seed}, {time.perf_counter() - at:.0f} s\n"
        sys.stderr.write(told)
        found.statistics.setdefault((start, shots), []).append(read_statistics(home / STATISTICS_NAME))
    found.metric = _metric(found)
    found.seconds = time.perf_counter() - began
    return found


def _measure_untrained(found: Transferred, cfg: DictConfig, start: Start, folder: Path) -> None:
    """Carry the weights, which refuses what does not go together before anything is trained, and test them as they are,
    beside what needs no training.
    """
    module, assembly, carried = zero_shot(cfg, folder)
    found.carried[start] = carried
    data = assembly.data
    found.lexical = LEXICAL if data.texts and {"query", "item"} <= set(data.texts) else ()
    scores = score_baselines(found.lexical, assembly)
    statistics = compact(
        module.predicted["test"], module.funnel, ks=tuple(module.evaluation.get("ks", (10,))), scores=scores
    )
    found.statistics[start, 0] = [statistics]
    found.metric = _metric(found)


def _metric(found: Transferred) -> str:
    """The metric asked for, or the AUC of the last rate.

    Raises:
        ConfigError: if the log cannot tell it.
    """
    known = metric_keys(next(iter(found.statistics.values()))[0])
    rate = last_rate(found.funnel)
    standard = (f"{rate}/expected_auc", f"{rate}/auc", f"{rate}/accuracy", f"{rate}/spearman")
    chosen = found.metric or next((key for key in standard if key in known), known[0])
    if chosen not in known:
        raise ConfigError(f"metric={chosen} is none that the target's log tells: {', '.join(known)}.")
    return chosen


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
