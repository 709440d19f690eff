"""The next category: what is counted, fitted and told, and the truth that the marketplace knows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from funneltune.decisions.need import Events, Moments, Settings, counts_before, fit, moments, needs_of, read_log, study
from funneltune.decisions.need.judging import MODEL, OWN, PRIOR, SHUFFLED, TRUTH, Judged
from funneltune.decisions.need.lists import BY_OWN, BY_TRUTH, WITH, WITHOUT
from funneltune.decisions.need.model import FLOOR, own_shares, prior_of, shared_weights
from funneltune.decisions.need.record import record_of, write
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.records import DecisionRecord
from small_market import train

DAY = 86_400.0


def told(user, time, need, item=None):
    user, need = np.asarray(user), np.asarray(need)
    item = need if item is None else np.asarray(item)
    return Moments(np.arange(len(user)), user, np.asarray(time, dtype=float), need, item)


# --- counting ------------------------------------------------------------------------------------------------------


def test_only_what_came_strictly_before_counts_and_half_as_much_after_a_half_life():
    events = Events(np.array([0, 0, 1]), np.array([0.0, 2 * DAY, 0.0]), np.array([0, 1, 1]))
    weight = np.eye(2)[events.item]
    user, time = np.array([0, 0, 0, 2]), np.array([0.0, 2 * DAY, 4 * DAY, 9 * DAY])
    assert counts_before(events, weight, user, time).tolist() == [[0, 0], [1, 0], [1, 1], [0, 0]]
    assert counts_before(events, weight, user, time, half_life=2.0)[2] == pytest.approx([0.25, 0.5])


def test_moments_that_lead_to_one_purchase_share_its_weight():
    weight = shared_weights(told([0, 1, 0, 0], [1, 1, 2, 3], [0, 0, 0, 1]))
    assert weight.tolist() == [0.5, 1.0, 0.5, 1.0]


def test_own_shares_start_at_the_prior_and_end_at_the_counts():
    prior = np.array([0.75, 0.25])
    found = own_shares(np.array([[0.0, 0.0], [0.0, 1e9], [0.0, 1.0]]), prior, 1.0)
    assert found[0] == pytest.approx(prior)
    assert found[1] == pytest.approx([0, 1], abs=1e-6)
    assert found[2] == pytest.approx([0.375, 0.625])


# --- the fit -------------------------------------------------------------------------------------------------------


def drawn(n, seed, weight=1.5):
    """Moments whose labels follow p ~ prior x exp(weight x attribute)."""
    rng = np.random.default_rng(seed)
    prior, x = np.array([0.5, 0.3, 0.2]), rng.normal(size=(n, 3, 2))
    utility = np.log(prior) + weight * x[..., 0]
    p = np.exp(utility) / np.exp(utility).sum(axis=1, keepdims=True)
    need = (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return (x, told(np.arange(n), np.zeros(n), need)), p


def test_the_fit_finds_the_coefficients_that_made_the_labels():
    (train_rows, _), (valid, p) = drawn(6000, 0), drawn(2000, 1)
    found = fit(np.array([0.5, 0.3, 0.2]), train_rows, valid)
    coefficients = found.weights / found.temperature
    assert coefficients[0] == pytest.approx(1.0, abs=0.15)
    assert coefficients[1:] / found.scale == pytest.approx([1.5, 0.0], abs=0.15)
    assert found.temperature == pytest.approx(1.0, abs=0.1)
    assert np.abs(found.of(valid[0]) - p).mean() < 0.02
    assert found.of(valid[0]).sum(axis=1) == pytest.approx(np.ones(2000))


def test_a_training_that_was_too_sure_is_cooled_on_the_validation_moments(monkeypatch):
    monkeypatch.setattr("funneltune.decisions.need.model.PENALTIES", (1e-4,))
    sure, (valid, _) = drawn(3000, 0, weight=4.0)[0], drawn(3000, 1, weight=1.0)
    assert fit(np.array([0.5, 0.3, 0.2]), sure, valid).temperature > 1.5


def test_a_category_that_was_never_bought_keeps_a_chance():
    (rows, moments_), _ = drawn(200, 0)
    rows = np.concatenate([rows, np.full((200, 1, 2), -99.0)], axis=1)
    prior = prior_of(moments_, 4)
    assert prior[3] > 0
    found = fit(prior, (rows, moments_), (rows, moments_))
    assert found.of(rows)[:, 3] == pytest.approx(FLOOR * prior[3], rel=0.5)


def test_measures_are_those_worked_out_by_hand():
    said = {MODEL: np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]), PRIOR: np.full((2, 3), 1 / 3)}
    judged = Judged(said, told([0, 1], [0, 0], [0, 1]))
    assert judged.mean(MODEL, "log_loss").estimate == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    assert judged.hits(MODEL, 1).tolist() == [1, 0]
    assert judged.gain(MODEL, PRIOR, "log_loss").estimate == pytest.approx(np.log(3 * np.sqrt(0.21)))
    assert judged.calibration_error(MODEL) == pytest.approx((0.3 + 0.5) / 2)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [({"top": 0}, "top=0 must be a whole number, 1 or more"), ({"depth": 5, "places": 5}, "depth=5 must be > places")],
)
def test_settings_out_of_range_are_refused(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        Settings(**settings)


LOYAL = ["loyalty=0.8", "shoppers=30", "queries=150", "domains=[home]", "items=200"]


# --- a run on a marketplace of loyal shoppers -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    words = ["backbone=none", "tuning=frozen", "features=ids", "+data.leaks=ignore", "data.source.impressions=16000"]
    folder = tmp_path_factory.mktemp("need")
    return Scorer.of_run(train(folder, *words, *(f"data.source.{knob}" for knob in LOYAL), "data.split.test=0.3"))


@pytest.fixture(scope="module")
def found(scorer):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("funneltune.decisions.need.judging.TRUE_PAGES", 6000)
        return study(scorer, Settings(places=5, depth=100))


def test_no_label_of_a_split_lies_in_another_ones_days(scorer, found):
    store = scorer.assembly.data.store
    bounds = {}
    for split, of in found.found.items():
        rows = scorer.assembly.data.rows(split)
        bought = rows[store.column("purchase")[rows] == 1]
        pairs = set(zip(store.column("user")[bought].tolist(), store.column("item")[bought].tolist(), strict=True))
        assert pairs.issuperset(zip(of.user.tolist(), of.item.tolist(), strict=True))
        bounds[split] = of.time.min(), of.time.max()
    assert bounds["train"][1] < bounds["validation"][0] <= bounds["validation"][1] < bounds["test"][0]


def test_the_next_purchase_is_the_first_from_the_request_on(scorer, found):
    store, of = scorer.assembly.data.store, found.found["test"]
    rows = scorer.assembly.data.rows("test")
    bought = rows[store.column("purchase")[rows] == 1]
    for place in (0, len(of) // 2, len(of) - 1):
        own = bought[
            (store.column("user")[bought] == of.user[place]) & (store.column("time")[bought] >= of.time[place])
        ]
        first = own[store.column("time")[own] == store.column("time")[own].min()]
        assert of.item[place] in store.column("item")[first]


def test_history_tells_loyal_shoppers_apart_and_swapped_labels_do_not(found):
    judged, truth = found.judged, found.truth
    assert judged.gain(MODEL, PRIOR, "log_loss").low > 0.2
    assert judged.gain(MODEL, SHUFFLED, "log_loss").low > 0.2
    assert judged.mean(TRUTH, "log_loss").estimate < judged.mean(PRIOR, "log_loss").estimate
    assert truth.divergence(MODEL).high < truth.divergence(PRIOR).low
    assert truth.rank_correlation(MODEL).low > 0.1
    assert abs(truth.rank_correlation(SHUFFLED).estimate) < 0.1
    assert truth.divergence(OWN).estimate < truth.divergence(SHUFFLED).estimate


def test_lists_ranked_by_need_sell_more_to_loyal_shoppers_by_the_worlds_truth(found):
    lists = found.lists
    assert lists.gain(WITH, "purchases").low > 0
    assert lists.gain(BY_TRUTH, "purchases").low > 0
    assert lists.weights[WITH] > 0
    assert lists.weights[WITHOUT] == 0
    assert lists.gain(WITHOUT, "purchases").estimate == 0


def test_a_shoppers_likeliest_categories_come_first_and_a_stranger_gets_about_the_prior(scorer, found):
    known = list(scorer.rows.users)[int(found.found["test"].user[0])]
    rows = needs_of(scorer, found, [known, "nobody"])
    assert rows.place.tolist() == [1, 2, 3, 1, 2, 3]
    assert (rows.groupby("user").p.diff().dropna() <= 0).all()
    assert rows.lift.to_numpy() == pytest.approx((rows.p / rows.prior).to_numpy())
    assert rows[rows.user == "nobody"].events.tolist() == [0, 0, 0]
    assert rows[rows.user == "nobody"].lift.max() < rows[rows.user == known].lift.max()
    with pytest.raises(ConfigError, match="backbone=none and reads no words"):
        needs_of(scorer, found, [known], "boots")


def test_the_record_holds_numbers_with_intervals_and_is_written_whole(scorer, found, tmp_path):
    needs = needs_of(scorer, found, list(scorer.rows.users)[:4])
    record = record_of(found, needs, "runs/a", {})
    write(record, found, needs, tmp_path)
    assert DecisionRecord.read(tmp_path / "decision.json").tables["needs"]["columns"][0] == "user"
    assert (tmp_path / "need.png").stat().st_size > 10_000
    assert len((tmp_path / "needs.csv").read_text().splitlines()) == 13
    entry = record.numbers[f"{MODEL} over {PRIOR}/log_loss"]
    assert entry["low"] <= entry["value"] <= entry["high"]
    assert any("Rank lists without words by need" in note for note in record.notes)


def test_moments_of_a_split_are_its_requests(scorer, found):
    test = moments(scorer, found.log, "test")
    assert np.isin(test.request, scorer.assembly.data.requests("test")).all()


def test_a_log_without_shoppers_times_or_fitting_categories_is_refused(scorer, monkeypatch):
    from funneltune.data import LogStore

    with pytest.raises(ConfigError, match="category=kind is no column of the log's items; choose one of"):
        read_log(scorer, "kind")
    monkeypatch.setattr("funneltune.decisions.need.log.MOST_CATEGORIES", 3)
    with pytest.raises(ConfigError, match="a need is one of 2 to 3: choose another column"):
        read_log(scorer, "category")
    has, table = LogStore.has, LogStore.table
    monkeypatch.setattr(LogStore, "has", lambda store, name: name != "time" and has(store, name))
    with pytest.raises(ConfigError, match="has a log without times, so that nothing comes next"):
        read_log(scorer)
    monkeypatch.setattr(
        LogStore, "table", lambda store, name: table(store, name)[:1] if name == "users" else table(store, name)
    )
    with pytest.raises(ConfigError, match="has a log without shoppers"):
        read_log(scorer)


def told_of(found, **purchases):
    """The notes where lists bring something else."""
    lists = replace(found.lists, purchases={**found.lists.purchases, **purchases})
    return record_of(replace(found, lists=lists), needs_frame(), "runs/a", {}).notes


def test_what_lists_by_need_cost_is_told_without_a_sign_and_what_they_bring_with_one(found):
    told = found.lists.purchases
    notes = told_of(found, **{WITH: 0.9 * told[WITHOUT]})
    (note,) = [note for note in notes if "Do not rank lists by a shopper's need" in note]
    cost = 0.1 * told[WITHOUT].mean()
    assert f"it costs {cost:.3g} purchases a list" in note
    assert "against the run's list without need" in note
    low, high = note.partition("(")[2].partition(")")[0].split(" to ")
    assert 0 < float(low) < cost < float(high)
    (note,) = [n for n in record_of(found, needs_frame(), "runs/a", {}).notes if "Rank lists without words" in n]
    assert "it brings +" in note


def test_lists_by_need_that_bring_what_the_run_s_own_do_make_no_claim(found):
    notes = told_of(found, **{WITH: found.lists.purchases[WITHOUT]})
    assert any("No claim for lists ranked by a shopper's need: they bring just what the others do" in n for n in notes)
    assert not any("nan" in note for note in notes)


def test_need_is_held_against_own_shares_and_where_it_is_not_better_that_is_said(found):
    own = found.lists.purchases[BY_OWN]
    alike = own + np.random.default_rng(0).normal(0.0, 0.05, len(own))
    for values, told in (
        (1.2 * own, "are better than lists ranked by the shopper's own shares"),
        (0.8 * own, "are worse than lists ranked by the shopper's own shares"),
        (alike, "are not better than lists ranked by the shopper's own shares"),
        (own, "are not better than lists ranked by the shopper's own shares"),
    ):
        (note,) = [note for note in told_of(found, **{WITH: values}) if "Lists ranked by need" in note]
        assert told in note
        assert f"{values.mean():.3g} a list by need, {own.mean():.3g} by shares" in note
        assert ("Rank by these shares." in note) == ("worse" in told)
        assert "nan" not in note
    numbers = record_of(found, needs_frame(), "runs/a", {}).numbers
    gap = numbers[f"{WITH} over {BY_OWN}/purchases"]
    assert gap["value"] == pytest.approx(found.lists.purchases[WITH].mean() - own.mean())
    assert gap["low"] <= gap["value"] <= gap["high"]


def needs_frame():
    return pd.DataFrame({"user": ["a"], "p": [0.5]})
