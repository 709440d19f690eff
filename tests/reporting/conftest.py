"""A study of made-up runs: real metrics, statistics and records of noisy scores on one small simulated log."""

import numpy as np
import pytest

from funneltune.funnel import TaskFunnel
from funneltune.metrics import ceiling, compact, evaluate, score_metrics, write_statistics
from funneltune.records import SCHEMA_VERSION, RunRecord, write_json

FUNNEL = TaskFunnel.from_config(
    {"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr", "joint_rate": "ctcvr"}}
)
NOISE = {"tuning=frozen": 1.6, "tuning=full": 0.3, "tuning=adalora": 0.3}
METRICS = ["ctr/auc", "ctcvr/auc", "ctr/ndcg@10", "ctr/ece"]


def log_columns(requests=150, page=10, seed=0):
    rng = np.random.default_rng(seed)
    rows = requests * page
    p_click, p_purchase = rng.beta(2, 6, rows), rng.beta(2, 4, rows)
    click = (rng.random(rows) < p_click).astype(np.int8)
    purchase = ((rng.random(rows) < p_purchase) & (click == 1)).astype(np.int8)
    request = np.repeat(np.arange(requests), page)
    return {
        "request": request,
        "user": request % 40,
        "click": click,
        "purchase": purchase,
        "oracle_p_click": p_click,
        "oracle_p_purchase_given_click": p_purchase,
    }


def predicted(columns, noise, seed):
    rng = np.random.default_rng(1000 + seed)

    def blur(p):
        logit = np.log(p / (1 - p)) + rng.normal(0, noise, len(p))
        return 1 / (1 + np.exp(-logit))

    p_click, p_purchase = blur(columns["oracle_p_click"]), blur(columns["oracle_p_purchase_given_click"])
    return {
        **columns,
        "p_click": p_click,
        "p_purchase_given_click": p_purchase,
        "p_click_and_purchase": p_click * p_purchase,
    }


def write_run(folder, columns, cell, seed, noise, statistics=True, status="finished"):
    log = predicted(columns, noise, seed + (0 if "full" in cell else 50))
    record = RunRecord(
        name="made-up",
        status=status,
        run_dir=str(folder),
        command=f"/opt/somewhere/bin/funneltune study made-up study_dir={folder}",
        config={"seed": seed, "data": {"path": "/opt/somewhere/data/log.csv.gz"}, "run_dir": str(folder)},
        seed=seed,
        funnel=FUNNEL.to_config(),
        error=None if status == "finished" else "RunError: loss is not finite",
    )
    if status == "finished":
        record.parameters = {"total": 22_713_216, "trainable_start": 300_000, "trainable_end": 294_912, "share": 0.013}
        record.metrics = {"test": evaluate(log, FUNNEL)}
        record.oracle = ceiling(log, FUNNEL)
        record.baselines = {"popularity": score_metrics(columns, FUNNEL, columns["request"] % 7)}
        record.cost = {"step_milliseconds_median": 123.4, "peak_memory_bytes": 1.2e9, "saved_bytes": 1_200_000}
        if statistics:
            scores = {"popularity": columns["request"] % 7}
            write_statistics(folder / "statistics.npz", compact(log, FUNNEL, scores=scores))
    record.write(folder / "record.json")


def write_study(folder, seeds=(0, 1, 2), statistics=True, failed=()):
    columns = log_columns()
    runs = []
    for cell, noise in NOISE.items():
        for seed in seeds:
            where = f"cells/{cell}/seed={seed}"
            status = "failed" if (cell, seed) in failed else "finished"
            write_run(folder / where, columns, cell, seed, noise, statistics, status)
            runs.append({"cell": cell, "seed": seed, "status": status, "record": f"{where}/record.json"})
    plan = {"name": "made-up", "baseline": "tuning=frozen", "metric": "ctcvr/auc", "metrics": METRICS}
    content = {"schema_version": SCHEMA_VERSION, "study": plan, "runs": runs, "comparisons": []}
    write_json(folder / "study.json", content)
    return folder


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "study")


@pytest.fixture
def make_study(tmp_path):
    return lambda **options: write_study(tmp_path / "study", **options)


@pytest.fixture
def make_run(tmp_path):
    def make(folder="run", cell="only", seed=0, noise=0.5, **options):
        write_run(tmp_path / folder, log_columns(), cell, seed, noise, **options)
        return tmp_path / folder

    return make
