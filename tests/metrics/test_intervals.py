import numpy as np
import pytest
from scipy import stats

from funneltune.errors import DataError
from funneltune.metrics import hedges_g, holm, minimum_detectable, seed_difference
from funneltune.metrics.intervals import Sources, crossed


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_few_seeds_call_at_most_one_tie_in_twenty_a_difference(seeds, share):
    rng = np.random.default_rng(14)
    studies, called = 6000, 0
    for _ in range(studies):
        requests = rng.normal(0, np.sqrt(1 - share))
        values = requests + rng.normal(0, np.sqrt(seeds * share), seeds)
        sampling = (1 - share) * rng.chisquare(199) / 199
        called += crossed(values, Sources(sampling, 0.0), 200, 0.95, "").p_value < 0.05
    assert called / studies <= 0.065  # Welch and Satterthwaite: 0.08 at 3 seeds and a share of 0.9


def test_replicates_on_different_rows_are_corrected_for_the_training_rows_that_they_share():
    d = [0.01, 0.02, 0.03, 0.04, 0.05]  # variance 0.00025
    found = seed_difference(d, [0.0] * 5, test_over_train=0.25)
    assert found.standard_error == pytest.approx(np.sqrt(0.00025 * (1 / 5 + 1 / 4)))
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.03 / found.standard_error, 4))
    plain = stats.ttest_1samp(d, 0.0)
    assert seed_difference(d, [0.0] * 5).p_value == pytest.approx(plain.pvalue)


@pytest.mark.parametrize("sides", [([], []), ([0.1], [0.1, 0.2])])
def test_pairs_need_one_of_each(sides):
    with pytest.raises(DataError, match="pairs need one of each per seed"):
        seed_difference(*sides)


def test_hedges_g_by_hand_and_undefined_without_a_spread():
    # means 0.74 and 0.72, both of sd 0.02: d = 1, times 1 - 3 / (4 x 4 - 1) = 0.8
    assert hedges_g([0.72, 0.74, 0.76], [0.70, 0.72, 0.74]) == pytest.approx(0.8)
    assert hedges_g([0.70, 0.72, 0.74], [0.72, 0.74, 0.76]) == pytest.approx(-0.8)
    # sds 0.02 and 0.04: pooled sqrt((2 x 0.0004 + 2 x 0.0016) / 4) = 0.031623
    assert hedges_g([0.72, 0.74, 0.76], [0.68, 0.72, 0.76]) == pytest.approx(0.8 * 0.02 / 0.0316227766)
    assert np.isnan([hedges_g([0.7], [0.6]), hedges_g([0.7, 0.7], [0.6, 0.6])]).all()


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


@pytest.mark.parametrize("df", [2, 4, 30, 2000])
def test_a_true_difference_of_the_detectable_size_is_found_in_four_of_five_studies(df):
    rng = np.random.default_rng(12)
    error = np.sqrt(rng.chisquare(df, 40_000) / df)  # of estimates whose true standard error is 1
    size = np.mean([minimum_detectable(e, df) for e in error[:8000]])
    t = rng.normal(size, 1, 40_000) / error
    assert (np.abs(t) > stats.t.ppf(0.975, df)).mean() == pytest.approx(0.8, abs=0.015)


def test_detectable_by_the_tables_of_the_noncentral_t():
    assert minimum_detectable(1.0, 1e6) == pytest.approx(1.959964 + 0.841621, abs=1e-4)
    assert np.isnan([minimum_detectable(float("nan"), 5), minimum_detectable(1.0, 0)]).all()
