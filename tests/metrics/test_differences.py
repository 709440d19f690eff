import numpy as np
import pytest
from scipy import stats

from clustered import drawn, placed_by
from funneltune.errors import DataError
from funneltune.metrics import (
    ClusterSums,
    auc_difference,
    clustered_delong,
    contrast,
    mean_difference,
    resample,
    seed_difference,
)
from funneltune.metrics.differences import difference


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


def obuchowski_reference(label, score, cluster, other=None):
    """Obuchowski (1997), written out over all pairs of rows; of the difference to another score, if there is one."""
    pos, neg = label == 1, label == 0

    def wins(s):
        return (s[pos][:, None] > s[neg][None, :]) + 0.5 * (s[pos][:, None] == s[neg][None, :])

    kernel = wins(score) - (0 if other is None else wins(other))
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
    cluster, label, (score, other) = drawn(np.random.default_rng(1))
    one, two = placed_by(label, score, cluster), placed_by(label, other, cluster)
    found = clustered_delong(one)
    assert found.standard_error**2 == pytest.approx(obuchowski_reference(label, score, cluster), rel=1e-9)
    found = auc_difference([one], [two])
    assert found.standard_error**2 == pytest.approx(obuchowski_reference(label, score, cluster, other), rel=1e-9)


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


def test_seeds_add_what_they_vary_beyond_the_rows_to_the_sampling_variance():
    rng = np.random.default_rng(6)
    cluster, label, (first, second) = drawn(rng)
    scores = [first + rng.normal(0, 0.5, len(label)) for _ in range(4)]
    one, other = [placed_by(label, score, cluster) for score in scores], [placed_by(label, second, cluster)] * 4
    found = auc_difference(one, other)
    spread = np.var([a.auc - b.auc for a, b in zip(one, other, strict=True)], ddof=1) / 4
    # by the kernels of all pairs of rows: the seeds' mean, and each seed's distance from it
    sampling, own = kernel_variances(label, scores, second, cluster)
    total = sampling + max(0, spread - own / 3 / 4)
    assert found.standard_error**2 == pytest.approx(total, rel=1e-9)
    share = min(1, spread / total)
    informative = min(len(np.unique(cluster[label == 1])), len(np.unique(cluster[label == 0])))
    assert found.degrees_of_freedom == pytest.approx(1 / (share / 3 + (1 - share) / (informative - 1)))
    assert (found.seeds, found.clusters) == (4, informative)


def kernel_variances(label, scores, second, cluster):
    """Obuchowski's variance of the mean over seeds, and the sum over seeds of that of their distances from it."""
    ranks = [placed_by(label, score, np.arange(len(label))) for score in (*scores, second)]

    def variance(weights):
        m, n = label, 1 - label
        negatives = sum(w * r.among_negatives for w, r in zip(weights, ranks, strict=True))
        positives = sum(w * r.among_positives for w, r in zip(weights, ranks, strict=True))
        theta = negatives.sum() / m.sum()
        names = np.unique(cluster)
        a = np.array([(negatives - theta * m)[cluster == c].sum() for c in names])
        b = np.array([(positives - theta * n)[cluster == c].sum() for c in names])
        i, j, k = len(np.unique(cluster[m == 1])), len(np.unique(cluster[n == 1])), len(names)
        terms = i / (i - 1) * a @ a / m.sum() ** 2, j / (j - 1) * b @ b / n.sum() ** 2
        return sum(terms) + 2 * k / (k - 1) * (a @ b) / (m.sum() * n.sum())

    s = len(scores)
    own = sum(variance([(i == j) - 1 / s for j in range(s)] + [0]) for i in range(s))
    return variance([1 / s] * s + [-1]), own


def test_a_table_of_seeds_and_requests_has_the_variance_of_crossed_random_effects():
    rng = np.random.default_rng(13)
    s, n = 6, 80
    table = rng.normal(0, 0.2, (s, 1)) + rng.normal(0, 1, (1, n)) + rng.normal(0, 1.5, (s, n))
    zero = ClusterSums(np.zeros(n), np.ones(n))
    found = mean_difference([ClusterSums(row, np.ones(n)) for row in table], [zero] * s, draws=40_000)
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    between_seeds = n * np.var(table.mean(1), ddof=1)
    between_requests = s * np.var(table.mean(0), ddof=1)
    interaction = (rest**2).sum() / ((s - 1) * (n - 1))
    wanted = (between_seeds + between_requests - interaction) / (s * n)
    assert wanted > between_requests / (s * n)
    assert found.standard_error**2 == pytest.approx(wanted, rel=0.03)


def test_seeds_tested_on_different_rows_leave_the_spread_over_seeds_alone():
    sides = []
    for seed in range(3):
        cluster, label, scores = drawn(np.random.default_rng(seed))
        sides.append([placed_by(label, score, cluster) for score in scores])
    found = auc_difference([a for a, _ in sides], [b for _, b in sides])
    wanted = stats.ttest_rel([a.auc for a, _ in sides], [b.auc for _, b in sides])
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found.method == "t over seeds"


