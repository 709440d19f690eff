"""What candidates are worth, and pages place by place."""

import numpy as np
import pytest

from funneltune.decisions.diversity import ColumnLikeness, VectorLikeness
from funneltune.decisions.exposure import Shares
from funneltune.decisions.order import Limit, Worth, fill
from funneltune.errors import ConfigError

RATES = ("ctr", "cvr", "ctcvr")
P = {"ctr": np.array([0.1, 0.2]), "cvr": np.array([0.5, 0.1]), "ctcvr": np.array([0.05, 0.02])}


@pytest.mark.parametrize(
    ("by", "value"),
    [
        ("", [0.05, 0.02]),
        ("ctr", [0.1, 0.2]),
        ("revenue", [0.5, 0.8]),
        ("0.5*ctr + 2*ctcvr", [0.15, 0.14]),
        ("ctr+1e-1*revenue", [0.15, 0.28]),
    ],
)
def test_worth_is_a_rate_or_price_times_the_joint_rate_or_a_weighted_sum(by, value):
    np.testing.assert_allclose(Worth.parse(by, RATES).of(P, np.array([10.0, 40.0])), value)


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("ctvr", "by='ctvr' must be one of ctr, cvr, ctcvr or revenue; did you mean"),
        ("ctr*2", "cannot be read at 'ctr\\*2'"),
        ("0*ctr", "weights must be numbers above 0, to 1e\\+09"),
        ("1e308*ctr+1e308*ctr", "weights must be numbers above 0"),
        ("1.2.3*ctr", "has the weight 1.2.3"),
    ],
)
def test_words_that_say_no_worth_are_refused(by, told):
    with pytest.raises(ConfigError, match=told):
        Worth.parse(by, RATES)


@pytest.mark.parametrize(("price", "told"), [(None, "has none"), (np.array([1.0, np.nan]), "has items without one")])
def test_revenue_without_prices_is_refused(price, told):
    with pytest.raises(ConfigError, match=f"needs the price of every candidate, and the log {told}"):
        Worth.parse("revenue", RATES).of(P, price)


def order(value, top=None, **rules):
    page = fill(np.asarray(value, dtype=float), len(value) if top is None else top, **rules)
    return page.chosen.tolist(), page.why


def test_without_rules_a_page_is_the_order_by_value_and_equal_ones_come_by_number():
    assert order([0.2, 0.5, 0.2, 0.5, 0.1]) == ([1, 3, 0, 2, 4], ("",) * 5)
    assert order([0.0, 0.0])[0] == [0, 1]
    assert order([])[0] == []


def test_relevance_is_that_of_carbonell_and_goldstein_worked_by_hand():
    # values relative to the best: 1, .9, .6, .5; 0 and 1 are alike by .95, 2 and 3 by .8
    vectors = np.linalg.cholesky(
        np.array([[1, 0.95, 0.1, 0.2], [0.95, 1, 0.1, 0.2], [0.1, 0.1, 1, 0.8], [0.2, 0.2, 0.8, 1]])
    )
    value = np.array([1.0, 0.9, 0.6, 0.5]) * 0.04
    # place 2 at lambda .5: item 1 .45 - .475, item 2 .3 - .05, item 3 .25 - .1; place 3: item 1 -.025, item 3 .25 - .4
    found = order(value, likeness=VectorLikeness(vectors), weight=0.5)
    assert found == ([0, 2, 1, 3], ("", "diversity", "", ""))
    assert order(value, likeness=VectorLikeness(vectors), weight=1.0)[0] == [0, 1, 2, 3]


def test_maximal_marginal_relevance_equals_its_definition_written_out():
    rng = np.random.default_rng(0)
    vectors, value = rng.standard_normal((30, 5)), rng.random(30)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted: list[int] = []
    for _ in range(12):
        left = [i for i in range(30) if i not in wanted]
        score = [0.6 * value[i] / value.max() - 0.4 * max((unit[i] @ unit[j] for j in wanted), default=0) for i in left]
        wanted.append(left[int(np.argmax(score))])
    assert order(value, 12, likeness=VectorLikeness(vectors), weight=0.6)[0] == wanted


def test_only_the_best_of_the_pool_rise_for_being_unlike():
    likeness = ColumnLikeness(np.array([[0], [0], [0], [1]]))
    value = [1.0, 0.9, 0.8, 0.01]
    assert order(value, 2, likeness=likeness, weight=0.3)[0] == [0, 3]
    assert order(value, 2, likeness=likeness, weight=0.3, pool=3)[0] == [0, 1]
    assert order(value, 4, likeness=likeness, weight=0.3, pool=3)[0] == [0, 1, 2, 3]


def test_at_most_so_many_of_a_kind_and_the_page_ends_where_nothing_is_left():
    brand = Limit("brand", np.array([0, 0, 1, 0, 1]), 1)
    assert order([5, 4, 3, 2, 1], limits=[brand]) == ([0, 2], ("", "at most: brand"))
    two = Limit("category", np.array([0, 1, 0, 1, 0]), 2)
    assert order([5, 4, 3, 2, 1], limits=[two])[0] == [0, 1, 2, 3]


def test_pins_have_their_places_count_for_limits_and_come_last_on_a_short_page():
    assert order([5, 4, 3, 2], pinned={2: 3}) == ([0, 3, 1, 2], ("", "pinned", "", ""))
    brand = Limit("brand", np.array([0, 0, 1, 0]), 1)
    assert order([5, 4, 3, 2], limits=[brand], pinned={1: 3})[0] == [3, 2]
    assert order([5, 4, 3], limits=[Limit("brand", np.zeros(3, int), 1)], pinned={9: 2})[0] == [0, 2]


def test_shares_move_the_best_of_a_group_up_and_say_so():
    shares = Shares(np.array([0, 0, 0, 1, 1]), np.array([0.5, 0.5]))
    assert order([5, 4, 3, 2, 1], 4, shares=shares) == ([0, 3, 1, 4], ("", "exposure", "", "exposure"))
