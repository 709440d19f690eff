"""A log simulated from judgments: its truth, its seed, its pages, and what cannot be simulated."""

import numpy as np
import pandas as pd
import pytest

from funneltune.data import Judged, prepare, validate
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}})


def judgments(tmp_path, n=400):
    rng = np.random.default_rng(0)
    query, item = rng.integers(0, 40, n), rng.integers(0, 150, n)
    frame = pd.DataFrame(
        {
            "words": [f"query {q}" for q in query],
            "sku": [f"i{i}" for i in item],
            "name": [f"item {i}" for i in item],
            "relevance": rng.integers(1, 4, n),
        }
    )
    frame.to_csv(tmp_path / "judged.csv", index=False)
    return tmp_path / "judged.csv"


def judged(tmp_path, **knobs):
    path = judgments(tmp_path)
    return Judged(
        path, item="sku", item_text={"title": "name"}, query_text={"query": "words"}, grade="relevance", **knobs
    )


def test_a_log_simulated_from_judgments_follows_its_own_truth(tmp_path):
    store = prepare(judged(tmp_path, impressions=30_000, ctr=0.1, cvr=0.2), FUNNEL, tmp_path / "cache")
    assert store.n_rows == 30_000
    click, p_click = store.column("click"), store.column("oracle_p_click")
    bought, p_bought = store.column("purchase"), store.column("oracle_p_purchase_given_click")
    assert p_click.mean() == pytest.approx(0.1, abs=0.02)
    assert click.mean() == pytest.approx(p_click.mean(), abs=0.006)
    assert bought[click == 1].mean() == pytest.approx(p_bought[click == 1].mean(), abs=0.03)
    assert (bought <= click).all()
    grade = store.column("grade")
    rates = [p_click[grade == g].mean() for g in np.unique(grade)]
    assert rates == sorted(rates)
    assert store.text("items", "{title}")[store.column("item")[0]].startswith("item ")
    assert "simulated from judgments" in store.manifest["notes"]


def test_the_seed_fixes_the_simulated_log(tmp_path):
    one, same, other = (
        prepare(judged(tmp_path, impressions=500, seed=seed), FUNNEL, tmp_path / f"cache{n}").table("impressions")
        for n, seed in enumerate((3, 3, 4))
    )
    assert one.equals(same)
    assert not one.equals(other)


def test_a_page_shows_the_judged_items_of_its_query(tmp_path):
    store = prepare(judged(tmp_path, impressions=500), FUNNEL, tmp_path / "cache")
    frame = pd.read_csv(tmp_path / "judged.csv")
    grades = frame.groupby(["words", "name"]).relevance.mean()
    queries, items = store.text("queries", "{query}"), store.text("items", "{title}")
    for row in range(0, 500, 37):
        pair = queries[store.column("query")[row]], items[store.column("item")[row]]
        assert store.column("grade")[row] == pytest.approx(grades.get(pair, 1.0))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"page": 90}, "needs at least twice as many judged items"),
        ({"ctr": 0.9}, r"ctr=0.9 must lie in"),
        ({"impressions": 0}, "impressions=0 must be"),
        ({"shoppers": 0}, "shoppers=0 must be"),
        ({"zipf": -1}, "zipf=-1 must lie"),
    ],
)
def test_judgments_that_cannot_make_a_log_are_refused(tmp_path, knobs, message):
    with pytest.raises((ConfigError, DataError), match=message):
        validate(judged(tmp_path, **knobs), FUNNEL)


def test_unknown_knobs_and_labels_of_the_simulation_are_named(tmp_path):
    with pytest.raises(ConfigError, match="data.source.pages is no argument"):
        judged(tmp_path, pages=3)
    with pytest.raises(DataError, match="no such label; it has click, purchase"):
        validate(judged(tmp_path), TaskFunnel.from_config({"cart": {}}))
