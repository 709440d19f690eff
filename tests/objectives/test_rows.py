"""What a row costs with smoothed labels, class weights and a focus on hard rows, against NumPy."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.objectives import MaskedBCE, RowLoss
from pages import entropy, sigmoid


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    logit = torch.tensor(rng.normal(size=50)).float()
    return torch.nn.functional.logsigmoid(logit), sigmoid(logit), (rng.random(50) < 0.4).astype(float)


def cost(rows, label=None, task="click", **options):
    log_p, _, y = rows
    return RowLoss(**options)(log_p, torch.tensor(y if label is None else label).float(), task).numpy()


def test_by_default_it_is_cross_entropy(rows):
    _, p, y = rows
    np.testing.assert_allclose(cost(rows), entropy(p, y), rtol=1e-5)
    assert RowLoss().plain
    assert not RowLoss(positive_weight={"click": 2.0}).plain


def test_focal_loss(rows):
    _, p, y = rows
    expected = -(y * (1 - p) ** 1.5 * np.log(p) + (1 - y) * p**1.5 * np.log(1 - p))
    np.testing.assert_allclose(cost(rows, focal_gamma=1.5), expected, rtol=1e-5)


def test_label_smoothing(rows):
    _, p, y = rows
    np.testing.assert_allclose(cost(rows, label_smoothing=0.2), entropy(p, 0.8 * y + 0.1), rtol=1e-5)


def test_class_weights_are_the_named_tasks_alone(rows):
    _, p, y = rows
    expected = entropy(p, y) * np.where(y == 1, 4.0, 1.0)
    np.testing.assert_allclose(cost(rows, positive_weight={"click": 4.0}), expected, rtol=1e-5)
    np.testing.assert_allclose(cost(rows, positive_weight={"purchase": 4.0}), entropy(p, y), rtol=1e-5)


def test_all_three_together(rows):
    _, p, y = rows
    target = 0.9 * y + 0.05
    expected = -(3 * target * (1 - p) ** 2 * np.log(p) + (1 - target) * p**2 * np.log(1 - p))
    found = cost(rows, focal_gamma=2.0, label_smoothing=0.1, positive_weight={"click": 3.0})
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_click_over_its_propensity_is_a_label_of_more_than_one(rows):
    _, p, y = rows
    np.testing.assert_allclose(cost(rows, label=y / 0.4), entropy(p, y / 0.4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"focal_gamma": -1.0}, "objective.rows.focal_gamma=-1.0 must be >= 0"),
        ({"label_smoothing": 1.0}, r"objective.rows.label_smoothing=1.0 must lie in \[0, 1\)"),
        ({"positive_weight": {"cart": 2.0}}, "objective.rows.positive_weight.cart names no binary task"),
        ({"positive_weight": {"click": 0.0}}, "objective.rows.positive_weight.click=0.0 must be above 0"),
    ],
)
def test_values_out_of_range_are_refused(funnel, options, message):
    with pytest.raises(ConfigError, match=message):
        MaskedBCE(funnel, rows=RowLoss(**options))
