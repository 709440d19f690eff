"""Off-policy estimators: values worked by hand, unbiasedness over all logs of a small world, intervals that cover."""

import itertools

import numpy as np
import pytest

from funneltune.errors import ConfigError, DataError
from funneltune.metrics.off_policy import (
    ESTIMATORS,
    Logged,
    bca,
    estimate,
    overlap,
    require_overlap,
)

# Two actions; the log tosses (0.75, 0.25), the target (0.5, 0.5). Four rows: actions 0, 0, 1, 0 earned 1, 0, 1, 0.
WEIGHT = np.array([2 / 3, 2 / 3, 2.0, 2 / 3])
REWARD = np.array([1.0, 0.0, 1.0, 0.0])
BY_HAND = Logged(
    reward=REWARD,
    weight=WEIGHT,
    cluster=np.arange(4),
    predicted=np.array([0.4, 0.4, 0.6, 0.4]),
    expected=np.full(4, 0.5),
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dm", 0.5),
        ("ips", (2 / 3 + 2) / 4),
        ("snips", (2 / 3 + 2) / 4),  # the weights add up to 4 here
        ("dr", 0.5 + (2 / 3 * 0.6 - 2 / 3 * 0.4 + 2 * 0.4 - 2 / 3 * 0.4) / 4),
        ("sndr", 0.5 + (2 / 3 * 0.6 - 2 / 3 * 0.4 + 2 * 0.4 - 2 / 3 * 0.4) / 4),
    ],
)
def test_values_are_those_worked_by_hand(name, value):
    assert estimate(name, BY_HAND, draws=0).value == pytest.approx(value)


def test_self_normalising_divides_by_the_weights_that_there_are():
    light = Logged(REWARD, WEIGHT / 2, np.arange(4), BY_HAND.predicted, BY_HAND.expected)
    assert estimate("snips", light, draws=0).value == pytest.approx((2 / 3 + 2) / 4)
    assert estimate("ips", light, draws=0).value == pytest.approx((2 / 3 + 2) / 8)
    assert estimate("sndr", light, draws=0).value == pytest.approx(estimate("sndr", BY_HAND, draws=0).value)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    found = estimate("ips", BY_HAND, draws=0)
    assert found.error == pytest.approx(np.std(WEIGHT * REWARD, ddof=1) / 2)


def test_rows_of_one_cluster_count_as_one_draw():
    twice = Logged(np.repeat(REWARD, 50), np.repeat(WEIGHT, 50), np.repeat(np.arange(4), 50))
    assert estimate("ips", twice, draws=0).error == pytest.approx(estimate("ips", BY_HAND, draws=0).error)


@pytest.mark.parametrize("name", ["ips", "dr"])
def test_over_all_logs_of_a_small_world_the_mean_of_the_estimates_is_the_truth(name):
    logging, target, rate = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.6]), np.array([0.2, 0.5, 0.9])
    model = np.array([0.3, 0.3, 0.3])  # a bad one: DR does not mind
    mean = total = 0.0
    for actions in itertools.product(range(3), repeat=2):
        for rewards in itertools.product((0.0, 1.0), repeat=2):
            a, r = np.array(actions), np.array(rewards)
            chance = np.prod(logging[a] * np.where(r == 1, rate[a], 1 - rate[a]))
            log = Logged(r, (target / logging)[a], np.arange(2), model[a], np.full(2, model @ target))
            mean, total = mean + chance * estimate(name, log, draws=0).value, total + chance
    assert total == pytest.approx(1.0)
    assert mean == pytest.approx(rate @ target)


def drawn(n, seed, sharp=1.5, model=True):
    """A log of 6 actions whose target leans to the better ones, and the target's true value."""
    rng = np.random.default_rng(seed)
    rate = np.linspace(0.05, 0.4, 6)
    logging = np.linspace(3.0, 0.5, 6) / np.linspace(3.0, 0.5, 6).sum()
    target = np.exp(sharp * np.arange(6)) / np.exp(sharp * np.arange(6)).sum()
    action = rng.choice(6, size=n, p=logging)
    reward = (rng.random(n) < rate[action]).astype(float)
    near = rate * 0.9 + 0.02
    extra = {"predicted": near[action], "expected": np.full(n, near @ target)} if model else {}
    return Logged(reward, (target / logging)[action], np.arange(n), **extra), float(rate @ target)


