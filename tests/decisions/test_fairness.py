"""Fairness on the marketplace, whose truth is known: what is unequal is found, what is not is left alone."""

from dataclasses import replace

import numpy as np
import pytest

from funneltune.decisions.fairness import (
    Costs,
    Fairness,
    Mitigated,
    Point,
    Rows,
    Settings,
    Truth,
    audit,
    controlled,
    fitted,
    grouped,
)
from funneltune.decisions.fairness.audit import AUC, BY_TRUTH, CALIBRATION, EXPOSURE, LOG, calibration_gap, gap
from funneltune.decisions.fairness.mitigate import changes
from funneltune.decisions.fairness.record import record_of
from funneltune.decisions.fairness.rows import seen
from funneltune.decisions.fairness.study import power_of
from funneltune.errors import ConfigError, DataError
from funneltune.marketplace import world_requests
from funneltune.metrics import Interval

SOURCE = {
    "_target_": "funneltune.data.Simulated",
    "items": 240,
    "queries": 60,
    "shoppers": 200,
    "impressions": 16_000,
    "ctr": 0.2,
    "cvr": 0.3,
}
FAST = Settings(draws=400)
SELLERS = 6
TOP = 10


@pytest.fixture(scope="module")
def market():
    """Requests of a log, with what a perfect model would say of its rows; no run is trained."""
    world = world_requests(SOURCE)
    n, width = world.shown.shape
    outcome = world.outcomes(world.shown)
    attractive, converts = world.appeal(world.shown)
    by_item = np.argsort(world.shown, axis=1)

    def flat(values):
        return np.take_along_axis(values, by_item, axis=1).ravel()

    rows = Rows(
        request=np.repeat(np.arange(n), width),
        cluster=np.repeat(np.unique(world.request.user, return_inverse=True)[1], width),
        item=flat(world.shown).astype(np.int64),
        user=np.repeat(world.request.user, width),
        label=flat(outcome.click).astype(np.float64),
        known=np.ones(n * width, dtype=bool),
        p=flat(outcome.p_click).astype(np.float64),
        value=flat(attractive * converts).astype(np.float64),
        place=np.zeros(n * width, dtype=np.int64),
        logged=flat(np.broadcast_to(np.arange(1, width + 1), world.shown.shape)).astype(np.int64),
        top=TOP,
    )
    return world, replace(rows, place=rows.placed(rows.value))


@pytest.fixture(scope="module")
def sellers(market):
    """Groups of items that have nothing to do with what the items are."""
    rng = np.random.default_rng(5)
    words = [f"seller-{one}" for one in rng.permutation(np.arange(SOURCE["items"]) % SELLERS)]
    return grouped("seller", "item", words, market[1].item, 10, 25)


def test_a_market_where_groups_mean_nothing_is_not_flagged(market, sellers):
    found = audit(market[1], sellers, FAST, worth=market[1].value)
    assert found.flagged == {}
    assert found.measures[EXPOSURE].value == pytest.approx(np.ones(SELLERS), abs=0.5)
    assert found.measures[EXPOSURE].value == pytest.approx(found.measures[BY_TRUTH].value)
    assert found.measures[CALIBRATION].whole == pytest.approx(1, abs=0.05)


def test_a_ranking_that_starves_a_seller_is_found(market, sellers):
    rows = market[1]
    starved = np.where(sellers.of_row == 2, 0.3, 1.0) * rows.value
    found = audit(replace(rows, place=rows.placed(starved)), sellers, FAST)
    assert list(found.flagged) == [sellers.names[2]]
    assert found.flagged[sellers.names[2]][0] == "shown less than its merit"
    told = found.measures[EXPOSURE]
    assert told.high[2] < 0.8
    assert found.gini[0] > found.gini[1]


def test_a_log_whose_policy_puts_a_seller_last_is_found(market, sellers):
    rows = market[1]
    last = np.where(sellers.of_row == 4, 100, 0) + rows.logged
    moved = np.empty_like(rows.logged)
    moved[np.lexsort((last, rows.request))] = np.tile(np.arange(1, 21), rows.n)
    found = audit(replace(rows, logged=moved), sellers, FAST)
    assert "the log showed it less than its merit" in found.flagged[sellers.names[4]]
    assert found.measures[LOG].value[4] < 0.5
    assert not {EXPOSURE} & {
        name for name, told in found.measures.items() if name == EXPOSURE and min(told.p_holm) < 0.05
    }


