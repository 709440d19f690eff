"""One run through the command line: train, look at what it leaves, evaluate, predict, and what is refused."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from funneltune.cli import main

SMALL = [
    "backbone=tiny",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "tuning.target_rank=2",
    "tuning.initial_rank=4",
    "logger=none",
]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of 60 requests in which words that fit are clicked."""
    rng = np.random.default_rng(0)
    words = ["lamp", "couch", "rug", "mug", "desk", "chair"]
    rows = []
    for request in range(60):
        query = words[request % 6]
        for position in range(7):
            item = int(rng.integers(6))
            click = int(rng.random() < (0.7 if words[item] == query else 0.15))
            bought = int(click and rng.random() < 0.4)
            rows.append((request, query, f"i{item}", f"big {words[item]}", position, request, click, bought))
    names = ["request", "query", "item", "title", "position", "time", "click", "purchase"]
    folder = tmp_path_factory.mktemp("log")
    pd.DataFrame(rows, columns=names).to_csv(folder / "log.csv", index=False)
    (folder / "groups" / "data").mkdir(parents=True)
    (folder / "groups" / "data" / "own.yaml").write_text(
        f"""
path: {folder}/log.csv
source:
  _target_: funneltune.data.Table
  path: ${{data.path}}
  request: request
  query_text: {{query: query}}
  item: item
  item_text: {{title: title}}
  position: position
  time: time
  labels: {{click: click, purchase: purchase}}
tasks: {{click: {{rate: ctr}}, purchase: {{given: [click], rate: cvr, joint_rate: ctcvr}}}}
split: {{_target_: funneltune.data.Split, by: time, validation: 0.2, test: 0.3, seed: 0}}
texts: {{query: "{{query}}", item: "{{title}}"}}
rows_per_batch: 14
slices: [position]
cache_dir: {folder}/cache
"""
    )
    return folder


@pytest.fixture(scope="module")
def run(log):
    folder = log / "run"
    status = main(
        [
            "train",
            "data=own",
            f"--config-dir={log / 'groups'}",
            f"run_dir={folder}",
            "baselines=[bm25,popularity]",
            *SMALL,
        ]
    )
    assert status == 0
    return folder


def test_a_run_leaves_the_folder_of_the_contract(run):
    assert {
        "config.yaml",
        "record.json",
        "predictions.parquet",
        "history.parquet",
        "statistics.npz",
        "weights",
        "train.log",
        "checkpoints",
    } <= {path.name for path in run.iterdir()}
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "finished"
    assert sum(record["rank_pattern"].values()) == 2 * 12  # two layers of six matrices, exactly on target
    assert record["parameters"]["trainable_end"] < record["parameters"]["trainable_start"]
    assert record["metrics"]["test"]["ctr/auc"]["protocol"]["n"] == 18 * 7
    assert {"bm25", "popularity"} == set(record["baselines"])
    assert record["cost"]["saved_bytes"] > 0


def test_predictions_are_the_test_split_and_give_the_records_metrics(run):
    frame = pq.read_table(run / "predictions.parquet").to_pandas()
    assert len(frame) == 18 * 7
    joint = frame.p_click * frame.p_purchase_given_click
    np.testing.assert_allclose(frame.p_click_and_purchase, joint, rtol=1e-5)
    from sklearn.metrics import roc_auc_score

    record = json.loads((run / "record.json").read_text())
    assert roc_auc_score(frame.click, frame.p_click) == pytest.approx(record["metrics"]["test"]["ctr/auc"]["value"])


def test_the_history_holds_losses_rates_and_ranks(run):
    names = set(pq.read_table(run / "history.parquet").column("name").to_pylist())
    assert {"train/loss", "train/penalty", "validation/ctr/auc", "tuning/live_rank"} <= names
    assert any(name.startswith("lr/") for name in names)
    assert any(name.startswith("rank/") for name in names)


def test_a_run_evaluates_to_its_own_record(run):
    from funneltune.runs import evaluate

    again = evaluate(run)
    record = json.loads((run / "record.json").read_text())
    for key, entry in record["metrics"]["test"].items():
        if entry["value"] is not None:
            assert again[key]["value"] == pytest.approx(entry["value"], abs=1e-5), key


def test_predict_scores_a_table_without_labels(run, log, tmp_path):
    whole = pd.read_csv(log / "log.csv")
    bare = whole.drop(columns=["click", "purchase", "position", "time"])  # the run reads no such number
    bare.to_csv(tmp_path / "new.csv", index=False)
    arguments = ["predict", f"run={run}", f"input={tmp_path / 'new.csv'}", f"output={tmp_path / 'scores.csv'}"]
    assert main(arguments) == 0
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert len(scores) == len(bare)
    assert scores.p_click.between(0, 1).all()
    assert main(arguments) == 2  # the output exists


