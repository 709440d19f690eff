"""Rows drawn by their labels: their own distribution, by brute force and by drawing."""

import itertools

import numpy as np
import pytest
import torch

from funneltune.funnel import TaskFunnel
from funneltune.objectives import DCMT, EntireSpaceBCE, ListTerm, MaskedBCE, NaiveBCE
from funneltune.objectives.events import joined, outcomes, resampled
from funneltune.schema import SamplingRates, log_probabilities
from pages import PATHS, batch_of, output_of, sigmoid

TWO_ROOTS = TaskFunnel.from_config({"click": {}, "like": {}, "purchase": {"given": ["click"]}})
FUNNELS = {"paths": PATHS, "two_roots": TWO_ROOTS}


def brute_force(p, funnel, rates, row):
    """p_s(task | edges) and p_s(joint) of one row, from a table of every combination of labels."""
    table = {}
    for labels in itertools.product((0, 1), repeat=len(funnel.names)):
        state = dict(zip(funnel.names, labels, strict=True))
        chance, copies = 1.0, 1.0
        for task in funnel.tasks:
            if not all((state[edge.name] == 1) == edge.holds for edge in funnel.way_to(task.name)):
                chance *= state[task.name] == 0  # outside its space a label is no event
                continue
            chance *= p[task.name][row] if state[task.name] else 1 - p[task.name][row]
            if state[task.name]:
                copies *= rates.positives.get(task.name, 1)
            elif not task.given:
                copies *= rates.negatives.get(task.name, 1.0)
        if chance > 0:
            table[labels] = chance * copies
    whole = sum(table.values())
    conditional, joint = {}, {}
    for number, task in enumerate(funnel.tasks):
        observed = happened = 0.0
        for labels, mass in table.items():
            state = dict(zip(funnel.names, labels, strict=True))
            if all((state[edge.name] == 1) == edge.holds for edge in funnel.way_to(task.name)):
                observed += mass
                happened += mass * labels[number]
        conditional[task.name], joint[task.name] = happened / observed, happened / whole
    return conditional, joint


@pytest.mark.parametrize("name", FUNNELS)
@pytest.mark.parametrize(
    "rates",
    [
        SamplingRates({"click": 0.1}),
        SamplingRates(positives={"purchase": 5}),
        SamplingRates({"click": 0.2}, {"click": 2, "purchase": 3}),
    ],
)
def test_drawn_rows_have_the_distribution_of_brute_force(name, rates):
    funnel = FUNNELS[name]
    output = output_of({task: torch.randn(6) for task in funnel.names})
    found = resampled(log_probabilities(output, funnel), funnel, rates)
    p = {task: sigmoid(logit) for task, logit in output.logits.items()}
    for row in range(6):
        conditional, joint = brute_force(p, funnel, rates, row)
        for task in funnel.names:
            assert found.conditional[task][row].exp().item() == pytest.approx(conditional[task], rel=1e-4)
            assert found.joint[task][row].exp().item() == pytest.approx(joint[task], rel=1e-4)


def test_negatives_alone_shift_the_click_logit_by_minus_log_r_and_nothing_else(funnel):
    logit = torch.tensor([-6.0, -1.0, 0.0, 3.0])
    predicted = log_probabilities(output_of({"click": logit, "purchase": logit.flip(0)}), funnel)
    found = resampled(predicted, funnel, SamplingRates({"click": 0.05}))
    moved = found.conditional["click"] - torch.log(-torch.expm1(found.conditional["click"]))
    torch.testing.assert_close(moved, logit - np.log(0.05), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.conditional["purchase"], predicted.conditional["purchase"], rtol=1e-4, atol=1e-5)


def test_positives_of_a_purchase_shift_its_logit_and_make_clicks_likelier(funnel):
    logit = torch.tensor([-2.0, 0.0, 1.0])
    predicted = log_probabilities(output_of({"click": logit, "purchase": logit}), funnel)
    found = resampled(predicted, funnel, SamplingRates(positives={"purchase": 7}))
    moved = found.conditional["purchase"] - torch.log(-torch.expm1(found.conditional["purchase"]))
    torch.testing.assert_close(moved, logit + np.log(7), rtol=1e-4, atol=1e-4)
    assert (found.conditional["click"] > predicted.conditional["click"]).all()


def test_rates_of_one_change_nothing():
    predicted = log_probabilities(output_of({task: torch.randn(5) for task in PATHS.names}), PATHS)
    found = resampled(predicted, PATHS, SamplingRates({"click": 1.0}, {"purchase": 1}))
    for task in PATHS.names:
        torch.testing.assert_close(found.joint[task], predicted.joint[task], rtol=1e-4, atol=1e-5)


def test_only_combinations_that_respect_the_edges_are_counted():
    # click, cart, purchase, direct: no click; click without cart (direct or not); cart (purchase or not)
    assert len(outcomes(PATHS)) == 5
    assert len(outcomes(TWO_ROOTS)) == 6


def test_joint_probabilities_are_those_of_the_head():
    predicted = log_probabilities(output_of({task: torch.randn(5) for task in PATHS.names}), PATHS)
    for task, log_p in joined(predicted.conditional, PATHS).joint.items():
        torch.testing.assert_close(log_p, predicted.joint[task])


@pytest.mark.parametrize("objective", [MaskedBCE, EntireSpaceBCE])
def test_a_fit_to_drawn_rows_gives_the_probabilities_of_the_log(funnel, objective):
    rng = np.random.default_rng(0)
    n = 60_000
    click = (rng.random(n) < 0.1).astype(float)
    purchase = click * (rng.random(n) < 0.3)
    kept = np.flatnonzero((click == 1) | (rng.random(n) < 0.1))
    drawn = np.concatenate([kept, *[np.flatnonzero(purchase)] * 2])  # three copies of each purchase
    rates = SamplingRates({"click": 0.1}, {"purchase": 3})
    batch = batch_of(funnel, {"click": click[drawn], "purchase": purchase[drawn]}, rates=rates)
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    made = objective(funnel)
    for _ in range(150):
        optimizer.zero_grad()
        output = output_of({"click": logits[0].expand(len(drawn)), "purchase": logits[1].expand(len(drawn))})
        made(batch, output).total().backward()
        optimizer.step()
    assert sigmoid(logits[0].item()) == pytest.approx(click.mean(), rel=0.03)
    assert sigmoid(logits[1].item()) == pytest.approx(0.3, rel=0.05)


def test_only_likelihoods_resample(funnel):
    assert MaskedBCE.resamples
    assert EntireSpaceBCE(funnel, examination="tower").resamples
    assert not NaiveBCE(funnel).resamples
    assert not DCMT(funnel).resamples
    assert not MaskedBCE(funnel, examination="log").resamples
    assert not MaskedBCE(funnel, lists=ListTerm("ranknet")).resamples
