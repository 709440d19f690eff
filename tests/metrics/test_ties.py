import numpy as np
import pytest

from funneltune.errors import DataError
from funneltune.metrics.ties import (
    block_lengths,
    block_starts,
    checked_labels,
    checked_probabilities,
    checked_scores,
    dense_groups,
    same_length,
    sum_by,
)


@pytest.mark.parametrize("wrong", [2, -1, float("nan"), 0.5])
def test_a_label_that_is_neither_0_nor_1_is_refused_with_its_row(wrong):
    with pytest.raises(DataError, match=r"click: row 2 is .*must be 0 or 1"):
        checked_labels([0, 1, wrong], "click")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_with_its_row_and_count(wrong):
    with pytest.raises(DataError, match=r"p_click: row 1 is .* \(1 of 3 rows are not finite\)"):
        checked_scores([0.1, wrong, 0.2], "p_click")


@pytest.mark.parametrize("wrong", [-0.01, 1.01])
def test_a_probability_outside_the_unit_interval_is_refused(wrong):
    with pytest.raises(DataError, match=r"p: row 0 is .*must lie in \[0, 1\]; pass p, not a logit"):
        checked_probabilities([wrong, 0.5])


def test_columns_of_different_lengths_are_refused_by_name():
    with pytest.raises(DataError, match="label has 2, score has 3 rows"):
        same_length(label=np.zeros(2), score=np.zeros(3))


def test_blocks_are_the_runs_of_equal_keys():
    starts = block_starts(np.array([0, 0, 0, 1, 1]), np.array([5.0, 5.0, 6.0, 6.0, 6.0]))
    assert starts.tolist() == [0, 2, 3]
    assert block_lengths(starts, 5).tolist() == [2, 1, 2]


def test_no_rows_have_no_blocks():
    assert block_starts(np.zeros(0)).tolist() == []


def test_groups_are_numbered_in_sorted_order_and_summed():
    index, n = dense_groups(np.array(["b", "a", "b"]))
    assert (index.tolist(), n) == ([1, 0, 1], 2)
    assert sum_by(index, np.array([1.0, 2.0, 3.0]), n).tolist() == [2.0, 4.0]