def test_a_run_on_the_marketplace_scores_a_file_of_queries_and_titles(tmp_path, capsys):
    folder = tmp_path / "run"
    small = ["data.source.impressions=600", "data.source.items=100", "data.source.queries=30", "baselines=[]"]
    words = ["train", "quickstart", "tuning=frozen", "debug=tiny", f"run_dir={folder}", f"data.cache_dir={tmp_path}"]
    assert main([*words, *small]) == 0
    rows = {"query": ["couch", "couch", "rug"], "title": ["Velvet Loveseat", "Desk Lamp", "Wool Rug"]}
    pd.DataFrame(rows).to_csv(tmp_path / "new.csv", index=False)
    arguments = ["predict", f"run={folder}", f"input={tmp_path / 'new.csv'}"]
    assert main([*arguments, f"output={tmp_path / 'scores.csv'}"]) == 0
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores.p_click_and_purchase.le(scores.p_click).all()
    assert scores["row"].tolist() == [1, 2, 3]
    assert scores["query"].tolist() == rows["query"]
    pd.DataFrame(rows).drop(columns="title").to_csv(tmp_path / "new.csv", index=False)
    assert main([*arguments, f"output={tmp_path / 'other.csv'}"]) == 2
    assert "column 'title' is missing" in capsys.readouterr().err


def test_the_same_config_gives_the_same_run(run, log, tmp_path):
    arguments = ["train", "data=own", f"--config-dir={log / 'groups'}", "baselines=[bm25,popularity]", *SMALL]
    assert main([*arguments, f"run_dir={tmp_path / 'again'}"]) == 0
    first, second = (json.loads((f / "record.json").read_text()) for f in (run, tmp_path / "again"))
    assert first["metrics"] == second["metrics"]
    assert first["config_hash"] == second["config_hash"]


def test_a_run_that_leaves_the_test_split_alone_has_validation_metrics_and_no_word_of_the_test(run, log, tmp_path):
    folder = tmp_path / "trial"
    arguments = ["train", "data=own", f"--config-dir={log / 'groups'}", *SMALL, "test=false", f"run_dir={folder}"]
    assert main(arguments) == 0
    trial, whole = (json.loads((path / "record.json").read_text()) for path in (folder, run))
    assert trial["metrics"] == {"validation": whole["metrics"]["validation"]}
    assert [trial[key] for key in ("oracle", "baselines", "comparisons")] == [{}, {}, []]
    fitted, tested = (record["calibration"]["ctr"]["methods"]["platt"] for record in (trial, whole))
    assert fitted == {key: value for key, value in tested.items() if key != "test"}
    assert not [*folder.glob("predictions*"), *folder.glob("statistics*")]
    assert (folder / "weights").is_dir()


def test_a_folder_that_holds_a_run_is_refused(run, log, capsys):
    assert main(["train", "data=own", f"--config-dir={log / 'groups'}", f"run_dir={run}", *SMALL]) == 2
    assert "run_dir=" in capsys.readouterr().err


def test_damaged_weights_are_refused(run, tmp_path):
    import shutil

    from funneltune.errors import RunError
    from funneltune.runs import load

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "weights" / "trained.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(RunError, match="is damaged"):
        load(copy)
    weights.unlink()
    with pytest.raises(RunError, match="is missing"):
        load(copy)


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert main(["evaluate", f"run={tmp_path}"]) == 2


@pytest.mark.parametrize("tuning", ["full", *(pytest.param(t, marks=pytest.mark.slow) for t in ("frozen", "houlsby"))])
def test_every_method_trains_and_comes_back(log, tmp_path, tuning):
    from funneltune.runs import evaluate

    small = [word for word in SMALL if not word.startswith("tuning.")]
    folder = tmp_path / "run"
    arguments = ["train", "data=own", f"--config-dir={log / 'groups'}", f"tuning={tuning}", *small]
    assert main([*arguments, f"run_dir={folder}", "backbone.dropout=0.0"]) == 0
    record = json.loads((folder / "record.json").read_text())
    again = evaluate(folder)["ctr/log_loss"]["value"]
    assert again == pytest.approx(record["metrics"]["test"]["ctr/log_loss"]["value"], abs=1e-5)


def test_a_run_keeps_what_scalings_fitted_on_validation_alone_do(run):
    record = json.loads((run / "record.json").read_text())
    told = record["calibration"]["ctr"]
    assert told["fitted_on"]["split"] == "validation"
    assert told["fitted_on"]["n"] == record["metrics"]["validation"]["ctr/auc"]["protocol"]["n"]
    assert list(told["methods"]) == ["none", "temperature", "platt", "isotonic"]
    for split in ("validation", "test"):
        assert told["methods"]["none"][split]["ece"] == record["metrics"][split]["ctr/ece"]["value"]
    assert sum(told["methods"]["platt"]["test"]["curve"]["n"]) == 18 * 7
    assert "validation rows with the label 1" in record["calibration"]["cvr"]["skipped"]


