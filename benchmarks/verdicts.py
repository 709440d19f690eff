"""Are verdicts right? Ties and known differences, simulated, and judged on the path that reports take.

`python -m benchmarks.verdicts` draws 2,000 studies a regime (half an hour on 2 cores) and writes
experiments/verdicts/found.json after every 100.

A study is a baseline, four cells that equal it in truth, and one that is better. All are tested on the same requests of
ten rows. A method's score is the row's signal, weighted by what its seed made of it, plus an effect of the request, the
method's own noise on a row (all its seeds share it) and the seed's. The truth of a method is its mean over seeds and
requests.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from scipy import stats

from funneltune.metrics import Comparison, clusters_in, judge, pair, resample

ROOT = Path(__file__).parents[1]
FOUND = ROOT / "experiments" / "verdicts" / "found.json"
SEEDS = (3, 5, 10)
METRICS = ("ctr/auc", "ctr/log_loss", "ctr/ndcg@10")
PAGE, TIES, CHUNK, PILOT, BETTER = 10, 4, 25, 100, 1.3
PASS = 100
DRAWS = 1_000
"""Of the bootstrap: a tenth of what a report takes, for time's sake; its verdicts differ more from DeLong's."""
Statistics = dict[str, NDArray]


@dataclass(frozen=True)
class Regime:
    """Where the noise of a study comes from, in units of the row's signal."""

    requests: int
    base: float
    """Log-odds of a click."""
    seed_quality: float
    """Standard deviation over seeds of the log of the weight that a run gives the signal."""
    seed_noise: float
    """Of a seed's own noise on a row."""
    method_noise: float
    """Of a method's own noise on a row."""


REGIMES = {
    "seeds dominate": Regime(300, -2.2, 0.3, 0.1, 0.08),
    "balanced": Regime(300, -2.2, 0.25, 0.2, 0.4),
    "requests dominate": Regime(300, -2.2, 0.02, 0.1, 0.6),
    "few clusters": Regime(150, -3.8, 0.3, 0.2, 0.4),
    "noise on rows only": Regime(300, -2.2, 0.0, 0.6, 0.2),
}


class Log:
    """The requests of one study: labels, and what every method can see of them."""

    def __init__(self, regime: Regime, rng: np.random.Generator, requests: int = 0) -> None:
        self.regime, self.rng = regime, rng
        self.shape = (requests or regime.requests, PAGE)
        self.signal = rng.normal(size=self.shape)
        self.mood = rng.normal(0, 0.7, (self.shape[0], 1))
        self.base = regime.base + self.mood
        self.label = (rng.random(self.shape) < 1 / (1 + np.exp(-(self.base + 1.2 * self.signal)))).astype(float)

    def method(self) -> NDArray:
        """A method's own noise: a part per request, a part per row."""
        own = self.regime.method_noise
        return self.rng.normal(0, own / 2, (self.shape[0], 1)) + self.rng.normal(0, own, self.shape)

    def runs(self, own: NDArray, quality: float, luck: NDArray, noise: NDArray | None = None) -> list[Statistics]:
        """Seeds of a method, one for each of `luck`: their compact statistics."""
        if noise is None:
            noise = self.rng.normal(0, self.regime.seed_noise, (len(luck), *self.shape))
        weight = quality * np.exp(self.regime.seed_quality * luck)[:, None, None]
        return compacted(self.label, weight * self.signal + 0.5 * self.mood + own + noise, self.regime.base)


def compacted(label: NDArray, score: NDArray, base: float) -> list[Statistics]:
    """Per run and request, as `funneltune.metrics.compact`: the parts of AUC, log loss and NDCG@10.

    Scores, (runs, requests, rows), have no ties. A test holds this against `compact`.
    """
    runs, requests = len(score), len(label)
    order = np.argsort(score.reshape(runs, -1), axis=1)
    sorted_label = label.ravel()[order]
    negatives_below = np.empty(order.shape)
    np.put_along_axis(negatives_below, order, np.cumsum(1 - sorted_label, axis=1), axis=1)
    positives_above = np.empty(order.shape)
    np.put_along_axis(positives_above, order, label.sum() - np.cumsum(sorted_label, axis=1), axis=1)
    shape, clicks = (runs, requests, PAGE), label.sum(axis=1)
    among_negatives = (label * negatives_below.reshape(shape)).sum(axis=2) / (1 - label).sum()
    among_positives = ((1 - label) * positives_above.reshape(shape)).sum(axis=2) / label.sum()
    logit = base + score
    losses = (np.logaddexp(0, logit) - label * logit).sum(axis=2)
    discount = 1 / np.log2(np.arange(PAGE) + 2)
    gained = np.take_along_axis(label[None], np.argsort(-score, axis=2), axis=2) @ discount
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[clicks.astype(int)]
    ndcg = np.divide(gained, ideal, out=np.zeros_like(gained), where=ideal > 0)
    shared = {
        "ctr/auc:positives": clicks,
        "ctr/auc:negatives": PAGE - clicks,
        "ctr/log_loss:weight": np.full(requests, float(PAGE)),
        "ctr/ndcg@10:weight": (ideal > 0).astype(float),
    }
    names = ("ctr/auc:among_negatives", "ctr/auc:among_positives", "ctr/log_loss:sum", "ctr/ndcg@10:sum")
    own = zip(among_negatives, among_positives, losses, ndcg, strict=True)
    return [shared | dict(zip(names, parts, strict=True)) for parts in own]


