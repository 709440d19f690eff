"""`funneltune personas`: groups where there are some, none where there are none, and what it refuses in one line."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import funneltune
from funneltune.cli import main
from funneltune.data import Simulated
from funneltune.decisions.personas import Settings
from funneltune.decisions.personas.grouping import Grouping, Tried, group
from funneltune.decisions.personas.record import held_against
from funneltune.marketplace import World
from funneltune.records import DecisionRecord
from small_market import train

FAST = ["bootstraps=5", "nulls=19", "max_k=5", "past=8"]
SHOP = ["backbone=none", "tuning=frozen", "features=ids", "+data.leaks=ignore", "data.source.impressions=40000"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A shop whose segments differ in taste, and by much."""
    more = ["data.source.shoppers=80", "data.source.taste_groups=3", "data.source.taste_weight=6"]
    return train(tmp_path_factory.mktemp("personas"), *SHOP, *more, "trainer.max_steps=5")


def test_it_finds_the_segments_and_writes_record_picture_and_shoppers(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["personas", f"run={run}", *FAST, "min_size=5", "blocks=tastes", f"output={out}"]) == 0
    printed = capsys.readouterr().out
    assert "personas, told apart by tastes" in printed
    assert f"record: {out / 'decision.json'}" in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.numbers["truth/personas and segments"]["low"] > 0.1  # by chance it is 0
    shoppers = pd.read_csv(out / "shoppers.csv")
    assert len(shoppers) > 40
    assert record.tables["personas"]["rows"]
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    assert main(["personas", f"run={run}", *FAST, f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_clumps_are_found_as_many_as_there_are_and_a_slope_is_none():
    rng = np.random.default_rng(0)
    settings = Settings(bootstraps=10, nulls=19, max_k=5, min_size=5)
    clumps = np.concatenate([middle + rng.normal(size=(40, 6)) for middle in 4 * rng.normal(size=(3, 6))])
    found = group(clumps, settings)
    assert found.k == 3
    assert adjusted_rand_score(np.repeat(np.arange(3), 40), found.labels) > 0.95
    dealt = np.stack([rng.permutation(column) for column in rng.normal(size=(2, 120))], axis=1)
    assert group(dealt, settings).k == 0


def test_a_log_has_the_knob_only_where_it_is_turned():
    assert "taste_groups" not in Simulated().describe()
    assert Simulated(taste_groups=2.0).describe()["taste_groups"] == 2.0
    knobs = {"items": 60, "queries": 20, "shoppers": 10, "page": 5}
    assert np.array_equal(World(**knobs).shoppers.taste, World(**knobs, taste_groups=0.5).shoppers.taste)


@pytest.mark.slow
def test_where_tastes_are_everyones_own_there_are_no_groups(tmp_path):
    more = ["data.source.shoppers=80", "data.source.taste_groups=0", "data.source.taste_weight=6"]
    run = train(tmp_path, *SHOP, *more, "trainer.max_steps=5")
    record = funneltune.personas(run, bootstraps=5, nulls=19, max_k=5, past=8, min_size=5, blocks=["tastes"])
    assert record.notes[0].startswith("No groups")
    assert "Failed: " in record.notes[0]
    assert record.tables["personas"]["rows"] == []


SLOPE = {"size": 3, "groups": 3, "silhouette": 0.21, "silhouette_null": 0.2, "gap": 0.1, "stability_null": 0.5}
UNSTABLE, STABLE = Tried(**SLOPE, stability=0.4), Tried(**SLOPE, stability=0.6)


@pytest.mark.parametrize(
    ("tried", "p_silhouette", "p_gap", "merged", "failed", "passed"),
    [
        (UNSTABLE, 0.025, 0.05, 0, ["stability (of 3 groups 0.40, more than 0.50 of shuffled"], ["silhouette", "gap"]),
        (
            STABLE,
            0.775,
            0.025,
            0,
            ["silhouette against shuffled shoppers (p = 0.775, 0.05 at most)"],
            ["gap", "stabil"],
        ),
        (STABLE, 0.05, 0.051, 0, ["gap against shuffled shoppers (p = 0.051, 0.05 at most)"], ["silhouette", "stabil"]),
        (UNSTABLE, 0.2, 0.3, 0, ["silhouette against", "gap against", "stability (of 3"], []),
        (STABLE, 0.025, 0.025, 2, ["size (all but one group have fewer than min_size=20"], ["silhouette", "stabil"]),
        (
            Tried(**{**SLOPE, "silhouette": 0.15}, stability=0.95),
            *(0.025, 0.025, 0),
            ["clearness of what is stable (silhouette of 3 groups 0.150, more than 0.200 of shuffled shoppers)"],
            ["silhouette", "gap", "stability (of 3 groups 0.95, more than 0.50 of shuffled shoppers or 0.9 at least)"],
        ),
        (None, 1.0, 1.0, 0, ["size (too few shoppers, or too alike, for two groups of min_size=20"], []),
    ],
)
def test_without_groups_it_says_which_test_failed_by_its_number_and_threshold(
    tried, p_silhouette, p_gap, merged, failed, passed
):
    none = np.full(50, -1)
    grouping = Grouping(none, np.zeros(50), (tried,) if tried else (), None, p_silhouette, p_gap, merged)
    fell, _, stood = held_against(grouping, 20).partition(" Passed: ")
    assert fell.startswith("Failed: ")
    assert fell.count(";") == len(failed) - 1 + ("nothing was tried" in fell)
    for told in failed:
        assert told in fell
    for told in passed:
        assert told in stood
    assert bool(stood) == bool(passed)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["k=5000"], "k=5000 must be fewer than the"),
        (["k=1"], "k=1 must be 2 or more, or auto"),
        (["k=few"], "k=few must be a whole number, or auto"),
        (["k=3", "method=hdbscan"], "hdbscan finds how many there are"),
        (["method=guess"], "method=guess must be one of kmeans, hdbscan"),
        (["map=globe"], "map=globe must be one of pca, umap"),
        (["min_size=1"], "min_size=1 must be a whole number, 2 or more"),
        (["explained=0"], "explained=0 must lie above 0, up to 1"),
        (["blocks=moods"], "blocks=moods must be some of tastes"),
        (["past=100000"], "past"),
        (["clusters=3"], "clusters=3 is no key here"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["personas", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
