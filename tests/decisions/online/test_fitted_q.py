"""The small reinforcement learner against dynamic programming, in a world where greed is provably worse."""

import numpy as np
import pytest

from funneltune.decisions.online.fitted_q import FittedQ, Transitions
from funneltune.errors import ConfigError

H = 5
# State 0: keen, 1: bored. Action 0 sells (most at once) and bores; action 1 pleases and keeps the shopper keen.
REWARD = np.array([[1.0, 0.7], [0.1, 0.0]])
KEEN = np.array([[0.1, 0.95], [0.05, 0.6]])


def exact():
    """Q of each step by backward induction."""
    q = np.zeros((H + 1, 2, 2))
    for h in reversed(range(H)):
        best = q[h + 1].max(axis=1)
        q[h] = REWARD + KEEN * best[0] + (1 - KEEN) * best[1] if h + 1 < H else REWARD
    return q[:H]


def value_of(choose):
    """What a policy earns from state 0, exactly."""
    value = np.zeros(2)
    for h in reversed(range(H)):
        actions = [choose(h, s) for s in (0, 1)]
        value = np.array(
            [REWARD[s, a] + KEEN[s, a] * value[0] + (1 - KEEN[s, a]) * value[1] for s, a in enumerate(actions)]
        )
    return value[0]


def observed(m=4000, seed=0):
    rng = np.random.default_rng(seed)
    state = np.zeros(m, dtype=int)
    steps = []
    for h in range(H):
        action = rng.integers(2, size=m)
        after = np.where(rng.random(m) < KEEN[state, action], 0, 1)
        goes_on = np.full(m, h + 1 < H)
        noisy = REWARD[state, action] + rng.normal(0, 0.3, m)
        steps.append(Transitions(np.eye(2)[state], action, noisy, np.eye(2)[after], goes_on))
        state = after
    return steps


def test_the_learner_finds_the_exact_optimum_where_greed_is_provably_worse():
    q, learner = exact(), FittedQ(actions=2, ridge=1e-3).fit(observed())
    learnt = np.stack([learner.values(np.eye(2), h) for h in range(H)])
    np.testing.assert_allclose(learnt[0, 0], q[0, 0], atol=0.12)  # all begin keen
    np.testing.assert_allclose(learnt[1:], q[1:], atol=0.12)
    best, greedy = q[0, 0].max(), value_of(lambda h, s: int(REWARD[s].argmax()))
    earned = value_of(lambda h, s: int(learner.act(np.eye(2)[s : s + 1], h)[0]))
    assert greedy < 0.75 * best
    assert earned == pytest.approx(best, rel=0.01)
    assert learner.act(np.eye(2), H - 1).tolist() == [0, 0]  # at the last step greed is right


def test_an_action_never_seen_is_worth_nothing_and_an_ended_episode_has_no_future():
    x = np.ones((10, 1))
    ended = np.zeros(10, dtype=bool)
    first = Transitions(x, np.zeros(10, dtype=int), np.full(10, 0.5), x, ended)
    last = Transitions(x, np.zeros(10, dtype=int), np.full(10, 9.0), x, ended)
    learner = FittedQ(actions=2).fit([first, last])
    np.testing.assert_allclose(learner.values(x[:1], 0), [[0.5, 0.0]], atol=1e-6)


@pytest.mark.parametrize(("wrong", "told"), [({"actions": 0}, "actions=0"), ({"actions": 1, "ridge": 0.0}, "ridge=0")])
def test_what_cannot_learn_is_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        FittedQ(**wrong)