def test_with_the_logs_own_policy_all_estimators_but_the_model_are_the_logs_mean():
    log, _ = drawn(500, 0)
    same = Logged(log.reward, np.ones(500), log.cluster, log.predicted, np.full(500, log.predicted.mean()))
    for name in ("ips", "snips", "dr", "sndr"):
        assert estimate(name, same, draws=0).value == pytest.approx(log.reward.mean())


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "sndr"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(name):
    hits = {False: 0, True: 0}
    for seed in range(150):
        log, truth = drawn(400, seed)
        found = estimate(name, log, draws=300, seed=seed)
        for bootstrap in hits:
            hits[bootstrap] += found.covers(truth, bootstrap)
    for covered in hits.values():
        assert 0.89 <= covered / 150 <= 0.995  # 95% within three binomial standard errors, and the skew of few rows


def test_switching_and_shrinking_beat_importance_weights_where_these_are_wild():
    errors = {name: [] for name in ESTIMATORS}
    for seed in range(60):
        log, truth = drawn(120, seed, sharp=4.0)
        for name in ESTIMATORS:
            errors[name].append(estimate(name, log, draws=0).value - truth)
    rmse = {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in errors.items()}
    assert rmse["dr"] < rmse["ips"]
    assert rmse["shrunk_dr"] <= rmse["dr"]
    assert rmse["switch_dr"] <= rmse["dr"]


def test_without_wild_weights_switching_and_shrinking_change_little():
    log, _ = drawn(400, 1, sharp=0.0)
    plain = estimate("dr", log, draws=0).value
    for name in ("switch_dr", "shrunk_dr"):
        assert estimate(name, log, draws=0).value == pytest.approx(plain, abs=0.03)


def test_bca_of_a_symmetric_statistic_is_the_percentile_interval_and_a_skewed_one_moves_it():
    draws = np.linspace(-1.0, 1.0, 2001)
    low, high = bca(0.0, draws, np.array([-1.0, 1.0, -1.0, 1.0]))
    assert (low, high) == pytest.approx((-0.95, 0.95), abs=0.002)
    assert bca(0.0, draws, np.array([0.0, 0.0, 0.0, -4.0]))[0] > low  # one cluster pulls upwards: both ends move up
    assert np.isnan(bca(0.0, np.zeros(5), np.zeros(5))).all()


def test_the_effective_rows_are_kishs():
    found = overlap(BY_HAND)
    assert found.effective == pytest.approx(16 / (3 * 4 / 9 + 4))
    assert found.largest == 2
    assert found.mean == pytest.approx(1.0)
    assert found.heaviest == pytest.approx(0.5)
    assert found.rewarded == 2
    assert "counts as 3 rows" in found.weak
    assert "one row has 50% of all weight" in found.weak


def test_weights_that_contradict_their_propensities_are_told():
    log, _ = drawn(3000, 0)
    assert overlap(log).weak == ""
    wrong = overlap(Logged(log.reward, 2 * log.weight, log.cluster))
    assert "instead of 1" in wrong.weak
    assert "instead of 1" not in overlap(Logged(log.reward, 2 * log.weight, log.cluster), random=False).weak


def test_a_policy_that_the_log_says_nothing_of_gets_no_number():
    rare = Logged(REWARD, np.array([0.0, 0.0, 900.0, 0.0]), np.arange(4))
    with pytest.raises(DataError, match=r"policy=greedy: the log of 4 rows counts as 1.0 .* 75% of the rows"):
        require_overlap(overlap(rare), "policy=greedy")
    require_overlap(overlap(drawn(400, 0)[0]), "policy=softmax")


def test_clipping_holds_weights_down():
    assert BY_HAND.clipped(1.0).weight.max() == 1.0
    assert estimate("ips", BY_HAND.clipped(1.0), draws=0).value < estimate("ips", BY_HAND, draws=0).value
    with pytest.raises(ConfigError, match="clip=0 must be > 0"):
        BY_HAND.clipped(0.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weight": np.ones(3)}, "columns differ in length"),
        ({"weight": np.array([1.0, np.inf, 1.0, 1.0])}, "weight holds a value that is not finite"),
        ({"weight": np.array([1.0, -1.0, 1.0, 1.0])}, "weight=-1 must be >= 0"),
        ({"predicted": np.ones(4)}, "brings both"),
        ({"reward": np.empty(0), "weight": np.empty(0), "cluster": np.empty(0, int)}, "has no row"),
    ],
)
def test_what_is_no_log_is_refused(change, told):
    with pytest.raises(DataError, match=told):
        Logged(**({"reward": REWARD, "weight": WEIGHT, "cluster": np.arange(4)} | change))


def test_unknown_estimators_and_missing_models_are_refused():
    with pytest.raises(ConfigError, match="'dri' is none of ips, snips"):
        estimate("dri", BY_HAND)
    with pytest.raises(ConfigError, match="dr needs a reward model"):
        estimate("dr", Logged(REWARD, WEIGHT, np.arange(4)))
