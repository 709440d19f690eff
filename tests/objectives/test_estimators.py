"""Estimators of the entire-space risk against the world's truth, and what theory says of their bias and variance."""

import numpy as np
import pytest
import torch

from funneltune.marketplace import Mixture, World, simulate
from funneltune.objectives.estimators import click_space, dr, inverse_weights, ips, naive, weight_notes
from pages import entropy, sigmoid

DRAWS = 200
CLIP = 0.1


@pytest.fixture(scope="module")
def world():
    """True probabilities of a small world's rows, and a fixed predictor that is wrong in places."""
    made = World(seed=0, items=300, queries=60, shoppers=100, page=10, days=20, ctr=0.2, cvr=0.4, selection_bias=2.0)
    parts = list(simulate(made, Mixture(), 4_000))
    click, cvr = (
        np.concatenate([part[name] for part in parts]).astype(np.float64)
        for name in ("oracle_p_click", "oracle_p_purchase_given_click")
    )
    rng = np.random.default_rng(1)
    predicted = sigmoid(0.6 * np.log(cvr / (1 - cvr)) - 0.8 + 0.5 * rng.standard_normal(len(cvr)))
    return click, cvr, predicted


@pytest.fixture(scope="module")
def truth(world):
    _, cvr, predicted = world
    return float(entropy(predicted, cvr).mean())


@pytest.fixture(scope="module")
def draws(world):
    """Each estimate on 200 draws of clicks and purchases from the truth."""
    click, cvr, predicted = world
    rng = np.random.default_rng(2)
    p = torch.tensor(click)
    # A good imputation: the expected loss under rates that are a little off.
    imputed = torch.tensor(entropy(predicted, sigmoid(np.log(cvr / (1 - cvr)) + 0.3 * rng.standard_normal(len(cvr)))))
    if_not = torch.tensor(entropy(predicted, np.zeros_like(predicted)))
    found = {name: [] for name in ("click", "naive", "ips", "dr", "clipped", "normalised", "dr_normalised", "bad_dr")}
    for _ in range(DRAWS):
        observed = torch.tensor((rng.random(len(click)) < click).astype(np.float64))
        loss = torch.tensor(entropy(predicted, (rng.random(len(cvr)) < cvr).astype(np.float64)))
        weights, clipped = inverse_weights(observed, p), inverse_weights(observed, p, clip=CLIP)
        found["click"].append(click_space(loss, observed))
        found["naive"].append(naive(loss, observed, if_not))
        found["ips"].append(ips(loss, weights))
        found["dr"].append(dr(loss, imputed, weights))
        found["clipped"].append(ips(loss, clipped))
        found["normalised"].append(ips(loss, weights, self_normalised=True))
        found["dr_normalised"].append(dr(loss, imputed, weights, self_normalised=True))
        found["bad_dr"].append(dr(loss, torch.full_like(loss, 3.0), weights))
    return {name: np.array([float(value) for value in values]) for name, values in found.items()}


def half_width(values):
    return 2.576 * values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("name", ["ips", "dr", "bad_dr"])
def test_with_true_propensities_an_estimate_meets_the_truth(draws, truth, name):
    assert abs(draws[name].mean() - truth) < half_width(draws[name])


@pytest.mark.parametrize("name", ["click", "naive"])
def test_the_click_space_and_the_naive_estimate_miss_it(draws, truth, name):
    assert abs(draws[name].mean() - truth) > 10 * half_width(draws[name])


def test_a_good_imputation_lowers_the_variance_and_a_bad_one_raises_it(draws):
    assert draws["dr"].var() < 0.75 * draws["ips"].var()
    assert draws["bad_dr"].var() > 1.5 * draws["ips"].var()


def test_the_variances_are_those_of_theory(draws, world):
    click, cvr, predicted = world
    if_bought, if_not = entropy(predicted, 1.0), entropy(predicted, 0.0)
    mean, square = entropy(predicted, cvr), cvr * if_bought**2 + (1 - cvr) * if_not**2
    theory = ((square / click - mean**2).sum()) / len(click) ** 2
    assert draws["ips"].var(ddof=1) == pytest.approx(theory, rel=0.3)  # 200 draws know a variance to 10%, one sigma
    off = 3.0
    square_off = cvr * (if_bought - off) ** 2 + (1 - cvr) * (if_not - off) ** 2
    theory = ((square_off / click - (mean - off) ** 2).sum()) / len(click) ** 2
    assert draws["bad_dr"].var(ddof=1) == pytest.approx(theory, rel=0.3)


