"""The Bayesian last layer's arithmetic: scikit-learn's mode, the closed form of the information, forgetting, regret."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from funneltune.decisions.online import BayesianLogistic
from funneltune.errors import ConfigError

D = 4


def rows(m=400, seed=0, seen=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, D))
    p = seen / (1 + np.exp(-(x @ np.array([1.0, -0.5, 0.3, 0.0]) - 0.4 * x[:, 0])))
    return x, (rng.random(m) < p).astype(int)


def model(precision=2.0, **more):
    return BayesianLogistic(mean=np.zeros(D), precision=np.full(D, precision), **more)


def test_the_mode_is_scikit_learns_ridge_solution_and_the_precision_its_hessian():
    x, y = rows()
    ours = model()
    ours.update(x, y)
    theirs = LogisticRegression(C=1 / 2.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(ours.mean, theirs.coef_[0], atol=1e-5)
    p = theirs.predict_proba(x)[:, 1]
    np.testing.assert_allclose(ours.precision, 2.0 * np.eye(D) + (x.T * (p * (1 - p))) @ x, rtol=1e-4)


def test_block_after_block_comes_close_to_all_at_once():
    x, y = rows(4000)
    once, bits = model(), model()
    once.update(x, y)
    for start in range(0, len(x), 100):
        bits.update(x[start : start + 100], y[start : start + 100])
    np.testing.assert_allclose(bits.mean, once.mean, atol=0.03)


def test_what_was_seldom_looked_at_is_learnt_without_bias_where_the_chance_is_told():
    seen = np.where(np.arange(6000) % 2, 0.3, 1.0)
    x, y = rows(6000, seen=seen)
    told, untold = model(0.01), model(0.01)
    told.update(x, y, seen)
    untold.update(x, y)
    truth = np.array([0.6, -0.5, 0.3, 0.0])
    assert np.abs(told.mean - truth).max() < 0.12
    assert np.abs(untold.mean - truth).max() > 0.2


def test_of_rows_seldom_looked_at_the_mode_and_the_information_are_those_of_the_stated_likelihood():
    seen, y = np.array([0.4, 0.4, 0.9]), np.array([1, 0, 0])
    ours = BayesianLogistic(mean=np.array([0.5]), precision=np.array([1.5]))
    ours.update(np.ones((3, 1)), y, seen)
    grid = np.linspace(-3, 3, 60_001)
    s = 1 / (1 + np.exp(-grid))
    q = seen[:, None] * s
    log = np.where(y[:, None] == 1, np.log(q), np.log1p(-q)).sum(0) - 0.75 * (grid - 0.5) ** 2
    assert ours.mean[0] == pytest.approx(grid[log.argmax()], abs=2e-4)
    s, q = (1 / (1 + np.exp(-ours.mean[0])) * np.array([1.0, *seen]))[[0]], seen / (1 + np.exp(-ours.mean[0]))
    fisher = (seen * s * (1 - s)) ** 2 / (q * (1 - q))  # (dq / dlogit)^2 / variance
    assert ours.precision[0, 0] == pytest.approx(1.5 + fisher.sum())


def test_the_diagonal_form_keeps_no_correlations():
    x, y = rows()
    x[:, 1] += x[:, 0]
    ours = model(covariance="diagonal")
    ours.update(x, y)
    assert np.count_nonzero(ours.precision - np.diag(np.diag(ours.precision))) == 0
    assert (np.diag(ours.precision) > 2.0).all()


def test_forgetting_halves_what_was_learnt_and_ends_at_the_prior():
    x, y = rows()
    ours = model(half_life=100.0)
    ours.update(x, y)
    learnt = ours.precision @ ours.mean
    ours.forget(100)
    np.testing.assert_allclose(ours.precision @ ours.mean, learnt / 2, rtol=1e-8)
    ours.forget(10_000)
    np.testing.assert_allclose(ours.mean, 0.0, atol=1e-8)
    np.testing.assert_allclose(ours.precision, 2.0 * np.eye(D), atol=1e-8)
    kept = model()
    kept.update(x, y)
    before = kept.mean.copy()
    kept.forget(1000)
    np.testing.assert_array_equal(kept.mean, before)


def test_draws_have_the_posteriors_mean_and_covariance_and_no_rows_teach_nothing():
    x, y = rows(100)
    ours = model()
    ours.update(x, y)
    ours.update(x[:0], y[:0])
    drawn = ours.draw(np.random.default_rng(0), 40_000)
    np.testing.assert_allclose(drawn.mean(0), ours.mean, atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), np.linalg.inv(ours.precision), atol=0.01)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"covariance": "low_rank"}, "covariance='low_rank' must be one of full, diagonal"),
        ({"precision": np.array([1.0, 0.0])}, "precision=0.0 must be > 0"),
        ({"half_life": 0.0}, "half_life=0.0 must be > 0"),
    ],
)
def test_what_is_no_prior_is_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        BayesianLogistic(**{"mean": np.zeros(2), "precision": np.ones(2)} | wrong)


def play(thompson, rounds, seed):
    """Two arms, the second better; the first few rounds mislead whoever trusts them."""
    rng = np.random.default_rng(seed)
    p = np.array([0.45, 0.6])
    arms = np.eye(2)
    model = BayesianLogistic(mean=np.array([0.0, -1.0]), precision=np.full(2, 1.0))
    regret = np.empty(rounds)
    for t in range(rounds):
        w = model.draw(rng, 1)[0] if thompson else model.mean
        arm = int(np.argmax(w))
        model.update(arms[arm : arm + 1], np.array([rng.random() < p[arm]]))
        regret[t] = p.max() - p[arm]
    return np.cumsum(regret)


def test_thompson_sampling_finds_the_better_arm_where_greed_stays_and_its_regret_flattens():
    rounds, seeds = 600, range(12)
    thompson = np.mean([play(True, rounds, seed) for seed in seeds], axis=0)
    greedy = np.mean([play(False, rounds, seed) for seed in seeds], axis=0)
    assert thompson[-1] < 0.6 * greedy[-1]
    assert thompson[-1] - thompson[rounds // 2] < 0.5 * thompson[rounds // 2]  # half the rounds, less than half again
    assert thompson[-1] / rounds < 0.5 * thompson[rounds // 8] / (rounds // 8)
