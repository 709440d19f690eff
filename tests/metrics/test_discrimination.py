import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from funneltune.errors import DataError
from funneltune.metrics.discrimination import auc, expected_auc, grouped_auc, placements, pr_auc, weighted_auc


def tied_data(seed, rows=400):
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.2).astype(int)
    return label, np.round(rng.normal(size=rows) + label, 1)  # rounding makes ties


def pairs_won(positive, negative, score):
    """Brute force over every pair of rows."""
    higher = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    return float((positive[:, None] * negative[None, :] * higher).sum() / (positive.sum() * negative.sum()))


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_scikit_learn_with_ties(seed):
    label, score = tied_data(seed)
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_scikit_learn_with_ties(seed):
    label, score = tied_data(seed)
    assert pr_auc(label, score) == pytest.approx(average_precision_score(label, score), abs=1e-12)


def test_auc_of_a_constant_score_is_one_half():
    assert auc([0, 1, 1, 0], np.zeros(4)) == 0.5


@pytest.mark.parametrize("label", [[0, 0], [1, 1], []])
def test_auc_of_one_class_is_undefined_never_a_number(label):
    assert np.isnan(auc(label, np.arange(len(label))))


def test_auc_refuses_what_torchmetrics_lets_through():
    with pytest.raises(DataError, match="label"):
        auc([0, 1, 2], [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="not finite"):
        auc([0, 1, 1], [0.1, np.nan, 0.3])


def test_weighted_auc_equals_brute_force_over_pairs():
    rng = np.random.default_rng(0)
    positive, negative, score = rng.random(60), rng.random(60), np.round(rng.normal(size=60), 1)
    assert weighted_auc(score, positive, negative) == pytest.approx(pairs_won(positive, negative, score), abs=1e-12)


def test_expected_auc_is_scikit_learns_on_doubled_rows():
    rng = np.random.default_rng(1)
    p, score = rng.random(200), np.round(rng.normal(size=200), 1)
    doubled = roc_auc_score(
        np.repeat([1, 0], 200), np.concatenate([score, score]), sample_weight=np.concatenate([p, 1 - p])
    )
    assert expected_auc(p, score) == pytest.approx(doubled, abs=1e-12)


def test_expected_auc_is_the_average_auc_over_redrawn_labels():
    rng = np.random.default_rng(2)
    p, score = rng.beta(2, 5, 500), rng.normal(size=500)
    drawn = [auc((rng.random(500) < p).astype(int), score + p) for _ in range(400)]
    assert expected_auc(p, score + p) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 20)


def test_no_score_beats_the_oracle_in_expected_auc():
    rng = np.random.default_rng(4)
    p = rng.beta(2, 5, 300)
    best = expected_auc(p, p)
    assert all(expected_auc(p, p + rng.normal(0, 0.05, 300)) < best < 1 for _ in range(20))


def test_expected_auc_refuses_an_oracle_that_is_no_probability():
    with pytest.raises(DataError, match="oracle p"):
        expected_auc([0.5, 1.2], [0.1, 0.2])


def test_placements_average_to_the_auc_from_both_sides():
    label, score = tied_data(7)
    placed = placements(score, label, 1 - label)
    assert placed.among_negatives[label == 1].mean() == pytest.approx(auc(label, score), abs=1e-12)
    assert placed.among_positives[label == 0].mean() == pytest.approx(auc(label, score), abs=1e-12)


def test_placements_by_hand():
    placed = placements([1.0, 2.0, 2.0, 3.0], [0, 1, 0, 1], [1, 0, 1, 0])
    assert placed.among_negatives.tolist() == [0.25, 0.75, 0.75, 1.0]
    assert placed.among_positives.tolist() == [1.0, 0.75, 0.75, 0.25]


def test_placements_without_a_class_are_undefined():
    assert np.isnan(placements([1.0, 2.0], [0, 0], [1, 1]).among_negatives).all()


def test_gauc_is_the_impression_weighted_mean_of_group_aucs():
    label, score = tied_data(11)
    group = np.random.default_rng(0).integers(0, 25, len(label))
    aucs, weights = [], []
    for g in range(25):
        inside = group == g
        if 0 < label[inside].sum() < inside.sum():
            aucs.append(roc_auc_score(label[inside], score[inside]))
            weights.append(inside.sum())
    found = grouped_auc(label, score, group)
    assert found.value == pytest.approx(np.average(aucs, weights=weights), abs=1e-12)
    assert (found.groups, found.skipped, found.rows) == (25, 25 - len(aucs), sum(weights))


def test_gauc_skips_and_counts_groups_of_one_class():
    found = grouped_auc([0, 1, 0, 0, 1, 1], [0.1, 0.2, 0.5, 0.6, 0.3, 0.4], ["a", "a", "b", "b", "c", "c"])
    assert found == (1.0, 3, 2, 2)


def test_gauc_of_nothing_is_undefined():
    assert np.isnan(grouped_auc([], [], []).value)
    assert np.isnan(grouped_auc([1, 1], [0.1, 0.2], [0, 1]).value)


def test_the_order_of_rows_moves_nothing():
    label, score = tied_data(5)
    group = np.arange(len(label)) % 30
    shuffled = np.random.default_rng(0).permutation(len(label))
    assert auc(label[shuffled], score[shuffled]) == auc(label, score)
    assert pr_auc(label[shuffled], score[shuffled]) == pytest.approx(pr_auc(label, score), abs=1e-14)
    here, there = (grouped_auc(label[i], score[i], group[i]).value for i in (slice(None), shuffled))
    assert there == pytest.approx(here, abs=1e-14)


def test_pr_auc_without_positives_is_undefined():
    assert np.isnan(pr_auc([0, 0], [0.1, 0.2]))