def test_runs_on_the_same_rows_are_averaged_before_they_are_held_against_other_rows():
    rng = np.random.default_rng(15)
    zero = ClusterSums(np.zeros(30), np.ones(30))
    runs = [ClusterSums(rng.normal(0.2, 1, 30), np.ones(30)) for _ in range(6)]
    rows = ["a", "b", "c", "a", "b", "c"]
    found = difference(runs, [zero] * 6, known=rows, test_over_train=0.5)
    wanted = seed_difference([(runs[i].mean + runs[i + 3].mean) / 2 for i in range(3)], [0.0] * 3, 0.95, 0.5)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert difference(runs, [zero] * 6).method == "two-level bootstrap"


def test_a_pair_on_different_rows_is_refused():
    one, other = (
        placed_by(label, scores[0], cluster)
        for cluster, label, scores in (drawn(np.random.default_rng(seed)) for seed in (0, 1))
    )
    with pytest.raises(DataError, match="tested on different rows"):
        auc_difference([one], [other])


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


def test_the_bootstrap_of_an_auc_agrees_with_delong_where_clusters_are_many():
    rng = np.random.default_rng(11)
    cluster, label, (first, second) = drawn(rng, clusters=400)
    one, other = (
        [placed_by(label, score + rng.normal(0, 0.4, len(label)), cluster) for _ in range(4)]
        for score in (first, second)
    )
    delong, bootstrap = difference(one, other, delong=True), difference(one, other)
    assert bootstrap.standard_error == pytest.approx(delong.standard_error, rel=0.03)
    assert bootstrap == difference(one, other)
    assert (bootstrap.method, bootstrap.estimate) == ("two-level bootstrap", delong.estimate)


def test_draws_do_not_depend_on_which_runs_are_there():
    rng = np.random.default_rng(16)
    cluster, label, scores = drawn(rng, quality=(1.0, 0.6, 0.3))
    runs = [placed_by(label, score, cluster) for score in scores]
    other = placed_by(*(lambda c, y, s: (y, s[0], c))(*drawn(rng, clusters=30)))
    for index, alone in enumerate(runs):
        assert resample([*runs, other], 50)[index] == pytest.approx(resample([alone], 50)[0], rel=1e-12)


def test_a_mean_over_no_request_has_no_interval_and_no_error():
    empty = ClusterSums(np.zeros(5), np.zeros(5))
    found = mean_difference([empty], [empty])
    assert np.isnan([found.estimate, found.low, found.high, found.p_value]).all()
    assert found.clusters == 0


def sums(values, seed=0):
    return ClusterSums(np.asarray(values, dtype=float), np.ones(len(values)))


def test_a_contrast_of_two_is_their_difference():
    generator = np.random.default_rng(0)
    shared = generator.standard_normal(300)
    first, second = ([sums(shared + generator.normal(m, 0.5, 300)) for _ in range(4)] for m in (0.2, 0.0))
    one, other = contrast([first, second], [1, -1]), difference(first, second)
    assert one.estimate == pytest.approx(other.estimate)
    assert (one.low, one.high, one.p_value) == pytest.approx((other.low, other.high, other.p_value))


def test_a_difference_of_differences_has_the_spread_of_independent_parts():
    """Four sides of 300 clusters with unit noise each and nothing shared: variance 4 / 300 over clusters."""
    generator = np.random.default_rng(1)
    sides = [[sums(generator.standard_normal(300))] for _ in range(4)]
    found = contrast(sides, [1, -1, -1, 1])
    assert found.standard_error == pytest.approx(np.sqrt(4 / 300), rel=0.1)


def test_a_contrast_is_held_against_its_threshold():
    """Within a margin: a difference of -0.1 that is known to 0.03 is above -0.4 and not above 0."""
    generator = np.random.default_rng(2)
    base = generator.standard_normal(1000)
    sides = [[sums(base - 0.1 + generator.normal(0, 0.5, 1000))], [sums(base)]]
    zero, margin = contrast(sides, [1, -1]), contrast(sides, [1, -1], null=-0.4)
    assert (margin.estimate, margin.low) == pytest.approx((zero.estimate, zero.low), abs=1e-9)
    assert margin.low > -0.4
    assert margin.p_value < 1e-6
    assert zero.high < 0


def test_the_distance_from_one_is_the_same_above_and_below():
    generator = np.random.default_rng(3)
    noise = generator.normal(0, 0.1, 500)
    over, under = [sums(1.3 + noise)], [sums(0.7 - noise)]
    assert contrast([over, under], [1, -1], off_one=True).estimate == pytest.approx(0.0, abs=1e-9)
    assert contrast([over, under], [1, -1]).estimate == pytest.approx(0.6, abs=0.02)


def test_seeds_on_rows_of_their_own_are_replicates_of_a_contrast():
    generator = np.random.default_rng(4)
    sides = [[sums(generator.normal(m, 1, n)) for n in (200, 210, 220)] for m in (0.5, 0.0)]
    found = contrast(sides, [1, -1], known=["a", "b", "c"])
    values = [a.value - b.value for a, b in zip(*sides, strict=True)]
    assert found.estimate == pytest.approx(np.mean(values))
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(3))


def test_sides_of_a_contrast_have_as_many_runs():
    with pytest.raises(DataError, match="2 runs against 1"):
        contrast([[sums([1, 2]), sums([1, 2])], [sums([1, 2])]], [1, -1])