def shifted(statistics: Statistics, metric: str, by: float) -> Statistics:
    """The same run with exactly so much more of a metric in every request."""
    moved = (
        (("among_negatives", "positives"), ("among_positives", "negatives"))
        if metric.endswith("auc")
        else (("sum", "weight"),)
    )
    new = {
        f"{metric}:{part}": statistics[f"{metric}:{part}"] + by * statistics[f"{metric}:{weight}"]
        for part, weight in moved
    }
    return statistics | new


def truths(regime: Regime, requests: int = 10_000, seeds: int = 32) -> dict[str, float]:
    """The true difference of the better method, on a huge log; luck by quantiles, and the same noise for both."""
    log = Log(regime, np.random.default_rng(1), requests)
    own, found = log.method(), dict.fromkeys(METRICS, 0.0)
    for luck in stats.norm.ppf((np.arange(seeds) + 0.5) / seeds):
        noise = log.rng.normal(0, regime.seed_noise, log.shape)
        sides = [log.runs(own, quality, np.array([luck]), noise)[0] for quality in (BETTER, 1.0)]
        for metric in METRICS:
            one, other = clusters_in(sides, metric)
            found[metric] += (one.value - other.value) / seeds
    return found


def study(regime: Regime, rng: np.random.Generator) -> list[list[Statistics]]:
    """Runs by method and seed: the baseline, its equals, the better one."""
    log = Log(regime, rng)
    return [log.runs(log.method(), quality, rng.normal(size=max(SEEDS))) for quality in [1.0] * (1 + TIES) + [BETTER]]


def judged(methods: Sequence[Sequence[Statistics]], metric: str, shift: Mapping[str, float]) -> dict[int, Any]:
    """By number of seeds, the comparisons of one study: ties as a family, the better cell and a shifted one alone."""
    runs = [clusters for side in methods for clusters in clusters_in(side, metric)]
    values = resample(runs, DRAWS)
    drawn = [values[i : i + max(SEEDS)] for i in range(0, len(values), max(SEEDS))]
    found = {}
    for seeds in SEEDS:

        def held(index: int, by: float = 0.0, seeds: int = seeds) -> Comparison:
            first = [shifted(s, metric, by) if by else s for s in methods[index][:seeds]]
            vectors = ([v + by for v in drawn[index][:seeds]], drawn[0][:seeds])
            return pair(first, methods[0][:seeds], metric, "a", "b", confirm=True, drawn=vectors)

        ties = judge([held(1 + i) for i in range(TIES)])
        better = held(1 + TIES)
        by = shift.get(f"{metric} {seeds}", 0.0)
        found[seeds] = {
            "alone": [judge([c])[0] for c in ties],
            "ties": ties,
            "better": better,
            "shifted": judge([held(1, by)])[0] if by else None,
        }
    return found


