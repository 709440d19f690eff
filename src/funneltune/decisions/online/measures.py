"""What following the world is worth: shares of the oracle's purchases, recovery after a shift, regret, with intervals.

Legend: S seeds, n requests; curves are (S, n) expected purchases per request, in the order of time.
"""

from __future__ import annotations

import numpy as np

from funneltune.decisions.online.stream import Floats
from funneltune.metrics import Interval, seed_difference
from funneltune.metrics.intervals import t_interval


def moving(curve: Floats, window: int) -> Floats:
    """(..., n): the mean of the last `window` values, of as many as there are at the start."""
    sums = np.concatenate([np.zeros((*curve.shape[:-1], 1)), np.cumsum(curve, axis=-1)], axis=-1)
    here = np.arange(1, curve.shape[-1] + 1)
    first = np.maximum(here - window, 0)
    return np.asarray((sums[..., here] - sums[..., first]) / (here - first))


def shares(policy: Floats, oracle: Floats) -> Floats:
    """(S,): the policy's purchases as a share of the oracle's."""
    return np.asarray(policy.sum(axis=-1) / oracle.sum(axis=-1))


def recovery(policy: Floats, static: Floats, oracle: Floats, shift: int, window: int, share: float = 0.5) -> float:
    """Requests from the shift until the policy is back: nan where it never is, or where the static model lost nothing.

    Back: the moving share of the oracle's purchases, averaged over the seeds, has made good `share` of what the static
    model's fell by from before the shift to after it. The window lies behind the shift, so the answer is at least
    `window`.
    """
    before, after = (float(shares(static[:, part], oracle[:, part]).mean()) for part in _halves(shift))
    if after >= before:
        return float("nan")
    wanted = after + share * (before - after)
    part = _halves(shift)[1]
    moved = moving(policy[:, part].mean(axis=0), window) / moving(oracle[:, part].mean(axis=0), window)
    there = np.flatnonzero(moved[window - 1 :] >= wanted)
    return float(there[0] + window) if len(there) else float("nan")


def recovered(policy: Floats, static: Floats, oracle: Floats, shift: int) -> Floats:
    """(S,): the policy's purchases beyond the static model's after the shift, as a share of those that it lost.

    Lost: what the static model would have sold at its share of the oracle's purchases of before the shift, less what it
    sold. The loss is the mean over the seeds: a seed's own may be next to nothing.
    """
    first, second = _halves(shift)
    before = shares(static[:, first], oracle[:, first]).mean()
    lost = float((before * oracle[:, second].sum(axis=1) - static[:, second].sum(axis=1)).mean())
    gained = policy[:, second].sum(axis=1) - static[:, second].sum(axis=1)
    return np.asarray(gained / lost if lost > 0 else np.full(len(policy), np.nan))


def over_seeds(values: Floats) -> Interval:
    """The mean of one value per seed, with its t interval."""
    k = len(values)
    variance = float(np.var(values, ddof=1) / k) if k > 1 else float("nan")
    return t_interval(float(np.mean(values)), variance, max(k - 1, 1), 0.95, k, 0, "t over seeds")


def difference(first: Floats, second: Floats) -> Interval:
    """First minus second, (S,) each, paired by seed."""
    return seed_difference(first.tolist(), second.tolist())


def _halves(shift: int) -> tuple[slice, slice]:
    return slice(0, shift), slice(shift, None)