def test_predictions_multiplied_for_a_group_of_shoppers_are_found(market):
    rows = market[1]
    rng = np.random.default_rng(1)
    words = [f"segment-{one}" for one in rng.permutation(np.arange(SOURCE["shoppers"]) % 4)]
    groups = grouped("user.segment", "user", words, rows.user, 10, 25)
    clean = audit(rows, groups, FAST)
    assert clean.flagged == {}
    assert np.isnan(clean.gini).all()
    wrong = audit(replace(rows, p=np.minimum(rows.p * np.where(groups.of_row == 1, 1.6, 1.0), 1.0)), groups, FAST)
    assert wrong.flagged == {groups.names[1]: ["predicted too high beside others"]}
    assert wrong.measures[CALIBRATION].low[1] > 1.3


def test_scores_that_tell_nothing_of_one_group_are_found(market, sellers):
    rows = market[1]
    rng = np.random.default_rng(3)
    blind = np.where(sellers.of_row == 0, rng.permutation(rows.p), rows.p)
    found = audit(replace(rows, p=blind), sellers, FAST)
    assert "told apart worse" in found.flagged[sellers.names[0]]
    assert found.measures[AUC].value[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_shuffled_groups_are_flagged_at_the_stated_rate_at_most(market):
    rows = market[1]
    kept = rows.request < 200
    small = replace(
        rows, **{name: getattr(rows, name)[kept] for name in ("request", "cluster", "item", "user", "label")}
    )
    small = replace(small, **{name: getattr(rows, name)[kept] for name in ("known", "p", "value", "place", "logged")})
    rng = np.random.default_rng(0)
    flagged = dict.fromkeys((EXPOSURE, CALIBRATION), 0)
    for trial in range(40):
        words = [str(one) for one in rng.permutation(np.arange(SOURCE["items"]) % SELLERS)]
        groups = grouped("seller", "item", words, small.item, 10, 25)
        found = audit(small, groups, Settings(draws=199, seed=trial))
        for name in flagged:
            flagged[name] += bool((found.measures[name].p_holm < 0.05).any())
    assert max(flagged.values()) <= 7  # of 40: 2 in expectation


# --- what narrows it -----------------------------------------------------------------------------------------------


def test_the_controller_pays_back_what_a_seller_is_owed_and_the_truth_tells_its_cost(market, sellers):
    world, rows = market
    biased = replace(rows, value=np.where(sellers.of_row == 2, 0.8, 1.0) * rows.value)
    base = replace(biased, place=biased.placed(biased.value))
    costs = Costs(base, Truth(world, base))
    before = gap(base, sellers, base.place, base.value)
    gaps, bought = [], []
    for weight in (0.0, 0.03, 1.0):
        place = controlled(base, sellers, weight)
        gaps.append(gap(base, sellers, place, base.value))
        bought.append(costs.point("", weight, gaps[-1], replace(base, place=place)).purchases.estimate)
    assert gaps[0] == pytest.approx(before)
    assert gaps[0] > 3 * gaps[1] > 3 * gaps[2]
    assert bought[0] == 0
    assert bought[0] > bought[1] > bought[2]  # nearer to merit costs more
    assert bought[1] > -0.02 * costs.purchases.mean()


def test_truth_is_that_of_the_log_s_own_pages(market):
    world, rows = market
    truth = Truth(world, rows)
    outcome = world.outcomes(world.shown)
    own = (outcome.p_click * outcome.p_purchase_given_click).sum(axis=1)
    assert truth.purchases(rows.logged) == pytest.approx(own)
    assert truth.merit() == pytest.approx(rows.value)
    short = np.where(rows.logged <= 3, rows.logged, 0)
    assert truth.purchases(short) == pytest.approx(
        (outcome.p_click * outcome.p_purchase_given_click)[:, :3].sum(axis=1)
    )


def test_shifts_fitted_to_some_requests_mend_the_sums_of_others(market, sellers):
    rows = market[1]
    odds = rows.p / (1 - rows.p) * np.where(sellers.of_row == 1, 2.0, 1.0)
    wrong = replace(rows, p=odds / (1 + odds))
    first = wrong.request < wrong.n // 2

    def part(which):
        found = {name: getattr(wrong, name)[which] for name in ("request", "cluster", "item", "user", "label", "known")}
        found |= {name: getattr(wrong, name)[which] for name in ("p", "value", "place", "logged")}
        return replace(wrong, **found | {"request": found["request"] - found["request"][0]})

    fit, test = part(first), part(~first)
    (shift,) = fitted(fit, [sellers.among(fit)])
    assert np.argmin(shift) == 1
    assert shift[1] == pytest.approx(-np.log(2.0), abs=0.15)
    groups = sellers.among(test)
    mended = 1 / (1 + np.exp(-(np.log(test.p / (1 - test.p)) + shift[groups.of_row])))
    assert calibration_gap(test, [groups], mended) < 0.7 * calibration_gap(test, [groups], test.p)


def test_changes_name_what_moved_with_an_interval_over_the_same_shoppers(market, sellers):
    rows = market[1]
    better = replace(rows, p=np.minimum(rows.p * np.where(sellers.of_row == 1, 2.0, 1.0), 1.0))
    found = changes(rows, better, sellers, 200, 0)
    assert {one.measure for one in found} == {CALIBRATION, AUC}
    moved = next(one for one in found if one.measure == CALIBRATION and one.group == sellers.names[1])
    assert moved.low > 0.5
    still = next(one for one in found if one.measure == CALIBRATION and one.group == sellers.names[0])
    assert (still.low, still.high) == (0, 0)


# --- what is told of it -------------------------------------------------------------------------------------------


LOSS, NOTHING, GAIN = (-0.02, -0.03, -0.01), (0.001, -0.01, 0.012), (0.02, 0.01, 0.03)


def told_of(rows, way, points):
    """The notes where points have these gaps and changes (NDCG, purchases); the gap was .2."""

    def interval(ends):
        return None if ends is None else Interval(ends[0], 0.01, *ends[1:], 0.5, 10, 0.0, 1, 11, "")

    made = [
        Point("so", 0.1 * number, gap, interval(ndcg), interval(bought), rows)
        for number, (gap, ndcg, bought) in enumerate(points, 1)
    ]
    mitigated = Mitigated(way, "a share", 0.2, made, [])
    bought = None if points[0][2] is None else 0.1
    found = Fairness(Settings(by=("seller",)), "ctr", "ctcvr", rows, [], 0.5, bought, mitigated, [])
    return record_of(found, "runs/a", "").notes


def test_a_loss_of_ndcg_is_told_where_purchases_show_none(market):
    told = " ".join(told_of(market[1], "exposure", [(0.1, NOTHING, NOTHING), (0.05, LOSS, NOTHING)]))
    assert "(so, weight 0.2) takes the gap from 0.2 to 0.05. NDCG@10, a loss: -0.02 (-0.03 to -0.01) of 0.5" in told
    assert "expected purchases a page, no difference that shows: +0.001 (-0.01 to +0.012) of 0.1." in told
    assert "The furthest before a loss shows: so, weight 0.1, gap 0.1." in told
    own = " ".join(told_of(market[1], "exposure", [(0.1, GAIN, None)]))
    assert "NDCG@10, a gain: +0.02 (+0.01 to +0.03) of 0.5. The gap" in own  # and no purchases


def test_where_every_point_or_only_the_first_costs_something_that_is_told(market):
    every = told_of(market[1], "exposure", [(0.3, NOTHING, NOTHING), (0.1, NOTHING, LOSS), (0.05, LOSS, LOSS)])
    assert "Every point that narrows the gap costs something that shows." in every
    points = [(0.1, LOSS, NOTHING), (0.08, NOTHING, NOTHING), (0.05, NOTHING, LOSS)]
    first = told_of(market[1], "exposure", points)
    assert "The first point that narrows the gap, so, weight 0.1, costs something that shows." in first
    assert not any("Every point" in note for note in first)


@pytest.mark.parametrize("way", ["exposure", "calibrate"])
def test_a_gap_that_did_not_narrow_is_told_once_and_nothing_beside_it(market, way):
    notes = told_of(market[1], way, [(0.21, NOTHING, LOSS), (0.3, LOSS, LOSS)])
    (note,) = [note for note in notes if "gap" in note]
    assert f"mitigate={way} did not narrow the gap here: it was 0.2 and came to 0.21 (so, weight 0.1) at best" in note
    assert "0.3 (so, weight 0.2) at worst" in note
    assert "Leave it out." in note


def test_a_table_lists_the_furthest_group_first_with_intervals_and_the_pooled_ones_last(market):
    rows = market[1]
    words = [f"seller-{one % 5}" if one < 200 else f"tiny-{one}" for one in range(SOURCE["items"])]
    groups = grouped("seller", "item", words, rows.item, 10, 25)
    assert groups.pooled
    number = groups.names.index("seller-3")
    starved = np.where(groups.of_row == number, 0.2, 1.0) * rows.value
    one = audit(replace(rows, place=rows.placed(starved)), groups, FAST)
    found = Fairness(Settings(by=("seller",)), "ctr", "ctcvr", rows, [one], 0.5, None, None, [])
    record = record_of(found, "runs/a", "")
    columns, listed = record.tables["by seller"].values()
    assert listed[0][0] == "seller-3"
    assert [row[0] for row in listed[-2:]] == [groups.names[-1], "all"]
    at = columns.index(EXPOSURE)
    assert columns[at + 1 : at + 3] == [f"{EXPOSURE}_low", f"{EXPOSURE}_high"]
    assert all(row[at + 1] < row[at] < row[at + 2] for row in listed[:-1])
    apart = [abs(np.log(row[at] / np.median(one.measures[EXPOSURE].value))) for row in listed[:-2]]
    assert apart == sorted(apart, reverse=True)
    (note,) = [note for note in record.notes if note.startswith("seller=seller-3:")]
    for name, told in one.measures.items():
        said = f"{name.replace('_', ' ')} {told.value[number]:.3g}, {told.low[number]:.3g} to {told.high[number]:.3g}"
        assert (said in note) == bool(one.said(name, number))


# --- parts ---------------------------------------------------------------------------------------------------------


def test_places_are_seen_by_their_discount_and_none_below_the_page():
    assert seen(np.array([1, 3, 0, 11]), 10).tolist() == [1.0, 0.5, 0.0, 0.0]


def test_ndcg_is_worked_by_hand():
    rows = Rows(
        request=np.array([0, 0, 0, 1, 1]),
        cluster=np.zeros(5, dtype=np.int64),
        item=np.array([0, 1, 2, 0, 1]),
        user=np.zeros(5, dtype=np.int64),
        label=np.array([1.0, 0, 1, 0, 0]),
        known=np.ones(5, dtype=bool),
        p=np.full(5, 0.5),
        value=np.array([3.0, 2, 1, 1, 2]),
        place=np.zeros(5, dtype=np.int64),
        logged=np.array([1, 2, 3, 1, 2]),
        top=2,
    )
    place = rows.placed(rows.value)
    assert place.tolist() == [1, 2, 0, 2, 1]
    found = rows.ndcg(place)
    assert found[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert np.isnan(found[1])


def test_small_groups_are_pooled_and_said_and_too_few_are_refused(market):
    rows = market[1]
    words = ["big" if one < 150 else "middle" if one < 232 else f"tiny-{one}" for one in range(240)]
    found = grouped("seller", "item", words, rows.item, 10, 25)
    assert found.names[:2] == ["big", "middle"]
    assert found.names[2] == f"{found.pooled} smaller ones"
    assert len(grouped("seller", "item", words, rows.item, 10, 1).names) == 2
    with pytest.raises(DataError, match="by=seller: 1 groups, the largest of 2.. items .* lower smallest"):
        grouped("seller", "item", ["one"] * 240, rows.item, 10, 25)
    with pytest.raises(DataError, match="one needs smallest=400"):
        grouped("seller", "item", words, rows.item, 400, 25)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mitigate": "hope"}, "mitigate=hope must be one of none, exposure, calibrate, reweight"),
        ({"smallest": 0}, "smallest=0 must be a whole number, 1 or more"),
        ({"draws": 10}, "draws=10 must be a whole number, 100 or more"),
        ({"by": ("seller", "seller")}, "by=seller,seller names a column twice"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        Settings(**settings)


def test_the_power_of_a_run_s_weights_is_read_from_its_config():
    assert power_of(None) is None
    assert power_of({"negatives": {"click": 0.5}}) is None
    assert power_of({"groups": {"column": "item.seller"}}) == 1.0
    assert power_of({"groups": {"column": "item.seller", "power": 0.5}}) == 0.5