def draw(regime: Regime, shift: Mapping[str, float], truth: Mapping[str, float], first: int, draws: int) -> list[Any]:
    """A few studies, by metric and number of seeds: what was claimed, covered, found, and how much was detectable."""
    rows = []
    for index in range(first, first + draws):
        methods = study(regime, np.random.default_rng([7, index]))
        for metric in METRICS:
            for seeds, c in judged(methods, metric, shift).items():
                alone, ties, better = c["alone"], c["ties"], c["better"]
                rows.append(
                    {
                        "of": f"{metric} {seeds}",
                        "false positives": sum(t.verdict != "no claim" for t in alone) / TIES,
                        "by DeLong or bootstrap alone": sum((t.p_value or 1) < 0.05 for t in alone) / TIES,
                        "family": float(any(t.verdict != "no claim" for t in ties)),
                        "coverage": float(better.low <= truth[metric] <= better.high),
                        "power": None if c["shifted"] is None else float(c["shifted"].verdict != "no claim"),
                        "detectable": sum(t.detectable for t in ties) / TIES,
                        "clusters": ties[0].clusters,
                    }
                )
    return rows


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Shares over the draws, by metric and number of seeds."""
    found: dict[str, dict[str, float]] = {}
    for of in dict.fromkeys(row["of"] for row in rows):
        mine = [row for row in rows if row["of"] == of]
        names = [name for name in mine[0] if name != "of" and mine[0][name] is not None]
        found[of] = {name: float(np.mean([row[name] for row in mine])) for name in names}
    return found


class Simulation:
    """One regime: its truth, a pilot for what is detectable, and draws that may be added to."""

    def __init__(self, name: str, pool: ProcessPoolExecutor, stream: Progress, draws: int) -> None:
        self.regime, self.pool, self.stream = REGIMES[name], pool, stream
        self.bar = stream.add_task(name, total=draws + PILOT)
        self.truth = pool.submit(truths, self.regime).result()
        self.shift: dict[str, float] = {}
        self.rows: list[Any] = []
        self.shift = {of: row["detectable"] for of, row in means(self._drawn(1_000_000, PILOT)).items()}

    def add(self, first: int, draws: int) -> None:
        """Judge more studies."""
        self.rows += self._drawn(first, draws)

    def to_json(self) -> dict[str, Any]:
        """What the record keeps."""
        return {"regime": asdict(self.regime), "truth": self.truth, "shift": self.shift, "found": means(self.rows)}

    def _drawn(self, first: int, draws: int) -> list[Any]:
        waiting = [
            self.pool.submit(draw, self.regime, self.shift, self.truth, start, min(CHUNK, first + draws - start))
            for start in range(first, first + draws, CHUNK)
        ]
        rows = []
        for future in as_completed(waiting):
            rows += future.result()
            self.stream.advance(self.bar, CHUNK)
        return rows


def missed(found: Mapping[str, Any], draws: int) -> list[str]:
    """What lies outside the bars by more than two standard errors of the simulation."""
    lines = []
    for regime, content in found.items():
        for of, row in content["found"].items():
            for name, low, high in (
                *((n, 0.0, 0.06) for n in ("false positives", "family")),
                ("coverage", 0.93, 0.97),
                ("power", 0.75, 0.85),
            ):
                slack = 2 * math.sqrt(row[name] * (1 - row[name]) / draws)
                if not low - slack <= row[name] <= high + slack:
                    lines.append(f"{regime}, {of} seeds: {name} {row[name]:.3f} is not in [{low}, {high}]")
    return lines


def table(record: Mapping[str, Any]) -> str:
    """The record as the README shows it: percentages, each at 3 / 5 / 10 seeds."""
    names = ("false positives", "family", "coverage", "power")
    lines = [
        "| regime | metric | ties called a difference | any of four ties (Holm) | 95% interval covers | power |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for regime, content in record["regimes"].items():
        for metric in METRICS:
            rows = [content["found"][f"{metric} {seeds}"] for seeds in SEEDS]
            said = (" / ".join(f"{100 * row[name]:.1f}" for row in rows) for name in names)
            lines.append(f"| {regime} | {metric.partition('/')[2]} | {' | '.join(said)} |")
    return "\n".join(lines)


def commit() -> str:
    """What the code was when a record was made."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "src/funneltune/metrics", "src/funneltune/reporting", "benchmarks")
    return git("rev-parse", "--short=12", "HEAD") + "+changes" * bool(changed)


def main() -> None:
    """Simulate, print what misses its bar, write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--regimes", default=",".join(REGIMES))
    parser.add_argument("--out", type=Path, default=FOUND)
    chosen = parser.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(chosen.out.read_text()) if chosen.out.is_file() else {}
    record |= {"commit": commit(), "draws": 0, "regimes": {}}
    with ProcessPoolExecutor(chosen.workers) as pool, Progress() as stream:
        held = {name: Simulation(name, pool, stream, chosen.draws) for name in chosen.regimes.split(",")}
        for done in range(
            0, chosen.draws, PASS
        ):  # all regimes in turn: a run that is cut off has as many draws of each
            for name, simulation in held.items():
                simulation.add(done, min(PASS, chosen.draws - done))
                record["regimes"][name] = simulation.to_json()
            record["draws"] = min(done + PASS, chosen.draws)
            record["outside the bars"] = missed(record["regimes"], record["draws"])
            chosen.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))
    print("\n".join(record["outside the bars"]) or "every bar is met")


if __name__ == "__main__":
    main()
