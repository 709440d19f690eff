import itertools

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from funneltune.metrics import lists


def over_orders(gain, score, value):
    """The average of `value(gains in order)` over every order that the scores allow: the definition, by brute force."""
    gain, score = np.asarray(gain, dtype=float), np.asarray(score)
    found = [
        value(gain[list(order)])
        for order in itertools.permutations(range(len(gain)))
        if all(score[a] >= score[b] for a, b in itertools.pairwise(order))
    ]
    return np.mean(found)


@pytest.fixture
def tied():
    rng = np.random.default_rng(0)
    request = np.repeat(np.arange(40), 6)
    return request, rng.integers(0, 3, 240), (rng.random(240) < 0.3).astype(int)


def test_ndcg_equals_scikit_learn_with_ties_and_grades(tied):
    request, score, _ = tied
    gain = np.random.default_rng(1).integers(0, 4, 240).astype(float)
    found = lists.ndcg(lists.RankedLists(request, score), gain, 3)
    wanted = [ndcg_score(g[None], s[None], k=3) for g, s in zip(gain.reshape(40, 6), score.reshape(40, 6), strict=True)]
    assert found.values == pytest.approx(np.array(wanted), abs=1e-12)


def test_ndcg_by_hand():
    lists_ = lists.RankedLists([0, 0, 0], [3.0, 2.0, 1.0])
    worth = 1 / np.log2(3)
    assert lists.ndcg(lists_, [0, 1, 1], 2).mean == pytest.approx(worth / (1 + worth), abs=1e-12)


def test_mean_reciprocal_rank_is_the_average_over_orders_of_ties(tied):
    request, score, label = tied
    found = lists.reciprocal_rank(lists.RankedLists(request, score), label)
    for r in range(40):
        own = label[request == r]
        if own.sum():
            wanted = over_orders(own, score[request == r], lambda g: 1 / (1 + np.flatnonzero(g)[0]))
            assert found.values[r] == pytest.approx(wanted, abs=1e-12)
        else:
            assert np.isnan(found.values[r])


def test_recall_is_the_average_over_orders_of_ties(tied):
    request, score, label = tied
    found = lists.recall(lists.RankedLists(request, score), label, 2)
    for r in range(40):
        own = label[request == r]
        if own.sum():
            wanted = over_orders(own, score[request == r], lambda g: g[:2].sum() / g.sum())
            assert found.values[r] == pytest.approx(wanted, abs=1e-12)


def test_requests_without_a_positive_are_skipped_not_counted_as_zero():
    ranked = lists.RankedLists([0, 0, 1, 1], [2.0, 1.0, 2.0, 1.0])
    for found in (lists.ndcg(ranked, [1, 0, 0, 0], 2), lists.recall(ranked, [1, 0, 0, 0], 2)):
        assert found.mean == 1.0
        assert found.counted.tolist() == [True, False]
    assert lists.reciprocal_rank(ranked, [0, 1, 0, 0]).mean == 0.5


def test_expected_count_skips_no_request():
    ranked = lists.RankedLists([0, 0, 1], [2.0, 1.0, 0.0])
    assert lists.expected_count(ranked, [0.1, 0.9, 0.5], 1).mean == pytest.approx(0.3, abs=1e-12)


def test_ranking_by_the_truth_has_the_most_expected_events():
    rng = np.random.default_rng(5)
    request, p = np.repeat(np.arange(30), 8), rng.random(240)
    best = lists.expected_count(lists.RankedLists(request, p), p, 3).values
    assert (lists.expected_count(lists.RankedLists(request, rng.random(240)), p, 3).values <= best + 1e-12).all()


def test_the_order_of_rows_moves_nothing_even_under_a_constant_score(tied):
    request, _, label = tied
    shuffled = np.random.default_rng(3).permutation(240)
    for metric in (lists.ndcg, lists.recall):
        here = metric(lists.RankedLists(request, np.zeros(240)), label, 3).mean
        there = metric(lists.RankedLists(request[shuffled], np.zeros(240)), label[shuffled], 3).mean
        assert there == pytest.approx(here, abs=1e-14)


def test_exponential_gain_starts_at_the_lowest_grade():
    assert lists.exponential_gain([1.0, 2.0, 3.0]).tolist() == [0.0, 1.0, 3.0]
    assert lists.exponential_gain([2.0, 3.0], lowest=1.0).tolist() == [1.0, 3.0]


def test_indifferent_requests_are_those_of_one_gain():
    ranked = lists.RankedLists([1, 0, 0, 1, 2], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert lists.indifferent(ranked, [3.0, 1.0, 1.0, 0.0, 7.0]).tolist() == [True, False, True]


def test_a_query_of_one_grade_scores_one_under_any_order():
    assert lists.ndcg(lists.RankedLists([0, 0, 0], [1.0, 3.0, 2.0]), [3.0, 3.0, 3.0], 10).mean == pytest.approx(
        1.0, abs=1e-12
    )


def test_no_rows_give_no_requests():
    ranked = lists.RankedLists(np.zeros(0, dtype=int), np.zeros(0))
    for found in (
        lists.ndcg(ranked, [], 10),
        lists.recall(ranked, [], 10),
        lists.reciprocal_rank(ranked, []),
        lists.expected_count(ranked, [], 10),
    ):
        assert len(found.values) == 0
        assert np.isnan(found.mean)
