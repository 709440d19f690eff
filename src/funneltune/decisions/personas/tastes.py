"""What each shopper likes beyond what anyone would click: random effects of a logistic model, shopper by shopper.

Legend: n shoppers, rows of impressions, d properties of an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ROUNDS = 30
PRIOR_ROWS = 20.0
"""Rows that a grouping's part must have for its own rate to count half."""


class Evidence(NamedTuple):
    """Of each shopper: the gradient and the information of its own coefficients at zero."""

    gradient: Floats
    """(n, d)."""
    information: Floats
    """(n, d, d)."""


def expected_rates(happened: Floats, keys: Sequence[Integers]) -> Floats:
    """The chance of each row as anyone's: the mean rate, times what each grouping of the rows adds in turn.

    A grouping (items' categories, queries, both together) multiplies the chance by events seen over events expected,
    shrunk towards 1 by as many events as `PRIOR_ROWS` rows have on average.
    """
    chance = np.full(len(happened), happened.mean() if len(happened) else 0.0)
    prior = PRIOR_ROWS * chance[:1].sum() + 1e-12
    for key in keys:
        _, place = np.unique(key, return_inverse=True)
        seen, awaited = np.bincount(place, weights=happened), np.bincount(place, weights=chance)
        chance = chance * ((seen + prior) / (awaited + prior))[place]
    return np.asarray(np.clip(chance, 1e-4, 1 - 1e-4))


def evidence(user: Integers, properties: Floats, happened: Floats, chance: Floats, n: int) -> Evidence:
    """What the rows tell of each shopper's coefficients: sum (y - p) x, and sum p (1 - p) x x'."""
    d = properties.shape[1]
    gradient, information = np.zeros((n, d)), np.zeros((n, d, d))
    order = np.argsort(user, kind="stable")
    bounds = np.searchsorted(user[order], np.arange(n + 1))
    for number in range(n):
        rows = order[bounds[number] : bounds[number + 1]]
        x, p = properties[rows], chance[rows]
        gradient[number] = (happened[rows] - p) @ x
        information[number] = (x * (p * (1 - p))[:, None]).T @ x
    return Evidence(gradient, information)


def effects(told: Evidence, rounds: int = ROUNDS) -> Floats:
    """(n, d): each shopper's coefficients, shrunk by how much shoppers differ at all.

    The posterior means of b_u ~ N(m, S) under logit p(click) = logit p(anyone's) + b_u' x, one Newton step from zero,
    with m and S by the EM of Laird & Ware (1982): the hierarchical logit of Rossi, Allenby & McCulloch (2005) without
    its sampler. Who did little stays near the mean; directions in which nobody differs shrink to nothing.
    """
    n, d = told.gradient.shape
    mean, spread = np.zeros(d), 0.1 * np.eye(d)
    found = np.zeros((n, d))
    for _ in range(rounds):
        precision = np.linalg.inv(spread)
        covariance = np.linalg.inv(precision + told.information)
        found = np.einsum("nij,nj->ni", covariance, told.gradient + precision @ mean)
        mean = found.mean(axis=0)
        apart = found - mean
        spread = apart.T @ apart / n + covariance.mean(axis=0) + 1e-6 * np.eye(d)
    return np.asarray(found)
