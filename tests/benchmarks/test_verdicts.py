"""The simulation of verdicts: its statistics are those of `compact`; its README shows its record."""

import json

import numpy as np
import pytest

from benchmarks import verdicts
from funneltune.funnel import TaskFunnel
from funneltune.metrics import clusters_in, compact

FUNNEL = TaskFunnel.from_config({"click": {"rate": "ctr"}})


def test_simulated_statistics_are_those_that_compact_gives():
    rng = np.random.default_rng(0)
    label, score = (rng.random((40, verdicts.PAGE)) < 0.2).astype(float), rng.normal(size=(2, 40, verdicts.PAGE))
    request = np.repeat(np.arange(40), verdicts.PAGE)
    for found, own in zip(verdicts.compacted(label, score, -1.0), score, strict=True):
        p = 1 / (1 + np.exp(1.0 - own.ravel()))
        wanted = compact({"request": request, "user": request, "click": label.ravel(), "p_click": p}, FUNNEL)
        for key, values in found.items():
            assert values == pytest.approx(wanted[key], abs=1e-4), key


def test_a_shift_moves_a_metric_by_just_so_much():
    methods = verdicts.study(verdicts.REGIMES["few clusters"], np.random.default_rng(0))
    for metric in verdicts.METRICS:
        moved = verdicts.shifted(methods[0][0], metric, 0.01)
        one, other = (clusters_in([statistics], metric)[0].value for statistics in (moved, methods[0][0]))
        assert one - other == pytest.approx(0.01)


def test_what_misses_its_bar_is_named():
    row = {"false positives": 0.09, "family": 0.05, "coverage": 0.95, "power": 0.6}
    said = verdicts.missed({"balanced": {"found": {"ctr/auc 3": row}}}, 2000)
    assert said == [
        "balanced, ctr/auc 3 seeds: false positives 0.090 is not in [0.0, 0.06]",
        "balanced, ctr/auc 3 seeds: power 0.600 is not in [0.75, 0.85]",
    ]


def test_the_readme_shows_the_record():
    record = json.loads(verdicts.FOUND.read_text())
    said = (verdicts.FOUND.parent / "README.md").read_text()
    assert verdicts.table(record) in said
    for rule in ("Welch-Satterthwaite (before)", "crossed (now)"):
        worst = record["rules"]["worst"]
        assert " | ".join(f"{100 * worst[f'{seeds} seeds'][rule]:.1f}" for seeds in (2, 3, 5, 10)) in said