def test_clipping_lowers_the_variance_and_biases_downwards(draws, truth, world):
    click, cvr, predicted = world
    assert draws["clipped"].var() < 0.5 * draws["ips"].var()
    # Each row's expected weight is min(1, p / clip), and losses are positive.
    expected = (entropy(predicted, cvr) * np.minimum(1.0, click / CLIP)).mean()
    assert expected < truth
    assert abs(draws["clipped"].mean() - expected) < half_width(draws["clipped"])
    assert draws["clipped"].mean() < truth - half_width(draws["clipped"])


def test_self_normalising_lowers_the_variance_of_ips(draws, truth):
    assert draws["normalised"].var() < 0.75 * draws["ips"].var()
    assert draws["normalised"].mean() == pytest.approx(truth, rel=0.02)  # biased, of order 1 / clicks
    assert draws["dr_normalised"].mean() == pytest.approx(truth, rel=0.02)


def test_a_wrong_propensity_leaves_dr_right_where_the_imputation_is_true(world, truth):
    click, cvr, predicted = world
    rng = np.random.default_rng(3)
    wrong = torch.tensor(np.sqrt(click))
    imputed = torch.tensor(entropy(predicted, cvr))
    found = {"ips": [], "dr": []}
    for _ in range(DRAWS):
        observed = torch.tensor((rng.random(len(click)) < click).astype(np.float64))
        loss = torch.tensor(entropy(predicted, (rng.random(len(cvr)) < cvr).astype(np.float64)))
        weights = inverse_weights(observed, wrong)
        found["ips"].append(float(ips(loss, weights)))
        found["dr"].append(float(dr(loss, imputed, weights)))
    assert abs(np.mean(found["dr"]) - truth) < half_width(np.array(found["dr"]))
    assert abs(np.mean(found["ips"]) - truth) > 10 * half_width(np.array(found["ips"]))


def test_estimates_by_hand():
    loss, observed = torch.tensor([1.0, 5.0, 2.0, 9.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])
    propensity = torch.tensor([0.5, 0.1, 0.05, 0.2])
    weights = inverse_weights(observed, propensity, clip=0.1)
    torch.testing.assert_close(weights, torch.tensor([2.0, 0.0, 10.0, 0.0]))
    assert click_space(loss, observed) == 1.5
    assert naive(loss, observed, torch.full((4,), 0.5)) == 1.0
    assert ips(loss, weights) == pytest.approx((2 + 20) / 4)
    assert ips(loss, weights, self_normalised=True) == pytest.approx(22 / 12)
    assert dr(loss, torch.ones(4), weights) == pytest.approx(1 + 10 / 4)


def test_notes_by_hand():
    observed, propensity = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.5, 0.1, 0.05, 0.35])
    weights = inverse_weights(observed, propensity, clip=0.1)
    found = {name: float(value) for name, value in weight_notes(weights, observed, propensity, clip=0.1).items()}
    assert found == pytest.approx(
        {
            "propensity_mean": 0.25,
            "weight_mean": 3.0,
            "weight_clipped": 0.5,  # one of two clicks
            "weight_effective": 144 / 104 / 2,
        }
    )


@pytest.mark.parametrize("self_normalised", [False, True])
def test_parts_of_a_step_add_up_to_a_share_each(self_normalised):
    loss, weights = torch.rand(8), inverse_weights(torch.tensor([1.0, 0, 1, 0, 1, 0, 0, 0]), torch.rand(8))
    parts = [ips(loss[s], weights[s], self_normalised, rows=8.0) for s in (slice(0, 3), slice(3, 8))]
    whole = (
        ips(loss, weights) if not self_normalised else (3 * ips(loss[:3], weights[:3], True) + 5 * parts[1] * 8 / 5) / 8
    )
    torch.testing.assert_close(sum(parts), whole)


def test_a_step_without_a_click_has_a_zero_risk():
    nothing = torch.zeros(4)
    for self_normalised in (False, True):
        assert ips(torch.ones(4), inverse_weights(nothing, torch.zeros(4)), self_normalised) == 0.0


def test_rows_that_stand_for_more_count_for_more():
    loss, weights = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0])
    found = ips(loss, weights, standing=torch.tensor([3.0, 1.0]))
    assert found == pytest.approx((3 * 2 * 1 + 4 * 2) / 4)
