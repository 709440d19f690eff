"""Ranking terms against their equations, request by request in NumPy."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.objectives import EntireSpaceBCE, ListTerm, MaskedBCE
from pages import batch_of, drawn_labels, output_of, sigmoid

REQUEST = np.array([5, 5, 5, 2, 2, 9, 5, 2, 2, 7])


def drawn():
    n = len(REQUEST)
    rng = np.random.default_rng(0)
    return rng.normal(size=n), (rng.random(n) < 0.5).astype(float)


def ranknet(score, label, weight=None, standing=None):
    standing = np.ones_like(score) if standing is None else standing
    weight = label if weight is None else weight
    costs = np.zeros_like(score)
    for i in np.flatnonzero(label):
        others = np.flatnonzero((REQUEST[i] == REQUEST) & (label == 0))
        if standing[others].sum() > 0:
            pairs = np.log1p(np.exp(score[others] - score[i]))
            costs[i] = weight[i] * (standing[others] * pairs).sum() / standing[others].sum()
    return costs


def softmax(score, label, weight=None, standing=None):
    standing = np.ones_like(score) if standing is None else standing
    weight = label if weight is None else weight
    costs = np.zeros_like(score)
    for i in np.flatnonzero(label):
        page = REQUEST[i] == REQUEST
        costs[i] = weight[i] * (np.log((standing * np.exp(score))[page].sum()) - score[i])
    return costs


FORMULAS = {"ranknet": ranknet, "softmax": softmax}


def costs(kind, score, label, standing=None, **options):
    standing = np.ones(len(score)) if standing is None else standing
    found = ListTerm(kind, **options)(
        torch.tensor(score).float(),
        torch.tensor(label).float(),
        torch.tensor(REQUEST[: len(score)]),
        torch.tensor(standing).float(),
    )
    return found.numpy()


@pytest.mark.parametrize("kind", FORMULAS)
def test_a_positives_cost_is_the_papers(kind):
    score, label = drawn()
    np.testing.assert_allclose(costs(kind, score, label), FORMULAS[kind](score, label), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        costs(kind, score, label, weight=0.3), 0.3 * FORMULAS[kind](score, label), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", FORMULAS)
def test_rows_that_stand_for_more_or_nothing_count_so_among_the_others(kind):
    score, label = drawn()
    standing = np.array([1.0, 2, 0, 1, 3, 1, 2, 0, 1, 1])
    expected = np.where(standing > 0, FORMULAS[kind](score, label, standing=standing), 0.0)
    np.testing.assert_allclose(costs(kind, score, label, standing), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", FORMULAS)
def test_a_click_over_its_propensity_weighs_its_own_cost_only(kind):
    score, label = drawn()
    theta = np.linspace(0.2, 1.0, len(score))
    expected = FORMULAS[kind](score, label, weight=label / theta)
    np.testing.assert_allclose(costs(kind, score, label / theta), expected, rtol=1e-5, atol=1e-6)


def test_by_hand():
    # one request: a positive at 0, negatives at 0 and log 3
    global_request = REQUEST[:3]
    assert (global_request == 5).all()
    score, label = np.array([0.0, 0.0, np.log(3)]), np.array([1.0, 0.0, 0.0])
    assert costs("ranknet", score, label)[0] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert costs("softmax", score, label)[0] == pytest.approx(np.log(5))


def test_requests_without_a_positive_cost_nothing_and_without_a_negative_no_pair():
    assert (costs("softmax", np.zeros(10), np.zeros(10)) == 0).all()
    assert (costs("ranknet", np.zeros(10), np.ones(10)) == 0).all()


@pytest.mark.parametrize("kind", FORMULAS)
def test_the_term_joins_each_tasks_own_as_a_mean_over_all_rows(funnel, kind):
    rng = np.random.default_rng(1)
    labels = drawn_labels(rng, 10, funnel)
    batch = batch_of(funnel, labels, request=REQUEST)
    logits = {name: torch.tensor(rng.normal(size=10)).float() for name in funnel.names}
    output = output_of(logits)
    plain = EntireSpaceBCE(funnel)(batch, output).terms
    found = EntireSpaceBCE(funnel, lists=ListTerm(kind, 0.5), weights={"purchase": 3.0})(batch, output)
    p_click, p_joint = sigmoid(logits["click"]), sigmoid(logits["click"]) * sigmoid(logits["purchase"])
    for task, p, weight in (("click", p_click, 1.0), ("purchase", p_joint, 3.0)):
        term = 0.5 * FORMULAS[kind](np.log(p), labels[task]).mean()
        assert found.terms[task].item() == pytest.approx(weight * (plain[task].item() + term), rel=1e-5)
        assert found.notes[f"list_{task}"].item() == pytest.approx(term, rel=1e-5)
    one = EntireSpaceBCE(funnel, lists=ListTerm(kind, tasks=["click"]))(batch, output).terms
    assert one["purchase"] == plain["purchase"]
    assert one["click"] > plain["click"]


def test_softmax_pulls_a_positive_up_and_all_others_of_its_request_down():
    score = torch.zeros(10, requires_grad=True)
    label = torch.tensor([1.0, *[0.0] * 9])
    ListTerm("softmax")(score, label, torch.tensor(REQUEST), torch.ones(10)).sum().backward()
    np.testing.assert_allclose(score.grad.numpy(), np.where(REQUEST == 5, 0.25, 0.0) - label.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "lambda"}, "objective.lists.kind='lambda' must be one of none, ranknet, softmax"),
        ({"kind": "softmax", "weight": -1.0}, "objective.lists.weight=-1.0 must be >= 0"),
        ({"kind": "softmax", "tasks": ["cart"]}, "objective.lists.tasks='cart' names no binary task"),
    ],
)
def test_options_out_of_range_are_refused(funnel, options, message):
    with pytest.raises(ConfigError, match=message):
        MaskedBCE(funnel, lists=ListTerm(**options))
