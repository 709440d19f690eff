import numpy as np
import pytest
from scipy import stats

from funneltune.errors import DataError
from funneltune.metrics import placements
from funneltune.metrics.intervals import (
    ClusterPlacements,
    ClusterSums,
    auc_difference,
    clustered_delong,
    holm,
    mean_difference,
    minimum_detectable,
    seed_difference,
)


def placed_by(label, score, cluster):
    label = np.asarray(label, dtype=float)
    placed = placements(score, label, 1 - label)
    n = int(cluster.max()) + 1
    parts = (label, 1 - label, label * placed.among_negatives, (1 - label) * placed.among_positives)
    return ClusterPlacements(*(np.bincount(cluster, part, n) for part in parts))


def drawn(rng, clusters=60, size=8, quality=(1.0, 0.6), within=0.7):
    """Clustered rows with two scores whose noise is shared within a cluster."""
    cluster = np.repeat(np.arange(clusters), size)
    label = (rng.random(clusters * size) < 0.3).astype(float)
    shared = rng.normal(0, within, clusters)[cluster]
    return cluster, label, [q * label + shared + rng.normal(0, 1, len(label)) for q in quality]


def delong_reference(label, first, second):
    """DeLong, DeLong & Clarke-Pearson (1988), as in the paper: structural components, one per row; no clusters."""
    pos, neg = label == 1, label == 0
    v10, v01 = [], []
    for score in (first, second):
        kernel = (score[pos][:, None] > score[neg][None, :]) + 0.5 * (score[pos][:, None] == score[neg][None, :])
        v10.append(kernel.mean(axis=1))
        v01.append(kernel.mean(axis=0))
    covariance = np.cov(np.array(v10)) / pos.sum() + np.cov(np.array(v01)) / neg.sum()
    return covariance[0, 0], covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]


def obuchowski_reference(label, score, cluster):
    """Obuchowski (1997), written out with loops."""
    pos, neg = label == 1, label == 0
    kernel = (score[pos][:, None] > score[neg][None, :]) + 0.5 * (score[pos][:, None] == score[neg][None, :])
    theta, m, n = kernel.mean(), pos.sum(), neg.sum()
    v10, v01 = kernel.mean(axis=1), kernel.mean(axis=0)
    names = np.unique(cluster)
    a = [(v10[cluster[pos] == c] - theta).sum() for c in names]
    b = [(v01[cluster[neg] == c] - theta).sum() for c in names]
    i10 = sum((cluster[pos] == c).any() for c in names)
    i01 = sum((cluster[neg] == c).any() for c in names)
    s10 = i10 / ((i10 - 1) * m) * sum(x * x for x in a)
    s01 = i01 / ((i01 - 1) * n) * sum(x * x for x in b)
    s11 = len(names) / (len(names) - 1) * sum(x * y for x, y in zip(a, b, strict=True))
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def test_with_one_row_per_cluster_it_is_delongs_interval():
    _, label, (first, second) = drawn(np.random.default_rng(0))
    first, second = np.round(first, 1), np.round(second, 1)
    alone = np.arange(len(label))
    one, both = delong_reference(label, first, second)
    placed = [placed_by(label, score, alone) for score in (first, second)]
    assert clustered_delong(placed[0]).standard_error ** 2 == pytest.approx(one, rel=1e-9)
    assert auc_difference([placed[0]], [placed[1]]).standard_error ** 2 == pytest.approx(both, rel=1e-9)


def test_with_clusters_it_is_obuchowskis_variance():
    cluster, label, (score, _) = drawn(np.random.default_rng(1))
    found = clustered_delong(placed_by(label, score, cluster))
    assert found.standard_error**2 == pytest.approx(obuchowski_reference(label, score, cluster), rel=1e-9)