def test_predict_applies_the_scaling_that_it_is_told(run, log, tmp_path, capsys):
    arguments = ["predict", f"run={run}", f"input={log / 'log.csv'}"]
    assert main([*arguments, f"output={tmp_path / 'raw.csv'}"]) == 0
    assert main([*arguments, f"output={tmp_path / 'platt.csv'}", "calibration=platt"]) == 0
    raw, scaled = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("raw", "platt"))
    told = json.loads((run / "record.json").read_text())["calibration"]["ctr"]["methods"]["platt"]["parameters"]
    logit = np.log(raw.p_click / (1 - raw.p_click))
    np.testing.assert_allclose(scaled.p_click, 1 / (1 + np.exp(-told["slope"] * logit - told["intercept"])), rtol=1e-9)
    np.testing.assert_array_equal(scaled.p_purchase_given_click, raw.p_purchase_given_click)  # too few purchases
    np.testing.assert_allclose(scaled.p_click_and_purchase, scaled.p_click * raw.p_purchase_given_click, rtol=1e-9)
    assert list(scaled.columns) == list(raw.columns)
    capsys.readouterr()
    assert main([*arguments, f"output={tmp_path / 'other.csv'}", "calibration=beta"]) == 2
    assert "calibration=beta must be none or one of temperature, platt, isotonic" in capsys.readouterr().err


def test_a_run_says_which_scaling_its_predictions_get_and_a_record_without_it_is_told(run, log, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("use: none", "use: temperature"))
    arguments = ["predict", f"run={copy}", f"input={log / 'log.csv'}"]
    assert main([*arguments, f"output={tmp_path / 'a.csv'}"]) == 0
    assert main([*arguments, f"output={tmp_path / 'b.csv'}", "calibration=none"]) == 0
    a, b = (pd.read_csv(tmp_path / f"{name}.csv").p_click for name in "ab")
    assert (a != b).any()
    record = json.loads((copy / "record.json").read_text())
    (copy / "record.json").write_text(json.dumps(record | {"calibration": {}}))
    capsys.readouterr()
    assert main([*arguments, f"output={tmp_path / 'c.csv'}"]) == 2
    assert f"holds no such scaling (funneltune evaluate run={copy} keep=true" in capsys.readouterr().err


def test_the_test_split_is_cut_by_what_the_log_allows_and_predictions_hold_the_slices(run):
    record = json.loads((run / "record.json").read_text())
    frame = pq.read_table(run / "predictions.parquet").to_pandas()
    cut = {key: entry for key, entry in record["metrics"]["test"].items() if "[" in key}
    assert {key.partition("[")[2].partition("=")[0] for key in cut} == {"position"}  # of all others there is one value
    assert {"item_cold", "query_length", "position"} <= set(frame.columns)
    for value, rows in frame.groupby("position"):
        assert cut[f"ctr/log_loss[position={value}]"]["protocol"]["n"] == len(rows)
    assert not [key for key in record["metrics"]["validation"] if "[" in key]


def test_a_finished_run_is_measured_anew_and_nothing_moves(run, tmp_path, capsys):
    """What a record of an earlier release lacks, it gets; on one machine every number is the one recorded."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    whole = json.loads((copy / "record.json").read_text())
    old = {key: value for key, value in whole.items() if key not in ("calibration", "measured")}
    old["metrics"] = {
        split: {key: entry for key, entry in metrics.items() if "[" not in key}
        for split, metrics in whole["metrics"].items()
    }
    (copy / "record.json").write_text(json.dumps(old))
    (copy / "statistics.npz").unlink()
    capsys.readouterr()
    assert main(["evaluate", f"run={copy}", "keep=true"]) == 0
    assert "largest difference from what was recorded: 0\n" in capsys.readouterr().out
    again = json.loads((copy / "record.json").read_text())
    assert again["measured"]["at"]
    assert again["measured"]["largest_difference"] == 0
    assert {key: value for key, value in again.items() if key != "measured"} == {
        key: value for key, value in whole.items() if key != "measured"
    }
    for name in ("statistics.npz", "predictions.parquet"):
        assert (copy / name).read_bytes() == (run / name).read_bytes()
    assert main(["evaluate", f"run={copy}", "keep=perhaps"]) == 2
    assert "keep=perhaps must be true or false" in capsys.readouterr().err


def test_a_run_whose_log_has_changed_is_not_measured_anew(run, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = json.loads((copy / "record.json").read_text())
    record["data"]["fingerprint"] = "another"
    (copy / "record.json").write_text(json.dumps(record))
    assert main(["evaluate", f"run={copy}", "keep=true"]) == 2
    assert "was trained on another log" in capsys.readouterr().err
