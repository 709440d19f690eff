"""Every input through the command line: features with and without texts, tasks of every kind, trackers, real files."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from funneltune.cli import main
from funneltune.records import RunRecord
from own_log import write_group

DATA = Path(os.environ.get("FUNNELTUNE_DATA", Path(__file__).parents[3] / "shared" / "data"))
QUICK = ["trainer.precision=32-true", "trainer.enable_progress_bar=false", "logger=none", "trainer.max_epochs=1"]
TINY = ["backbone=tiny", "tuning=full"]
SHOP = """
  time: request
  labels:
    click: click
    purchase: purchase
    stars: stars
    need: need
    spend: {column: spend, transform: log1p}
  categorical: [colour]
tasks:
  click: {rate: ctr}
  purchase: {given: [click], rate: cvr, joint_rate: ctcvr}
  stars: {given: [click], kind: ordinal, levels: [1, 2, 3]}
  need: {kind: multiclass, levels: [lamp, couch, rug]}
  spend: {given: [purchase], kind: regression}
split: {_target_: funneltune.data.Split, by: time, validation: 0.2, test: 0.3, seed: 0}
leaks: {label: warn} # the query names the need
features: {ids: [user, item, colour], numbers: {price: log}, vectors: [], history: 3}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """120 requests; colours, prices and words all tell something."""
    rng = np.random.default_rng(0)
    words, rows = ["lamp", "couch", "rug"], []
    for request in range(120):
        query = words[request % 3]
        for _ in range(6):
            item = int(rng.integers(12))
            price = 5.0 + 3 * item
            click = int(rng.random() < (0.8 if words[item % 3] == query else 0.15))
            bought = int(click and rng.random() < 0.6)
            colour = ("red", "blue")[item % 2]
            stars = int(np.clip(round(1 + item / 5 + rng.normal(0, 0.3)), 1, 3))
            title = f"{colour} {words[item % 3]} {item}"
            spend = price * bought
            row = (
                request,
                f"u{request % 7}",
                query,
                f"i{item}",
                title,
                price,
                colour,
                click,
                bought,
                stars,
                query,
                spend,
            )
            rows.append(row)
    names = ["request", "user", "query", "item", "title", "price", "colour"]
    names += ["click", "purchase", "stars", "need", "spend"]
    folder = tmp_path_factory.mktemp("shop")
    write_group(folder, pd.DataFrame(rows, columns=names), SHOP)
    return folder


def train(shop, run, *overrides):
    common = ["data=shop", "--config-dir", str(shop / "groups"), f"run_dir={run}", *QUICK]
    return main(["train", *common, *overrides])


INPUTS = {
    "text": [*TINY],
    "features": ["backbone=none", "tuning=frozen", "features=all"],
    "ids": ["backbone=none", "tuning=frozen", "features=ids"],
    "both": [*TINY, "features=all"],
    "trees": [*TINY, "baselines=[trees,popularity,bm25]"],
}


FAST = ("both", "trees", "hillstrom")
"""Of the tests that train once for each of many names; the others are slow."""


def some_slow(names):
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", some_slow(INPUTS))
def test_a_run_of_every_input_and_kind_is_trained_tested_and_used_again(shop, tmp_path, name, capsys):
    run = tmp_path / "run"
    assert train(shop, run, *INPUTS[name], "head=shared_bottom", "objective=masked_bce", "trainer.max_epochs=3") == 0
    record = RunRecord.read(run / "record.json")
    for key in ("ctr/auc", "ctcvr/auc", "stars_given_click/qwk", "need/accuracy", "spend_given_purchase/rmse"):
        assert record.value(key) is not None, key
    assert record.funnel["need"]["levels"] == ["lamp", "couch", "rug"]
    predictions = pd.read_parquet(run / "predictions.parquet")
    levels = predictions[[f"p_need[{word}]" for word in ("lamp", "couch", "rug")]]
    np.testing.assert_allclose(levels.sum(axis=1), 1, atol=1e-5)
    spend = predictions["mean_spend_given_purchase"]
    assert spend.between(0, np.log1p(60)).all()  # in the label's own unit, not the standard one
    if name == "trees":
        assert set(record.baselines) == {"trees", "popularity", "bm25"}
        assert record.baselines["trees"]["ctr/auc"]["value"] > 0.4
        assert "score_trees_click_and_purchase" in predictions
    capsys.readouterr()
    assert main(["evaluate", f"run={run}"]) == 0
    assert f"ctr/auc {record.value('ctr/auc'):.4f}" in " ".join(capsys.readouterr().out.split())
    bare = pd.read_csv(shop / "log.csv").drop(columns=["click", "purchase", "stars", "need", "spend"])
    bare.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", f"run={run}", f"input={tmp_path}/new.csv", f"output={tmp_path}/out.parquet"]) == 0
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert scored["row"].tolist() == list(range(1, len(bare) + 1))
    assert scored["item"].tolist() == bare["item"].tolist()
    assert list(scored.columns) == ["row", "user", "query", "item", *record.tasks().predicted]


@pytest.mark.slow
def test_predictions_of_new_rows_equal_the_runs_own(shop, tmp_path):
    run = tmp_path / "run"
    assert train(shop, run, "backbone=none", "tuning=frozen", "features=all", "features.history=0") == 0
    kept = pd.read_parquet(run / "predictions.parquet")
    log = pd.read_csv(shop / "log.csv")
    tested = log[log.request >= log.request.max() - 35].sample(frac=1, random_state=0)  # another order: other codes
    tested.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", f"run={run}", f"input={tmp_path}/new.csv", f"output={tmp_path}/out.parquet"]) == 0
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert len(scored) == len(kept)
    assert scored["item"].tolist() == tested["item"].tolist()
    mine = pd.DataFrame({"request": tested.request.to_numpy(), "p": scored.p_click}).groupby("request").p.sum()
    np.testing.assert_allclose(mine, kept.groupby("request").p_click.sum(), rtol=1e-5)


