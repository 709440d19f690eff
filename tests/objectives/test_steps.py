"""What holds for every objective: parts add up to the step's loss, rows that are left out weigh nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from funneltune.funnel import TaskFunnel
from funneltune.objectives import DCMT, ESCM2DR, ESCM2IPS, EntireSpaceBCE, ListTerm, MaskedBCE, NaiveBCE, RowLoss
from funneltune.schema import HeadOutput
from pages import CART, PATHS, batch_of, drawn_labels, output_of, part_of

ALL = [MaskedBCE, EntireSpaceBCE, NaiveBCE, ESCM2IPS, ESCM2DR, DCMT]
FIVE = TaskFunnel.from_config(
    {
        "click": {},
        "like": {},
        "cart": {"given": ["click"]},
        "purchase": {"given": ["click", "cart"]},
        "again": {"given": ["purchase"]},
    }
)
OPTIONS = {
    "plain": {},
    "rows": {"rows": RowLoss(focal_gamma=2.0, label_smoothing=0.1, positive_weight={"click": 3.0})},
    "tower": {"examination": "tower"},
    "ranknet": {"lists": ListTerm("ranknet", 0.5)},
    "softmax": {"lists": ListTerm("softmax", 2.0), "examination": "tower"},
}


def case(funnel, n=24, **more):
    rng = np.random.default_rng(7)
    columns = {"propensity": rng.uniform(0.2, 1.0, n), "position": np.tile(np.arange(4.0), n // 4)}
    batch = batch_of(funnel, drawn_labels(rng, n, funnel), columns=columns, **more)
    kinds = ("imputation", "counterfactual", "examination", "delay")
    draw = {name: torch.randn(n) for name in (*funnel.names, *(f"{k}/{t}" for k in kinds for t in funnel.names))}
    return batch, output_of(
        {name: draw[name] for name in funnel.names}, {name: draw[name] for name in draw if "/" in name}
    )


def cut(output, rows):
    return HeadOutput(
        {name: logit[rows] for name, logit in output.logits.items()},
        output.spaces,
        towers={name: logit[rows] for name, logit in output.towers.items()},
    )


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize("funnel", [CART, PATHS, FIVE], ids=["cart", "paths", "five"])
def test_terms_of_micro_batches_add_up_to_the_steps(objective, funnel, option):
    whole, output = case(funnel, weight=torch.rand(24) + 0.5)
    made = objective(funnel, **OPTIONS[option])
    expected = made(whole, output).terms
    assert set(expected) == set(funnel.names)
    parts = [made(part_of(whole, s), cut(output, s)).terms for s in (slice(0, 8), slice(8, 12), slice(12, 24))]
    for task, term in expected.items():
        assert term.shape == ()
        torch.testing.assert_close(sum(part[task] for part in parts), term)


LISTS = [None, ListTerm("ranknet"), ListTerm("softmax")]


@pytest.mark.parametrize("lists", LISTS, ids=["none", "ranknet", "softmax"])
@pytest.mark.parametrize("objective", ALL)
def test_whole_numbers_of_weight_are_copies_of_rows(objective, lists):
    copies = torch.arange(24) % 3 + 1
    whole, output = case(CART, weight=copies.float())
    again = torch.repeat_interleave(torch.arange(24), copies)
    copied = replace(part_of(whole, again), weight=None, step_rows=None, step_observed={}, step_known={})
    made = objective(CART, lists=lists)
    expected = made(copied, cut(output, again)).terms
    for task, term in made(whole, output).terms.items():
        torch.testing.assert_close(term, expected[task])


@pytest.mark.parametrize("lists", LISTS, ids=["none", "ranknet", "softmax"])
@pytest.mark.parametrize("objective", ALL)
def test_rows_whose_label_may_still_come_are_as_good_as_left_out(objective, lists):
    known = (np.arange(24) % 5 > 0).astype(float)
    rng = np.random.default_rng(7)
    labels = drawn_labels(rng, 24, CART)
    rows = np.flatnonzero(known)
    _, output = case(CART)
    whole = batch_of(CART, labels, known={"purchase": known})
    without = batch_of(CART, {name: label[rows] for name, label in labels.items()}, request=whole.request[rows])
    made = objective(CART, lists=lists)
    found = made(whole, output).terms["purchase"]
    torch.testing.assert_close(found, made(without, cut(output, rows)).terms["purchase"])


@pytest.mark.parametrize("objective", ALL)
def test_gradients_are_finite_though_labels_outside_their_space_are_not(objective):
    whole, output = case(PATHS)
    assert whole.labels["purchase"].isnan().any()
    leaves = {name: logit.clone().requires_grad_() for name, logit in output.logits.items()}
    objective(PATHS)(whole, output_of(leaves, output.towers)).total().backward()
    for leaf in leaves.values():
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("objective", ALL)
def test_a_step_without_a_click_has_a_finite_loss(objective):
    nothing = dict.fromkeys(CART.names, np.zeros(8))
    _, output = case(CART)
    terms = objective(CART)(batch_of(CART, nothing), cut(output, slice(0, 8))).terms
    assert all(term.isfinite() for term in terms.values())
