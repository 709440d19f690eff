import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from funneltune.errors import ConfigError
from funneltune.objectives import EntireSpaceBCE, MaskedBCE
from funneltune.schema import Batch, HeadOutput, Texts


def batch(click, purchase, step_rows=None, step_observed=None):
    n = len(click)
    empty = torch.zeros(0, dtype=torch.long)
    labels = {
        "click": torch.tensor(click, dtype=torch.float32),
        "purchase": torch.tensor(purchase, dtype=torch.float32),
    }
    return Batch(
        texts=Texts(empty, empty, empty),
        text_of_row={},
        labels=labels,
        observed={"click": torch.ones(n), "purchase": labels["click"].clone()},
        request=torch.arange(n),
        row=torch.arange(n),
        step_rows=step_rows,
        step_observed=step_observed or {},
    )


def output(click, purchase):
    return HeadOutput({"click": click, "purchase": purchase}, {"click": "conditional", "purchase": "conditional"})


def test_masked_bce_by_hand(funnel):
    # p(click) = 1/2 on both rows; p(purchase | click) = 3/4 on the one clicked row
    terms = MaskedBCE(funnel)(batch([1, 0], [1, 0]), output(torch.zeros(2), torch.full((2,), math.log(3)))).terms
    assert terms["click"].item() == pytest.approx(math.log(2))
    assert terms["purchase"].item() == pytest.approx(-math.log(0.75))


def test_entire_space_bce_by_hand(funnel):
    terms = EntireSpaceBCE(funnel)(batch([1, 0], [1, 0]), output(torch.zeros(2), torch.full((2,), math.log(3)))).terms
    assert terms["purchase"].item() == pytest.approx(-(math.log(0.375) + math.log(1 - 0.375)) / 2)


def test_both_equal_sklearns_log_loss(funnel):
    rng = np.random.default_rng(0)
    click = (rng.random(200) < 0.4).astype(int)
    purchase = click * (rng.random(200) < 0.5)
    logits = [torch.tensor(rng.normal(size=200), dtype=torch.float32) for _ in range(2)]
    p_click, p_purchase = (torch.sigmoid(logit).double().numpy() for logit in logits)
    masked = MaskedBCE(funnel)(batch(click, purchase), output(*logits)).terms
    entire = EntireSpaceBCE(funnel)(batch(click, purchase), output(*logits)).terms
    assert masked["click"].item() == pytest.approx(log_loss(click, p_click), abs=1e-6)
    assert masked["purchase"].item() == pytest.approx(log_loss(purchase[click == 1], p_purchase[click == 1]), abs=1e-6)
    assert entire["purchase"].item() == pytest.approx(log_loss(purchase, p_click * p_purchase), abs=1e-6)


def test_unclicked_rows_send_no_gradient_into_the_masked_purchase_loss(funnel):
    logit = torch.zeros(3, requires_grad=True)
    MaskedBCE(funnel)(batch([1, 0, 0], [0, 0, 0]), output(torch.zeros(3), logit)).terms["purchase"].backward()
    assert logit.grad[0] != 0
    assert (logit.grad[1:] == 0).all()


def test_the_entire_space_reaches_the_conditional_tower_from_every_row(funnel):
    logit = torch.zeros(3, requires_grad=True)
    EntireSpaceBCE(funnel)(batch([1, 0, 0], [0, 0, 0]), output(torch.zeros(3), logit)).terms["purchase"].backward()
    assert (logit.grad != 0).all()


@pytest.mark.parametrize("objective", [MaskedBCE, EntireSpaceBCE])
def test_terms_of_parts_add_up_to_the_whole_steps(funnel, objective):
    click, purchase = [1, 0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0]
    logits = torch.randn(2, 7)
    whole = objective(funnel)(batch(click, purchase), output(*logits)).terms
    parts = [
        objective(funnel)(
            batch(click[s], purchase[s], step_rows=7.0, step_observed={"click": 7.0, "purchase": 3.0}),
            output(*logits[:, s]),
        ).terms
        for s in (slice(0, 3), slice(3, 7))
    ]
    for task in funnel.names:
        torch.testing.assert_close(whole[task], parts[0][task] + parts[1][task])


def test_a_step_without_a_click_has_a_zero_purchase_loss(funnel):
    terms = MaskedBCE(funnel)(batch([0, 0], [0, 0]), output(torch.zeros(2), torch.zeros(2))).terms
    assert terms["purchase"].item() == 0.0


def test_weights_scale_their_task_and_strangers_are_refused(funnel):
    plain = MaskedBCE(funnel)(batch([1], [1]), output(torch.zeros(1), torch.zeros(1))).terms
    heavy = MaskedBCE(funnel, weights={"purchase": 2.0})(batch([1], [1]), output(torch.zeros(1), torch.zeros(1))).terms
    assert heavy["purchase"] == 2 * plain["purchase"]
    with pytest.raises(ConfigError, match="names no task"):
        MaskedBCE(funnel, weights={"cart": 1.0})
    with pytest.raises(ConfigError, match="must be >= 0"):
        MaskedBCE(funnel, weights={"click": -1.0})