def test_shared_noise_within_clusters_widens_the_interval_of_a_duplicated_log():
    cluster, label, (score, _) = drawn(np.random.default_rng(2))
    once = clustered_delong(placed_by(label, score, cluster))
    twice = clustered_delong(placed_by(np.tile(label, 2), np.tile(score, 2), np.tile(cluster, 2)))
    assert twice.standard_error == pytest.approx(once.standard_error, rel=1e-9)


def test_a_difference_is_antisymmetric():
    cluster, label, scores = drawn(np.random.default_rng(3))
    a, b = (placed_by(label, score, cluster) for score in scores)
    there, back = auc_difference([a], [b]), auc_difference([b], [a])
    assert (back.estimate, back.low, back.high) == pytest.approx((-there.estimate, -there.high, -there.low))
    assert back.p_value == pytest.approx(there.p_value)
    assert there.estimate == pytest.approx(a.auc - b.auc, abs=1e-12)


def test_the_order_of_clusters_moves_nothing():
    cluster, label, scores = drawn(np.random.default_rng(4))
    other = np.random.default_rng(0).permutation(60)[cluster]
    here, there = (
        auc_difference(*([placed_by(label, score, names)] for score in scores)) for names in (cluster, other)
    )
    assert (there.low, there.high) == pytest.approx((here.low, here.high), abs=1e-12)


def test_equal_runs_differ_by_nothing_with_p_of_one():
    cluster, label, (score, _) = drawn(np.random.default_rng(5))
    placed = placed_by(label, score, cluster)
    found = auc_difference([placed, placed], [placed, placed])
    assert (found.estimate, found.p_value) == (0.0, 1.0)


def test_seeds_add_their_spread_to_the_sampling_variance():
    rng = np.random.default_rng(6)
    cluster, label, (first, second) = drawn(rng)
    one = [placed_by(label, first + rng.normal(0, 0.5, len(label)), cluster) for _ in range(4)]
    other = [placed_by(label, second, cluster)] * 4
    found = auc_difference(one, other)
    spread = np.var([a.auc - b.auc for a, b in zip(one, other, strict=True)], ddof=1) / 4
    mean = ClusterPlacements(
        one[0].positives,
        one[0].negatives,
        np.mean([p.among_negatives for p in one], axis=0),
        np.mean([p.among_positives for p in one], axis=0),
    )
    sampling = auc_difference([mean], [other[0]]).standard_error ** 2
    assert found.standard_error**2 == pytest.approx(spread + sampling, rel=1e-9)
    informative = min((mean.positives > 0).sum(), (mean.negatives > 0).sum())
    df = (spread + sampling) ** 2 / (spread**2 / 3 + sampling**2 / (informative - 1))
    assert found.degrees_of_freedom == pytest.approx(df)
    assert (found.seeds, found.clusters) == (4, informative)


def test_seeds_tested_on_different_rows_leave_the_spread_over_seeds_alone():
    sides = []
    for seed in range(3):
        cluster, label, scores = drawn(np.random.default_rng(seed))
        sides.append([placed_by(label, score, cluster) for score in scores])
    found = auc_difference([a for a, _ in sides], [b for _, b in sides])
    wanted = stats.ttest_rel([a.auc for a, _ in sides], [b.auc for _, b in sides])
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.method == "t over seeds"


def test_a_pair_on_different_rows_is_refused():
    one, other = (
        placed_by(label, scores[0], cluster)
        for cluster, label, scores in (drawn(np.random.default_rng(seed)) for seed in (0, 1))
    )
    with pytest.raises(DataError, match="tested on different rows"):
        auc_difference([one], [other])


@pytest.mark.parametrize("sides", [([], []), ([0.1], [0.1, 0.2])])
def test_pairs_need_one_of_each(sides):
    with pytest.raises(DataError, match="pairs need one of each per seed"):
        seed_difference(*sides)


def test_a_single_informative_cluster_has_no_interval():
    placed = placed_by([1, 0, 0], np.array([3.0, 1.0, 2.0]), np.zeros(3, dtype=int))
    assert np.isnan(clustered_delong(placed).p_value)