@pytest.mark.slow
def test_features_none_is_the_run_without_features(shop, tmp_path):
    values = []
    for name, more in (("plain", []), ("none", ["features=none"])):
        assert train(shop, tmp_path / name, *TINY, *more, "trainer.limit_train_batches=3", "baselines=[]") == 0
        values.append(pd.read_parquet(tmp_path / name / "predictions.parquet").p_click.to_numpy())
    assert np.array_equal(*values)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone=none", "tuning=frozen"], "backbone=none and features=none leave nothing to learn from"),
        (["backbone=none", "features=ids"], "tuning=adalora has nothing to tune with backbone=none; set tuning=frozen"),
        (["backbone=none", "tuning=frozen", "features=ids", "trainer=fsdp2"], "and backbone=none; use trainer=ddp"),
        (["features=all", "backbone=tiny", "backbone.interaction=cross"], "interaction=twin, or history=0"),
        (["features.ids=[colours]"], "the log has no 'colours'; did you mean 'colour'?"),
        (["features=all", "features.numbers={price: cube}"], "numbers.price='cube' must be one of"),
        (["backbone=none", "tuning=frozen", "features=ids", "baselines=[cosine]"], "cosine needs a backbone"),
        (["~data.split"], "data.split is missing"),
        (["data.texts=null"], "this log has no texts; set backbone=none tuning=frozen"),
        (["+data.source.strict={buy: drop}"], "strict.buy names no task"),
        (["data.tasks.stars.kind=ordnal"], "kind='ordnal' must be one of"),
        (["monitor=validation/need/auc", "select=best"], "validation/need/auc"),
    ],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_inputs_that_cannot_be_are_one_line(shop, tmp_path, capsys, overrides, message):
    assert train(shop, tmp_path / "run", *overrides) in (1, 2)
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_tensorboard_holds_what_was_logged(shop, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    overrides = [word for word in QUICK if word != "logger=none"]
    command = ["train", "data=shop", "--config-dir", str(shop / "groups"), f"run_dir={run}", *overrides]
    assert main([*command, *TINY, "logger=tensorboard"]) == 0
    found = events.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    record = RunRecord.read(run / "record.json")
    (final,) = found.Scalars("final/test/ctr/auc")
    assert final.value == pytest.approx(record.value("ctr/auc"), rel=1e-5)
    assert found.Scalars("train/loss")
    assert "facts/text_summary" in found.Tags()["tensors"]


REAL = {
    "hillstrom": ["visit/auc", "conversion_given_visit/auc"],
    "expedia": ["ctr/auc", "cvr/auc"],
    "taobao": ["cart_given_view/auc", "buy_given_view/auc"],
    "womens_clothing": ["rating/qwk", "recommended/auc"],
    "myntra": ["log_price/r2", "gender/accuracy"],
    "census_income": ["income/auc", "never_married/auc"],
    "open_bandit": ["ctr/auc"],
    "homedepot_judged": ["ctr/auc", "cvr_entire/expected_auc"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", some_slow(REAL))
def test_every_shipped_data_set_trains_on_its_real_file(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FUNNELTUNE_DATA", str(DATA))
    if not DATA.is_dir():
        pytest.skip(f"no data sets in {DATA}; set FUNNELTUNE_DATA to a folder that has them")
    few = ["trainer.limit_train_batches=3", "trainer.max_epochs=1", f"data.cache_dir={tmp_path}/cache", "baselines=[]"]
    texts = name not in ("taobao", "census_income", "open_bandit")
    small = ["backbone=tiny", "tuning=full", "data.max_tokens=16"] if texts else []
    words = [word for word in QUICK if "epochs" not in word]
    assert main(["train", name, f"run_dir={tmp_path}/run", *words, *few, *small, "select=last"]) == 0
    record = RunRecord.read(tmp_path / "run" / "record.json")
    for key in REAL[name]:
        assert record.value(key) is not None, key


@pytest.mark.slow
def test_data_validate_and_describe_speak_of_a_real_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FUNNELTUNE_DATA", str(DATA))
    if not DATA.is_dir():
        pytest.skip(f"no data sets in {DATA}; set FUNNELTUNE_DATA to a folder that has them")
    assert main(["data", "validate", "womens_clothing"]) == 0
    assert "23,486 impressions" in capsys.readouterr().out
    assert main(["data", "describe", "womens_clothing", f"data.cache_dir={tmp_path}"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rates"]["rating"]["levels"] == {"1": 842, "2": 1565, "3": 2871, "4": 5077, "5": 13131}
    assert told["notes"]["filled"]["Title"] == 3810
    assert told["notes"]["written after the outcome"] == {"Title": "purchase", "Review Text": "purchase"}
    assert main(["data", "validate", "womens_clothing", "data.tasks={purchase: {}}"]) == 2


def test_data_drift_and_the_keys_of_batches_are_there_for_a_log_of_ones_own(shop, capsys):
    words = ["data=shop", "--config-dir", str(shop / "groups")]
    assert main(["data", "drift", *words, "data.train_share=0.9", "data.slices=[colour]"]) == 0
    assert "item" in capsys.readouterr().out
    assert main(["data", "validate", *words, "data.workers=-1"]) == 2
    assert "data.workers=-1 must be a whole number >= 0" in capsys.readouterr().err
