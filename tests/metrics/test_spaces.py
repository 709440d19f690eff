import numpy as np
import pytest

from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics.spaces import column, conditional, has_oracle, joint, ranking_score, spaces


def test_a_conditional_task_has_its_observed_rows_and_a_joint_label_on_all(funnel, columns):
    ctr, cvr, ctcvr = spaces(columns, funnel)
    clicked = np.flatnonzero(columns["click"])
    assert [space.rate for space in (ctr, cvr, ctcvr)] == ["ctr", "cvr", "ctcvr"]
    assert cvr.rows.tolist() == clicked.tolist()
    assert cvr.label.tolist() == columns["purchase"][clicked].tolist()
    assert (len(ctcvr.rows), ctcvr.label.sum()) == (3000, columns["purchase"].sum())


def test_a_complement_edge_is_read_as_it_says():
    funnel = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "buy": {"given": ["click", "!cart"]}})
    log = {
        "click": np.array([1, 1, 0]),
        "cart": np.array([1, 0, 0]),
        "buy": np.array([1, 1, 0]),
        "p_click": np.full(3, 0.5),
        "p_cart_given_click": np.full(3, 0.4),
        "p_buy_given_click_and_no_cart": np.full(3, 0.1),
    }
    buy = [space for space in spaces(log, funnel) if space.task.name == "buy"]
    assert buy[0].rows.tolist() == [1]
    assert buy[1].label.tolist() == [0, 1, 0]
    assert joint(log, funnel, funnel["buy"]) == pytest.approx(0.5 * 0.6 * 0.1)


def test_a_joint_column_wins_over_the_product(funnel, columns):
    changed = {**columns, "p_click_and_purchase": np.full(3000, 0.01)}
    assert joint(changed, funnel, funnel["purchase"]).tolist() == [0.01] * 3000


def test_ranking_score_is_the_expected_number_of_events(funnel, columns):
    wanted = columns["p_click"] + columns["p_click_and_purchase"]
    assert ranking_score(columns, funnel) == pytest.approx(wanted)


def test_an_oracle_needs_every_step_on_the_way(funnel, columns):
    assert has_oracle(columns, funnel, funnel["purchase"])
    del columns["oracle_p_click"]
    assert not has_oracle(columns, funnel, funnel["purchase"])


def test_a_missing_column_names_the_nearest():
    with pytest.raises(DataError, match="column 'p_click' is missing; did you mean 'p_clik'"):
        column({"p_clik": np.zeros(1)}, "p_click")


def test_labels_of_different_lengths_are_refused(funnel):
    with pytest.raises(DataError, match="differ in length"):
        spaces({"click": np.zeros(2), "purchase": np.zeros(3)}, funnel)


def test_a_probability_above_one_is_refused_by_column_name(funnel, columns):
    with pytest.raises(DataError, match="p_purchase_given_click: row 0 is 3"):
        conditional({**columns, "p_purchase_given_click": np.full(3000, 3.0)}, funnel["purchase"])
