"""Queries, items and shoppers to vectors, of a run with texts and features and of one that reads pairs."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import funneltune
from funneltune.cli import main
from funneltune.data import Asked
from funneltune.decisions import Scorer
from funneltune.decisions.embedding import BareEncoder, embed, embed_file, shopper_vectors
from funneltune.errors import ConfigError, DataError, RunError

SMALL = [
    "backbone=tiny",
    "data.source.impressions=800",
    "data.source.items=100",
    "data.source.queries=40",
    "data.source.shoppers=30",
    "data.source.ctr=0.3",
    "trainer.precision=32-true",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("twin") / "run"
    more = ["tuning=lora", "features=ids", "features.ids=[user,item]"]
    assert main(["train", f"run_dir={folder}", kept_logs, *SMALL, *more]) == 0
    return Scorer.of_run(folder)


@pytest.fixture(scope="module")
def cross(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("cross") / "run"
    assert main(["train", f"run_dir={folder}", kept_logs, *SMALL, "tuning=lora", "backbone.interaction=cross"]) == 0
    return Scorer.of_run(folder)


def test_an_item_by_its_identifier_by_its_text_and_in_the_catalogue_has_one_vector(scorer):
    store, keys = scorer.rows.store, scorer.catalogue.keys
    whole = embed(scorer, "items")
    assert whole.keys == keys
    known = embed(scorer, "items", pd.DataFrame({"item": [keys[7], keys[3], keys[7]]}))
    np.testing.assert_array_equal(known.vectors, whole.vectors[[7, 3, 7]])
    title = store.table("items").column("title")[7].as_py()
    new = embed(scorer, "items", pd.DataFrame({"title": [title]}))
    np.testing.assert_allclose(new.vectors[0], whole.vectors[7], atol=1e-5)


def test_queries_are_encoded_in_the_tables_order_and_all_of_them_without_one(scorer):
    found = embed(scorer, "queries", pd.DataFrame({"query": ["red running shoes", "desk", "red running shoes"]}))
    np.testing.assert_allclose(found.vectors[0], found.vectors[2], atol=1e-6)
    assert not np.allclose(found.vectors[0], found.vectors[1])
    np.testing.assert_allclose(found.vectors[1], scorer.query_vectors(["desk"])[0], atol=1e-5)
    assert len(embed(scorer, "queries").keys) == 40


def test_a_shopper_is_the_mean_of_past_items_and_what_the_run_learned_of_the_identifier(scorer):
    user = next(key for key in scorer.rows.users if (scorer.rows.before([Asked(user=key)], 20) >= 0).sum() > 2)
    past = scorer.rows.before([Asked(user=user)], 20)[0]
    width = scorer.item_vectors.shape[1]
    found = shopper_vectors(scorer, [user, "nobody"])
    np.testing.assert_allclose(found[0, :width], scorer.item_vectors[past[past >= 0]].mean(axis=0), atol=1e-6)
    assert not found[1, :width].any()
    features = next(iter(scorer.module.features.values()))
    numbers = scorer.assembly.data.collator().features
    bucket = numbers.of_entities("user", np.array([scorer.rows.users[user]]), False)
    np.testing.assert_allclose(found[0, width:], features.ids.table.weight[int(bucket[0])].numpy(), atol=1e-7)


def test_only_what_came_before_the_time_counts(scorer):
    rows = pd.DataFrame({"user": list(scorer.rows.users)[:3], "time": [1.0, 1.0, 1.0]})
    assert not embed(scorer, "users", rows).vectors[:, : scorer.item_vectors.shape[1]].any()
    assert embed(scorer, "users").vectors[:, : scorer.item_vectors.shape[1]].any()


def test_a_run_that_reads_pairs_reads_each_text_alone(cross):
    found = embed(cross, "items")
    assert found.vectors.shape == (100, cross.module.encoder.width)
    title = cross.catalogue.titles[5]
    np.testing.assert_allclose(
        embed(cross, "queries", pd.DataFrame({"query": [title]})).vectors[0], found.vectors[5], atol=1e-5
    )
    assert shopper_vectors(cross, ["nobody"]).shape == (1, cross.module.encoder.width)


def test_the_bare_backbone_is_what_the_run_began_with_and_is_encoded_once(scorer, monkeypatch):
    bare = BareEncoder(scorer)
    first = bare.item_vectors
    assert not np.allclose(first, scorer.item_vectors)
    np.testing.assert_allclose(bare.query_vectors([scorer.catalogue.titles[4]])[0], first[4], atol=1e-5)
    monkeypatch.setattr(BareEncoder, "_encoded_items", lambda _: pytest.fail("encoded again"))
    np.testing.assert_array_equal(BareEncoder(scorer).item_vectors, first)


def test_both_formats_hold_the_same(scorer, tmp_path):
    found = embed(scorer, "items", pd.DataFrame({"item": scorer.catalogue.keys[:3]}))
    found.write(tmp_path / "v.parquet")
    found.write(tmp_path / "v.npz")
    table, arrays = pq.read_table(tmp_path / "v.parquet"), np.load(tmp_path / "v.npz")
    assert table.column("key").to_pylist() == arrays["keys"].tolist() == found.keys
    np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), dtype=np.float32), found.vectors)
    np.testing.assert_array_equal(arrays["vectors"], found.vectors)
    with pytest.raises(RunError, match="exists; name another file"):
        found.write(tmp_path / "v.npz")
    with pytest.raises(RunError, match=r"must end in \.parquet or \.npz"):
        found.write(tmp_path / "v.csv")


@pytest.mark.parametrize(
    ("what", "rows", "told"),
    [
        ("query", {"query": ["a"]}, "what='query' must be one of queries, items, users"),
        ("queries", {"words": ["a"]}, "needs a column 'query', missing among the 1"),
        ("queries", {"query": ["a", None]}, "row 2 has no query"),
        ("items", {"item": ["nothing-like-it"]}, "item='nothing-like-it' is none of the log's 100 items"),
        ("items", {"colour_of": ["red"]}, "column 'colour_of' is neither item nor one of the items' fields"),
        ("users", {"user": ["u"], "time": ["soon"]}, "time='soon' must be unix seconds or ISO 8601"),
    ],
)
def test_what_cannot_be_encoded_is_refused(scorer, what, rows, told):
    with pytest.raises((ConfigError, DataError), match=told):
        embed(scorer, what, pd.DataFrame(rows))


def test_from_python_the_keys_and_vectors_are_the_same(scorer):
    rows = pd.DataFrame({"query": ["lamp"]})
    keys, vectors = funneltune.embed(scorer.folder, "queries", rows)
    assert keys == ["lamp"]
    np.testing.assert_allclose(vectors, embed(scorer, "queries", rows).vectors, atol=1e-6)


def test_a_file_that_is_none_is_refused(scorer, tmp_path):
    with pytest.raises(DataError, match=r"input=.*no\.csv is no file; name one that ends in"):
        embed_file(scorer, "queries", tmp_path / "no.csv")


@pytest.mark.slow
def test_a_run_that_knows_nothing_of_shoppers_or_texts_says_so(tmp_path, kept_logs):
    more = ["backbone=none", "tuning=frozen", "features=ids", "features.ids=[item]"]
    assert main(["train", f"run_dir={tmp_path / 'run'}", kept_logs, *SMALL[1:], *more]) == 0
    scorer = Scorer.of_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="reads neither texts nor an id of the shopper"):
        shopper_vectors(scorer, ["a"])
    with pytest.raises(ConfigError, match="backbone=none reads no text"):
        BareEncoder(scorer)
