"""The verbs from Python: what they give back, what they refuse, and how light importing is."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import funneltune
from funneltune.errors import ConfigError, DataError, FailedRunError, FunnelError, Interrupted, RunError

SMALL = ("debug=tiny", "data.source.impressions=1000", "trainer.limit_train_batches=4", "baselines=[]")
EVIDENCE = Path(__file__).parents[2] / "experiments"
ROWS = pd.DataFrame({"query": ["red shoes", "lamp", "red shoes"], "title": ["red shoe", "table lamp", "blue shoe"]})
pytestmark = pytest.mark.usefixtures("in_a_folder")


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    return funneltune.train(
        "quickstart", "tuning=frozen", *SMALL, kept_logs, run_dir=tmp_path_factory.mktemp("a b") / "r"
    )


def alone(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_brings_nothing_and_reading_records_no_torch(run):
    assert alone("import funneltune, sys; print({'torch', 'pandas', 'hydra'} & set(sys.modules))") == "set()"
    code = (
        f"import funneltune, sys; funneltune.read_records({str(run.folder)!r}).table(); print('torch' in sys.modules)"
    )
    assert alone(code) == "False"


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(funneltune, name) is not None for name in funneltune.__all__)
    assert set(funneltune.__all__) <= set(dir(funneltune))
    with pytest.raises(AttributeError, match="no attribute 'trian'; public are .*train"):
        _ = funneltune.trian


def test_a_run_gives_its_metrics_with_protocol_its_predictions_and_its_history(run):
    metrics = run.metrics()
    assert metrics.loc["ctr/auc", "value"] == run.record.value("ctr/auc")
    assert metrics.loc["cvr/auc", "rows"] == "rows where click"
    assert len(run.predictions()) == metrics.loc["ctr/auc", "n"] == run.record.data["rows"]["test"]
    losses = run.history("train/loss")
    assert list(losses.columns) == ["step", "name", "value"]
    assert set(losses.name) == {"train/loss"}
    assert len(run.history()) > len(losses)


def test_the_record_names_the_command_that_does_the_same(run):
    command = run.record.command
    assert command.startswith("funneltune train quickstart tuning=frozen debug=tiny ")
    assert f"run_dir='{run.folder}'" in command


def test_training_writes_the_run_s_own_table(run):
    assert (run.folder / "table.md").is_file()


def test_measuring_again_gives_what_was_recorded(run):
    pd.testing.assert_frame_equal(funneltune.evaluate(run), run.metrics())
    pd.testing.assert_frame_equal(funneltune.evaluate(str(run.folder), "validation"), run.metrics("validation"))


def test_predictions_of_a_table_and_of_its_file_are_the_same_in_the_rows_order(run, tmp_path):
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    found = funneltune.predict(run, ROWS)
    assert list(found.row) == [1, 2, 3]
    assert list(found["query"]) == list(ROWS["query"])
    np.testing.assert_allclose(found.p_click * found.p_purchase_given_click, found.p_click_and_purchase, rtol=1e-5)
    pd.testing.assert_frame_equal(found, funneltune.predict(run.folder, tmp_path / "rows.csv"))


@pytest.mark.slow
def test_rows_go_to_a_source_of_its_own_separator_as_it_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"s": rng.integers(0, 60, 600), "q": "a,b", "t": rng.integers(0, 9, 600).astype(str)})
    rows.assign(y=rng.integers(0, 2, 600)).to_csv("log.txt", sep=";", index=False, header=False)
    (tmp_path / "my" / "data").mkdir(parents=True)
    (tmp_path / "my" / "data" / "mine.yaml").write_text(
        "path: log.txt\n"
        "source: {_target_: funneltune.data.Table, path: '${data.path}', separator: ';', columns: [s, q, t, y],"
        " request: s, user: null, query_text: {query: q}, item: t, item_text: {title: t}, labels: {click: y}}\n"
        "tasks: {click: {rate: ctr}}\n"
        "split: {_target_: funneltune.data.Split, by: request, validation: 0.1, test: 0.2, seed: 0}\n"
        "texts: {query: '{query}', item: '{title}'}\n"
        "cache_dir: cache\n"
    )
    words = ("data=mine", "debug=tiny", "tuning=frozen", "head=shared_bottom", "objective=masked_bce")
    words = (*words, "monitor=validation/ctr/auc", "trainer.limit_train_batches=4")
    run = funneltune.train(*words, config_dir="my", run_dir="r")
    assert f"--config-dir {tmp_path / 'my'}" in run.record.command
    assert list(funneltune.predict(run, rows.head(3))["query"]) == ["a,b"] * 3
    assert "can be used: 1 queries, 9 items" in funneltune.validate("data=mine", config_dir="my").in_words()


def test_items_are_ranked_for_a_query(run):
    found = funneltune.rank(run, "red shoes", by="ctr", top=3)
    rates = ["p_click", "p_purchase_given_click", "p_click_and_purchase"]
    assert list(found.columns) == ["request", "place", "item", "title", *rates, "value", "before", "why"]
    assert found.p_click.is_monotonic_decreasing
    assert len(found) == 3
    without = funneltune.rank(run, "red shoes", by="ctr", top=3, rules={"pinned": [found["item"][2]]})
    assert without["item"][0] == found["item"][2]
    assert without.why[0] == "pinned"
    pages = funneltune.rank(run, split="test", most=2, candidates="logged", top=4)
    assert pages.groupby("request").size().tolist() == [4, 4]


def test_a_ranking_from_python_has_all_that_the_command_has(run):
    Path("short.yaml").write_text("top: 3\nby: cvr\n")
    of_file = funneltune.rank(run, "red shoes", ranking="short.yaml")
    assert len(of_file) == 3  # its own top stands where none is given
    assert of_file.value.tolist() == of_file.p_purchase_given_click.tolist()
    pd.DataFrame({"request": ["a", "b"], "query": ["red shoes", "lamp"]}).to_csv("asked.csv", index=False)
    parts = {"diversity": {"weight": 0.5}, "exposure": {"column": "seller", "target": "catalogue"}}
    found = funneltune.rank(run, requests="asked.csv", candidates="hybrid", top=5, output="pages.parquet", **parts)
    assert found.groupby("request").size().to_dict() == {"a": 5, "b": 5}
    pd.testing.assert_frame_equal(pd.read_parquet("pages.parquet"), found)
    with pytest.raises(RunError, match=r"output=pages.parquet exists; name another file or remove it."):
        funneltune.rank(run, "red shoes", output="pages.parquet")


def test_a_config_is_composed_as_the_command_would(tmp_path):
    assert funneltune.compose("quickstart", "tuning=lora", "seed=3").tuning.rank == 8
    with pytest.raises(ConfigError, match=r"tunign is no key \(nearest: tuning\)"):
        funneltune.compose("quickstart", "tunign=lora")
    with pytest.raises(ConfigError, match="'lora' is a second bare word"):
        funneltune.compose("quickstart", "lora")


def test_a_log_is_described(kept_logs):
    found = funneltune.describe("data=simulated", "data.source.impressions=1000", kept_logs)
    assert found["impressions"] == 1000
    assert found["splits"]["train"]["rows"] > found["splits"]["test"]["rows"]


@pytest.mark.slow
def test_a_study_runs_compares_and_goes_on(kept_logs, tmp_path):
    words = ("quickstart", *SMALL, kept_logs, "tuning=frozen,bitfit", "seed=0,1")
    done = funneltune.study(*words, study_dir="s")
    assert repr(done) == "Records('s': 4 run(s) of 2 cell(s))"
    runs = done.runs()
    assert list(runs.cell.unique()) == ["tuning=frozen", "tuning=bitfit"]
    assert runs["parameters.trainable_end"].groupby(runs.cell).nunique().eq(1).all()
    shown = done.table()
    assert shown.index.name == "quickstart"
    assert shown.loc["bitfit", ("CTR AUC", "mean")] == runs[runs.cell == "tuning=bitfit"]["ctr/auc"].mean()
    saved = runs[runs.cell == "tuning=bitfit"]["cost.saved_bytes"].mean() / 1e6
    assert shown.loc["bitfit", ("saved MB", "mean")] == pytest.approx(saved)
    verdicts = done.comparisons()
    assert set(verdicts.baseline) == {"tuning=frozen"}
    assert set(done.comparisons("tuning=bitfit", ["ctr/auc"]).cell) == {"tuning=frozen"}
    assert "CTR AUC" in done.answer()
    assert all(figure.axes for figure in done.figures().values())
    assert funneltune.report("s", "out", figures=["svg"]).read_text().startswith("<!doctype html>")
    assert {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")} == set(done.figures())
    again = funneltune.study(*words, study_dir="s")
    pd.testing.assert_frame_equal(again.runs(), runs)
    with pytest.raises(ConfigError, match="baseline=tuning=full is no cell here"):
        done.comparisons("tuning=full")


def test_a_papers_claims_are_a_table_from_the_records_that_are_there(tmp_path):
    found = funneltune.reproduce("mmoe2018", "run=false", f"records={EVIDENCE}", "output=pages")
    assert set(found.paper) == {"mmoe2018"}
    assert set(found.scale) == {"small"}
    assert found.groupby("claim").status.nunique().eq(1).all()
    tried = found[found.verdict != "not run"]
    assert (tried.low < tried.estimate).all()
    assert (tried.estimate < tried.high).all()
    assert "| claim |" in (tmp_path / "pages" / "mmoe2018.md").read_text()
    (tmp_path / "empty").mkdir()
    every = funneltune.reproduce("--list", "records=empty")
    assert set(every.verdict) == {"not run"}
    assert set(every.paper) > {"mmoe2018", "adalora2023"}


@pytest.mark.slow
def test_a_papers_studies_are_run_and_a_run_that_fails_is_told(monkeypatch, tmp_path):
    ran = []

    def carry_out(asked, report):
        ran.append(asked.cfg.name)
        failed = {"status": "failed", "folder": "cells/a/seed=0", "attempts": 3, "error": "the disk is full"}
        return {"trials": [], "runs": [failed]}

    monkeypatch.setattr("funneltune.cli.study.carry_out", carry_out)
    with pytest.warns(RuntimeWarning, match=r"1 run\(s\) failed: a seed=0 \(3 attempts\): the disk is full") as told:
        found = funneltune.reproduce("esmm2018", "seed=0")
    assert told[0].filename == __file__
    assert ran == ["selection_bias"]
    assert set(found.verdict) == {"not run"}


@pytest.mark.slow
def test_runs_that_failed_are_told_and_the_others_given(kept_logs, monkeypatch):
    from funneltune import runs

    trained = runs.train

    def train(cfg, run_dir):
        if cfg.seed == 1:
            raise FailedRunError("the disk is full")
        return trained(cfg, run_dir)

    monkeypatch.setattr("funneltune.runs.train", train)
    words = ("quickstart", *SMALL, kept_logs, "tuning=frozen", "seed=0,1", "study.retries=0")
    with pytest.warns(RuntimeWarning, match=r"1 run\(s\) failed: tuning=frozen seed=1.*: the disk is full"):
        done = funneltune.study(*words, study_dir="s")
    assert list(done.runs().seed) == [0]


def test_an_interrupt_is_one_with_the_way_on_and_a_termination_ends_the_program(run, monkeypatch):
    def stopped(signum):
        def train(cfg, run_dir):
            raise Interrupted(signum, "go on with: ...")

        monkeypatch.setattr("funneltune.runs.train", train)
        funneltune.train("quickstart", *SMALL)

    with pytest.raises(KeyboardInterrupt, match="go on with"):
        stopped(signal.SIGINT)
    with pytest.raises(Interrupted, match="go on with"):
        stopped(signal.SIGTERM)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda run: funneltune.train("quickstart", run_dir=run.folder), RunError, "exists and is not empty"),
        (lambda run: funneltune.train("quickstart", "trainer=ddp"), ConfigError, "train from a terminal"),
        (lambda run: funneltune.study("tuning=lora"), ConfigError, "no study is named"),
        (lambda run: funneltune.Run("nowhere"), RunError, "run=nowhere holds no record.json; name the folder"),
        (lambda run: run.history("train/los"), ConfigError, "was not logged; nearest: train/loss; history"),
        (lambda run: funneltune.predict(run, "nowhere.csv"), DataError, "rows=nowhere.csv is no file"),
        (lambda run: funneltune.predict(run, pd.DataFrame({"title": ["x"]})), DataError, "column 'query' is missing"),
        (
            lambda run: funneltune.predict(run, pd.DataFrame({"query": ["a", 3], "title": ["x", "y"]})),
            DataError,
            "neither text nor number",
        ),
        (lambda run: funneltune.predict(run, ROWS, calibration="plat"), RunError, "plat"),
        (lambda run: funneltune.report(run.folder, figures=["gif"]), ConfigError, "figures=gif is no format"),
        (lambda run: funneltune.reproduce("esmm"), ConfigError, "esmm is no paper here, nearest: esmm2018"),
        (lambda run: funneltune.reproduce("esmm2018", "records=no"), RunError, "records=no is no folder"),
        (lambda run: funneltune.evaluate(run, "train"), RunError, "must be validation or test"),
        (lambda run: funneltune.rank(run, "shoes", by="clicks"), ConfigError, "by='clicks' must be one of"),
        (lambda run: funneltune.validate("data=hillstrom", "data.path=no.csv"), DataError, "is not there"),
        (lambda run: funneltune.describe("quickstart", "data=homdepot"), ConfigError, "nearest: homedepot"),
        (lambda run: funneltune.read_records("nowhere"), RunError, "nowhere does not exist"),
        (lambda run: funneltune.report("nowhere"), RunError, "nowhere does not exist"),
        (lambda run: funneltune.compose("quickstart", config_dir="nowhere"), ConfigError, "is not a folder"),
    ],
)
def test_a_mistake_is_one_line_as_the_command_has_it(run, call, error, told):
    with pytest.raises(error, match=told) as found:
        call(run)
    assert isinstance(found.value, FunnelError)
    assert "\n" not in str(found.value)


@pytest.mark.slow
def test_a_run_without_test_or_history_says_so(kept_logs):
    bare = funneltune.train(
        "quickstart", "tuning=frozen", *SMALL, kept_logs, "test=false", "~callbacks.history", run_dir="r"
    )
    with pytest.raises(RunError, match=r"has no predictions.parquet: it was not tested"):
        bare.predictions()
    with pytest.raises(RunError, match=r"has no history.parquet: it was trained without callbacks.history"):
        bare.history()
