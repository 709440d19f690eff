"""The test split beside the training split: what moved is found, what did not is not, and identifiers are counted."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import funneltune
from funneltune.cli import main
from funneltune.data import Split, Table, drift, prepare
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds

ROWS = 4000
ROLES = {
    "request": "session",
    "user": "shopper",
    "query_text": {"query": "q"},
    "item": "sku",
    "item_text": {"title": "name", "brand": "brand"},
    "price": "price",
    "categorical": ["colour", "device", "split"],
    "numeric": ["score"],
    "labels": {"click": "clicked", "purchase": "bought"},
}


@pytest.fixture(scope="module")
def frame():
    """Half of the requests train, half test; in the test prices are half a deviation higher, colours new and empty."""
    random = np.random.default_rng(0)
    session = np.arange(ROWS) // 4
    test = session >= ROWS // 8
    clicked = random.random(ROWS) < np.where(test, 0.4, 0.2)
    sku = np.where(test & (random.random(ROWS) < 0.25), 100, 0) + random.integers(0, 50, ROWS)
    return pd.DataFrame(
        {
            "session": session,
            "shopper": session % 20,
            "q": "lamp",
            "sku": sku,
            "name": [f"lamp {item}" for item in sku],
            "brand": [f"brand {item % 5}" for item in sku],
            "price": random.normal(np.where(test, 10.5, 10.0), 1.0),
            "score": random.normal(size=ROWS),
            "colour": np.where(test & (random.random(ROWS) < 0.3), "new", random.choice(["red", "blue"], ROWS)),
            "device": np.where(test & (random.random(ROWS) < 0.1), "", "phone"),
            "clicked": clicked.astype(int),
            "bought": (clicked & (random.random(ROWS) < 0.5)).astype(int),
            "split": np.where(test, "test", np.where(session % 10 == 0, "validation", "train")),
        }
    )


@pytest.fixture(scope="module")
def found(frame, funnel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    frame.to_csv(folder / "log.csv", index=False)
    store = prepare(Table(folder / "log.csv", **ROLES), funnel, folder)
    requests = Split(by="column", column="split").cut(store)
    return drift(store, requests, FeatureNeeds(ids=("item.brand",)))


@pytest.fixture
def moved(found):
    return {column.column: column for column in found.columns}


def test_every_column_is_compared_once_and_time_and_labels_are_no_numbers(found):
    assert sorted(column.column for column in found.columns) == sorted(
        ["ctr", "cvr", "price", "score", "position", "colour", "device", "split", "item.brand", "user", "item"]
    ), "one query only: nothing to count"
    assert found.rows == {"train": 1800, "test": 2000}


def test_rates_are_those_of_observed_rows(frame, moved):
    train, test = (frame[frame.split == name] for name in ("train", "test"))
    assert moved["ctr"].train == pytest.approx(train.clicked.mean())
    assert moved["ctr"].test == pytest.approx(test.clicked.mean())
    assert moved["cvr"].test == pytest.approx(test[test.clicked == 1].bought.mean())
    p, q = train.clicked.mean(), test.clicked.mean()
    assert moved["ctr"].psi == pytest.approx((q - p) * np.log(q / p) + (p - q) * np.log((1 - q) / (1 - p)), rel=0.02)
    assert (moved["ctr"].change, moved["cvr"].change) == ("some", "little")


def test_a_number_that_moved_is_told_from_one_that_did_not(frame, moved):
    assert moved["price"].psi == pytest.approx(0.25, abs=0.06)  # of normals s apart it is s^2
    assert moved["score"].change == "little"
    there = [frame[frame.split == name].price for name in ("train", "test")]
    assert moved["price"].ks == pytest.approx(stats.ks_2samp(*there).statistic, abs=1e-6)
    assert moved["price"].p < 1e-6 < 0.001 < moved["score"].p


def test_words_tell_what_is_new_and_what_is_empty(frame, moved):
    test = frame[frame.split == "test"]
    assert moved["colour"].unseen == pytest.approx((test.colour == "new").mean())
    assert moved["colour"].change == "large"
    assert (moved["device"].train, moved["device"].test) == (0, pytest.approx((test.device == "").mean()))
    assert moved["item.brand"].change == "little"


def test_identifiers_tell_how_many_rows_have_a_new_one(frame, moved):
    test = frame[frame.split == "test"]
    assert moved["item"].unseen == pytest.approx((test.sku >= 100).mean())
    assert (moved["user"].train, moved["user"].test) == (18, 20), "those of validation's sessions never trained"
    assert moved["user"].unseen == pytest.approx(0.1)


def test_what_moved_most_stands_first_behind_the_labels(found):
    kinds = [column.kind for column in found.columns]
    assert kinds[:2] == ["label", "label"]
    assert kinds[-2:] == ["identifier", "identifier"]
    indices = [column.psi for column in found.columns[2:-2]]
    assert indices == sorted(indices, reverse=True)


def test_a_split_against_itself_has_not_moved(frame, funnel, tmp_path):
    frame.to_csv(tmp_path / "log.csv", index=False)
    store = prepare(Table(tmp_path / "log.csv", **ROLES), funnel, tmp_path)
    requests = Split(by="column", column="split").cut(store)
    for column in drift(store, {"train": requests["test"], "test": requests["test"]}).columns:
        assert (column.psi or 0) == 0, column
        assert (column.ks or 0) == 0, column
        assert (column.unseen or 0) == 0, column


def test_long_splits_are_compared_on_rows_that_are_drawn_and_said_to_be(frame, funnel, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["funneltune.data.drift"], "AT_MOST", 500)  # the function has the module's name
    frame.to_csv(tmp_path / "log.csv", index=False)
    store = prepare(Table(tmp_path / "log.csv", **ROLES), funnel, tmp_path)
    cut = Split(by="column", column="split").cut(store)
    first, again = drift(store, cut), drift(store, cut)
    assert first == again
    assert first.in_words().startswith("train 1,800 rows, test 2,000 rows (500 of train drawn; 500 of test drawn)")


def test_levels_and_amounts_have_a_drift_too(frame, tmp_path):
    frame.assign(stars=1 + frame.sku % 3).to_csv(tmp_path / "log.csv", index=False)
    tasks = TaskFunnel.from_config({"stars": {"kind": "ordinal", "levels": [1, 2, 3]}, "paid": {"kind": "regression"}})
    roles = {**ROLES, "labels": {"stars": "stars", "paid": "price"}, "price": None}
    store = prepare(Table(tmp_path / "log.csv", **roles), tasks, tmp_path)
    moved = {one.column: one for one in drift(store, Split(by="column", column="split").cut(store)).columns}
    assert moved["stars"].psi < 0.1
    assert moved["paid"].ks > 0.1


def test_the_command_prints_a_table_and_how_to_read_it(capsys, kept_logs):
    assert main(["data", "drift", "data=simulated", "data.source.impressions=4000", kept_logs]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("train ")
    assert told[1].split() == ["column", "kind", "train", "test", "psi", "ks", "p", "unseen"]
    assert told[2].startswith("ctr ")
    assert any(line.startswith("psi: below 0.1 little, above 0.25 a large change") for line in told)


def test_python_gives_the_same_as_a_table(kept_logs):
    table = funneltune.drift("data=simulated", "data.source.impressions=4000", kept_logs).table()
    assert {"column", "kind", "train", "test", "psi", "ks", "p", "unseen", "change"} == set(table.columns)
    assert table.column.iloc[0] == "ctr"


@pytest.mark.tried("bad_config", "bad_input")
def test_a_deed_that_is_none_is_told(capsys):
    assert main(["data", "drfit", "data=simulated"]) == 2
    assert "data drfit is unknown, nearest: drift; it is one of describe, validate, drift" in capsys.readouterr().err
