"""Measures by group: values by hand and by scikit-learn, intervals that cover, false alarms at the stated rate."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from funneltune.metrics.fairness import Area, Ratio, by_group, gini, group_aucs, logit_shift


def test_gini_is_that_of_the_lorenz_curve():
    assert gini([1, 1, 1, 1]) == 0
    assert gini([0, 0, 0, 1]) == pytest.approx(0.75)
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    assert gini(shares) == pytest.approx(np.abs(shares[:, None] - shares).sum() / (2 * 4 * 4 * shares.mean()))
    assert np.isnan(gini([0, 0]))


def test_group_aucs_are_scikit_learn_s_among_each_group_s_rows():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 500), rng.integers(0, 20, 500) / 20  # many ties
    group = rng.integers(0, 4, 500)
    label[group == 3] = 1
    found = group_aucs(label, score, group, 5)
    for number in range(3):
        at = group == number
        assert found[number] == pytest.approx(roc_auc_score(label[at], score[at]))
    assert np.isnan(found[3:]).all()


def test_ratios_of_sums_are_worked_by_hand():
    group = np.array([0, 0, 1])
    plain = Ratio("a", np.array([1.0, 2, 3]), np.array([2.0, 4, 2]))
    assert plain.values(group, 2) == pytest.approx([0.5, 1.5])
    assert plain.whole == pytest.approx(6 / 8)
    assert plain.apart(plain.values(group, 2)) == pytest.approx(np.log([0.5, 1.5]) - np.log([0.5, 1.5]).mean())
    shares = Ratio("a", plain.above, plain.below, relative=True)
    assert shares.values(group, 2) == pytest.approx([0.5 / 0.75, 2])  # a share of 3/6 for one of 6/8; 3/6 for 2/8
    apart = Ratio("a", plain.above, plain.below, kind="difference")
    assert apart.apart(apart.values(group, 2)) == pytest.approx([-0.5, 0.5])


def test_a_shift_makes_sums_right_and_moves_little_on_little():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.02, 0.3, 20_000)
    label = (rng.random(20_000) < truth).astype(float)
    said = 1 / (1 + np.exp(-(np.log(truth / (1 - truth)) - 0.8)))
    assert logit_shift(label, said) == pytest.approx(0.8, abs=0.05)
    assert 0 < logit_shift(label[:20], np.full(20, 1e-3)) < 2
    assert logit_shift([], []) == 0.0
    assert logit_shift(np.ones(10), np.full(10, 0.5), spread=1e4) == 10.0  # as far as it goes
    assert logit_shift(np.zeros(10), np.full(10, 0.5), spread=1e4) == -10.0


def bestsellers(rng, items=120, rows=3000, groups=6, clusters=200):
    """Rows of items that differ for reasons of their own, as clicks on bestsellers do."""
    entity = rng.choice(items, rows, p=(weight := 1 / np.arange(1, items + 1)) / weight.sum())
    quality = rng.lognormal(0.0, 0.5, items)
    p = np.full(rows, 0.2)
    label = (rng.random(rows) < np.minimum(p * quality[entity], 0.9)).astype(float)
    return rng.integers(0, clusters, rows), entity, rng.integers(0, groups, items), p, label


def test_shuffled_groups_raise_false_alarms_at_the_stated_rate():
    alarms = {"ratio": 0, "area": 0}
    rng = np.random.default_rng(1)
    cluster, entity, of_entity, p, label = bestsellers(rng, rows=1500)
    score = rng.random(len(p)) + 0.3 * label
    for trial in range(200):
        dealt = rng.permutation(of_entity)
        for name, measure in (("ratio", Ratio("r", p, label)), ("area", Area.of("a", label, score))):
            if name == "area" and trial % 8:
                continue
            found = by_group(measure, cluster, entity, dealt, 6, draws=2, times=299, seed=trial)
            alarms[name] += bool((found.p_holm < 0.05).any())
    assert alarms["ratio"] <= 20  # of 200; 5% in expectation, this many by chance once in 3,000
    assert alarms["area"] <= 5  # of 25


def test_a_group_whose_predictions_are_multiplied_is_found_and_no_other():
    cluster, entity, of_entity, p, label = bestsellers(np.random.default_rng(2), items=600, rows=20_000)
    wrong = np.where(of_entity[entity] == 2, 2.0, 1.0) * p
    found = by_group(Ratio("r", wrong, label), cluster, entity, of_entity, 6, draws=100, times=999)
    assert np.flatnonzero(found.p_holm < 0.05).tolist() == [2]
    assert found.apart[2] > 0
    clean = by_group(Ratio("r", p, label), cluster, entity, of_entity, 6, draws=100, times=999)
    assert not (clean.p_holm < 0.05).any()


@pytest.mark.parametrize("kind", ["ratio", "area"])
def test_intervals_over_clusters_cover_the_value_of_other_clusters(kind):
    covered, trials = 0, 200
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        rate = rng.beta(2, 8, 150)  # shoppers who click much, and little
        cluster = np.repeat(np.arange(150), 6)
        label = (rng.random(900) < rate[cluster]).astype(float)
        entity = np.tile(np.arange(6), 150)
        of_entity = np.array([0, 0, 0, 1, 1, 1])
        if kind == "ratio":
            measure, truth = Ratio("r", np.full(900, 0.2), label), 1.0
        else:
            measure, truth = Area.of("a", label, rng.random(900)), 0.5
        drawn = measure.drawn(cluster, of_entity[entity], 2, 300, trial)
        low, high = np.quantile(drawn[:, 0], (0.025, 0.975))
        covered += low <= truth <= high
    assert 0.90 <= covered / trials <= 0.985


def test_a_group_without_a_value_makes_no_claim():
    label = np.array([0.0, 0, 1, 0, 1, 0])
    entity = np.arange(6)
    of_entity = np.array([0, 0, 1, 1, 1, 1])
    found = by_group(Area.of("a", label, np.arange(6.0)), entity, entity, of_entity, 3, draws=50, times=99)
    assert np.isnan(found.value[0])
    assert np.isnan(found.p_value[[0, 2]]).all()
    assert np.isnan(found.low[2])
    assert not (found.p_holm < 0.05).any()