def test_delong_intervals_cover_the_true_difference():
    rng = np.random.default_rng(8)
    auc = [stats.norm.cdf(q / np.sqrt(2 * (1 + 0.7**2))) for q in (1.0, 0.6)]
    covered = 0
    for _ in range(400):
        cluster, label, scores = drawn(rng)
        found = auc_difference(*([placed_by(label, score, cluster)] for score in scores))
        covered += found.low <= auc[0] - auc[1] <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_intervals_over_seeds_and_requests_cover_where_each_alone_would_not():
    rng = np.random.default_rng(9)
    covered = {"both": 0, "requests alone": 0}
    for _ in range(300):
        requests = rng.normal(0, 1, 80)
        seeds = rng.normal(0, 0.15, 5)
        first = [ClusterSums(requests + s + rng.normal(0, 0.5, 80), np.ones(80)) for s in seeds]
        zero = [ClusterSums(np.zeros(80), np.ones(80))] * 5
        both = mean_difference(first, zero, draws=200)
        alone = mean_difference(
            [ClusterSums(np.mean([f.sums for f in first], axis=0), np.ones(80))], zero[:1], draws=200
        )
        covered["both"] += both.low <= 0 <= both.high
        covered["requests alone"] += alone.low <= 0 <= alone.high
    assert 0.91 <= covered["both"] / 300 <= 0.99
    assert covered["requests alone"] < covered["both"]


def test_the_bootstrap_over_requests_finds_the_standard_error_of_a_mean():
    rng = np.random.default_rng(10)
    d = rng.normal(0.1, 1, 500)
    found = mean_difference([ClusterSums(d, np.ones(500))], [ClusterSums(np.zeros(500), np.ones(500))])
    assert found.estimate == pytest.approx(d.mean())
    assert found.standard_error == pytest.approx(d.std(ddof=1) / np.sqrt(500), rel=0.06)


def test_requests_that_count_in_no_run_are_not_clusters():
    weights = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    found = mean_difference([ClusterSums(weights * 2, weights)], [ClusterSums(weights, weights)])
    assert (found.clusters, found.estimate) == (3, 1.0)


def test_ten_seeds_are_bootstrapped_on_both_levels_and_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(11)
    first = [ClusterSums(rng.normal(0.5, 1, 40) + rng.normal(0, 0.1), np.ones(40)) for _ in range(10)]
    zero = [ClusterSums(np.zeros(40), np.ones(40))] * 10
    found = mean_difference(first, zero)
    assert found.method == "two-level bootstrap"
    assert found.low < found.estimate < found.high
    assert found == mean_difference(first, zero)


def test_seed_difference_is_the_paired_t_test():
    first, second = [0.71, 0.72, 0.74, 0.73], [0.70, 0.70, 0.71, 0.72]
    wanted = stats.ttest_rel(first, second)
    found = seed_difference(first, second)
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval()))


def test_one_seed_alone_has_no_spread():
    assert np.isnan(seed_difference([0.7], [0.6]).p_value)


def test_holm_by_hand_and_undefined_p_values_stay_so():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    mixed = holm([0.02, np.nan])
    assert mixed[0] == pytest.approx(0.04)
    assert np.isnan(mixed[1])


def test_a_true_difference_of_the_detectable_size_is_found_in_four_of_five_studies():
    rng, df = np.random.default_rng(12), 30
    size = minimum_detectable(1.0, df)
    # the t statistic of an estimate with that mean and standard error 1
    t = (rng.normal(size, 1, 20_000)) / np.sqrt(rng.chisquare(df, 20_000) / df)
    assert (np.abs(t) > stats.t.ppf(0.975, df)).mean() == pytest.approx(0.8, abs=0.015)


def test_a_mean_over_no_request_has_no_interval_and_no_error():
    empty = ClusterSums(np.zeros(5), np.zeros(5))
    found = mean_difference([empty], [empty])
    assert np.isnan([found.estimate, found.low, found.high, found.p_value]).all()
    assert found.clusters == 0
