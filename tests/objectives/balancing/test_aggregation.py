"""Aggregators: papers' equations by hand, and what holds for all of them."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.objectives import Aggregation
from funneltune.objectives.balancing import AGGREGATORS
from pages import CART

TWO = np.array([[1.0, 0.0], [-0.6, 0.8]])
"""Two gradients that conflict: their product is -0.6."""
DRAWS = ("pcgrad", "graddrop", "random")


def aggregated(word, matrix, step=0, **more):
    return (
        Aggregation(CART, word, **more).double().aggregate(torch.tensor(np.asarray(matrix), dtype=torch.float64), step)
    )


def pcgrad(g):
    """Yu et al. 2020, Algorithm 1, for two tasks: there is one order."""
    a = g[0] - min(0, g[0] @ g[1]) / (g[1] @ g[1]) * g[1]
    b = g[1] - min(0, g[0] @ g[1]) / (g[0] @ g[0]) * g[0]
    return a + b


def mgda(g):
    """Sener & Koltun 2018, eq. 4: the shortest convex combination of two gradients."""
    share = np.clip(((g[1] - g[0]) @ g[1]) / ((g[0] - g[1]) @ (g[0] - g[1])), 0, 1)
    return share * g[0] + (1 - share) * g[1]


def imtl_g(g):
    """Liu et al. 2021, eq. 6: equal projections on the unit gradients, weights that sum to 1."""
    units = g / np.linalg.norm(g, axis=1, keepdims=True)
    alpha = np.linalg.solve(np.stack([g @ (units[0] - units[1]), np.ones(2)]), [0, 1])
    return alpha @ g


def upgrad(g):
    """Quinton & Rey 2024: the mean of the gradients, each projected onto the dual cone (two tasks: off the other)."""
    return pcgrad(g) / 2


def cagrad(g, c=0.4):
    """Liu et al. 2021, eq. 5, by brute force over the weight of the first task."""
    mean = g.mean(axis=0)
    w = np.linspace(0, 1, 200_001)
    mixed = w[:, None] * g[0] + (1 - w[:, None]) * g[1]
    length = np.linalg.norm(mixed, axis=1)
    best = np.argmin(mixed @ mean + c * np.linalg.norm(mean) * length)
    return mean + c * np.linalg.norm(mean) * mixed[best] / length[best]


def aligned_mtl(g):
    """Senushkin et al. 2023: principal components of the length of the shortest, then the mean."""
    u, s, v = np.linalg.svd(g, full_matrices=False)
    return np.ones(2) / 2 @ (s.min() * u @ v)


def config(g):
    """Liu et al. 2024: the same angle to all, as long as the gradients' projections on it together."""
    direction = np.linalg.pinv(g / np.linalg.norm(g, axis=1, keepdims=True)) @ np.ones(2)
    direction /= np.linalg.norm(direction)
    return (g @ direction).sum() * direction


def dualproj(g):
    """Lopez-Paz & Ranzato 2017: the mean, projected onto what harms no task; here one constraint binds at most."""
    mean = g.mean(axis=0)
    for one in g:
        mean = mean - min(0, mean @ one) / (one @ one) * one
    return mean


BY_HAND = {
    "pcgrad": pcgrad,
    "mgda": mgda,
    "imtl_g": imtl_g,
    "upgrad": upgrad,
    "cagrad": cagrad,
    "aligned_mtl": aligned_mtl,
    "config": config,
    "dualproj": dualproj,
    "mean": lambda g: g.mean(axis=0),
    "sum": lambda g: g.sum(axis=0),
}


@pytest.mark.parametrize("matrix", [TWO, np.array([[1.0, 0.2], [0.3, 2.0]]), np.array([[3.0, 0.0], [-0.6, 0.8]])])
@pytest.mark.parametrize("word", BY_HAND)
def test_two_gradients_become_the_papers_one(word, matrix):
    np.testing.assert_allclose(aggregated(word, matrix), BY_HAND[word](matrix), atol=2e-3)


def test_graddrop_keeps_of_each_weight_one_sign_as_often_as_its_share():
    """Chen et al. 2020: the positive sign with probability (1 + sum g / sum |g|) / 2."""
    matrix = np.repeat([[3.0], [-1.0]], 4000, axis=1)
    found = aggregated("graddrop", matrix).numpy()
    assert set(found) == {3.0, -1.0}
    assert (found == 3.0).mean() == pytest.approx(0.75, abs=0.03)


def test_random_is_a_convex_combination():
    found = aggregated("random", np.eye(3))
    assert (found > 0).all()
    assert found.sum().item() == pytest.approx(1)
    assert not torch.equal(found, aggregated("random", np.eye(3), step=1))


@pytest.mark.parametrize("word", AGGREGATORS)
def test_small_gradients_are_aggregated_like_large_ones(word):
    matrix = np.random.default_rng(0).normal(size=(3, 7))
    torch.manual_seed(3)
    made = Aggregation(CART, word).double()
    matrix = torch.tensor(matrix)
    expected = made.aggregate(matrix, 5)
    assert expected.norm() > 0
    for scale in (1e-6, 1e6):
        torch.testing.assert_close(made.aggregate(matrix * scale, 5) / scale, expected)


@pytest.mark.parametrize("word", AGGREGATORS)
def test_a_task_without_a_gradient_has_no_say(word):
    torch.manual_seed(3)
    made = Aggregation(CART, word).double()
    matrix = torch.tensor(np.array([TWO[0], [0.0, 0.0], TWO[1]]))
    torch.testing.assert_close(made.aggregate(matrix, 0), made.aggregate(torch.tensor(TWO), 0))
    assert torch.equal(made.aggregate(torch.zeros(3, 2).double(), 0), torch.zeros(2).double())


@pytest.mark.parametrize("word", AGGREGATORS)
def test_gradients_that_are_not_finite_are_left_for_the_guard_to_see(word):
    assert aggregated(word, [[1.0, np.nan], [1.0, 1.0]]).isnan().any()
    assert aggregated(word, [[1.0, np.inf], [1.0, 1.0]]).isinf().any()


@pytest.mark.parametrize("word", DRAWS)
def test_what_is_drawn_depends_on_seed_and_step_alone_and_leaves_other_draws_as_they_were(word):
    matrix = torch.tensor(np.random.default_rng(0).normal(size=(4, 3)))
    torch.manual_seed(11)
    made = Aggregation(CART, word).double()
    state = torch.get_rng_state()
    first = made.aggregate(matrix, 4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(9)
    assert torch.equal(made.aggregate(matrix, 4), first)
    torch.manual_seed(12)
    other = Aggregation(CART, word).double()
    drawn = [one.aggregate(matrix, step) for one in (made, other) for step in range(8)]
    assert len({tuple(vector.tolist()) for vector in drawn}) > 1
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.aggregate(matrix, 4), first)


@pytest.mark.parametrize(
    ("word", "c", "message"),
    [
        ("pcgrads", None, "balancing.aggregator='pcgrads' must be one of pcgrad, mgda"),
        ("mgda", 0.4, "balancing.c=0.4 belongs to cagrad, not to mgda"),
        ("cagrad", -1.0, "balancing.c=-1.0 must be >= 0"),
    ],
)
def test_what_no_aggregator_is_made_of_is_refused(word, c, message):
    with pytest.raises(ConfigError, match=message):
        Aggregation(CART, word, c)
