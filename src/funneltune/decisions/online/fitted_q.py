"""A small reinforcement learner for episodes of few steps: fitted Q-iteration, backwards from the last step.

Legend: m transitions, d features of a state, H steps at most, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.online.stream import Floats, Integers
from funneltune.errors import ConfigError


class Transitions(NamedTuple):
    """What was seen at one step of many episodes."""

    state: Floats
    """(m, d)."""
    action: Integers
    """(m,), from 0."""
    reward: Floats
    """(m,)."""
    after: Floats
    """(m, d): the next step's state; not read where the episode ended."""
    goes_on: NDArray[np.bool_]
    """(m,)."""


class FittedQ:
    """Q_h(s, a) = w_ha . s, by ridge regression on r + max_b Q_h+1(s', b) (Ernst, Geurts & Wehenkel 2005).

    A step has weights of its own, so with H steps one pass from the last to the first is all: nothing is bootstrapped
    from itself. On one-hot states with every pair seen often it is dynamic programming on the observed frequencies.

    Args:
        actions: A.
        ridge: Penalty of the squared weights; the first feature (the constant) is free of it.

    Raises:
        ConfigError: if there is no action, or the penalty is not above 0.
    """

    def __init__(self, actions: int, ridge: float = 1.0) -> None:
        if actions < 1:
            raise ConfigError(f"actions={actions} must be >= 1.")
        if not ridge > 0:
            raise ConfigError(f"ridge={ridge} must be > 0.")
        self.actions, self.ridge = actions, ridge
        self.weights: list[Floats] = []
        """(A, d) of each step."""

    def fit(self, steps: Sequence[Transitions]) -> FittedQ:
        """Learn from what was seen, step by step. Actions that a step never saw are worth nothing there."""
        self.weights = [np.zeros((self.actions, one.state.shape[1])) for one in steps]
        for h in reversed(range(len(steps))):
            seen = steps[h]
            target = np.array(seen.reward, dtype=np.float64)
            if h + 1 < len(steps):
                target += np.where(seen.goes_on, self.values(seen.after, h + 1).max(axis=1), 0.0)
            penalty = self.ridge * np.eye(seen.state.shape[1])
            penalty[0, 0] = 1e-9
            for action in np.unique(seen.action):
                rows = seen.action == action
                x = seen.state[rows]
                self.weights[h][action] = np.linalg.solve(x.T @ x + penalty, x.T @ target[rows])
        return self

    def values(self, state: Floats, step: int) -> Floats:
        """(m, A): what each action is worth, to the end of the episode."""
        return np.asarray(state @ self.weights[step].T)

    def act(self, state: Floats, step: int) -> Integers:
        """(m,): the best action."""
        return np.asarray(self.values(state, step).argmax(axis=1), dtype=np.int64)
