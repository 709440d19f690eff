"""Tasks that are not binary, from their logits to their loss."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import AITM, ESMM, PLE, STEM, CrossStitch, MMoE, OMoE, SharedBottom, Single
from funneltune.heads.towers import Cutpoints
from funneltune.modules.scales import LabelScales
from funneltune.objectives import EntireSpaceBCE, MaskedBCE
from funneltune.schema import Batch, Texts, level_log_probabilities, predictions

FUNNEL = TaskFunnel.from_config(
    {
        "click": {},
        "stars": {"given": ["click"], "kind": "ordinal", "levels": [1, 2, 3, 4]},
        "need": {"kind": "multiclass", "levels": ["a", "b", "c"]},
        "spend": {"given": ["click"], "kind": "regression"},
    }
)
LABELS = {
    "click": torch.tensor([1.0, 0.0, 1.0, 1.0]),
    "stars": torch.tensor([0.0, 3.0, 1.0, 3.0]),
    "need": torch.tensor([2.0, 0.0, 1.0, 1.0]),
    "spend": torch.tensor([0.5, 9.0, -1.0, 2.0]),
}


def batch():
    empty = torch.zeros(0, dtype=torch.long)
    clicked, always = LABELS["click"], torch.ones(4)
    return Batch(
        texts=Texts(empty, empty, empty),
        text_of_row={},
        labels=LABELS,
        observed={"click": always, "stars": clicked, "need": always, "spend": clicked},
        request=torch.arange(4),
        row=torch.arange(4),
    )


@pytest.mark.parametrize("head", [Single, SharedBottom, ESMM, CrossStitch, OMoE, MMoE, PLE, AITM, STEM])
def test_a_head_gives_what_each_kind_needs_and_starts_undecided(head):
    output = head(5, FUNNEL)(dict.fromkeys((*FUNNEL.names, "shared"), torch.randn(4, 5)))
    assert {name: tuple(logit.shape) for name, logit in output.logits.items()} == {
        "click": (4,),
        "stars": (4, 3),
        "need": (4, 3),
        "spend": (4,),
    }
    found = predictions(output, FUNNEL)
    assert tuple(found) == FUNNEL.predicted
    for task in ("stars", "need"):
        p = torch.stack([found[name].exp() for name in FUNNEL[task].predicted], dim=1)
        torch.testing.assert_close(p.sum(1), torch.ones(4))
        assert (p - 1 / p.shape[1]).abs().max() < 0.2


def test_cutpoints_rise_whatever_is_learnt():
    cuts = Cutpoints(5)
    with torch.no_grad():
        cuts.log_steps.copy_(torch.tensor([-30.0, 2.0, -3.0]))
    logits = cuts(torch.zeros(1, 1))
    assert (logits.diff() <= 0).all()
    np.testing.assert_allclose(torch.sigmoid(Cutpoints(4)(torch.zeros(1, 1))).detach(), [[0.75, 0.5, 0.25]], atol=1e-6)


def test_level_probabilities_are_differences_of_cumulative_ones():
    logits = torch.tensor([[2.0, 0.5, -1.0], [30.0, 29.0, -30.0]], dtype=torch.float32)
    above = torch.sigmoid(logits.double())
    wanted = torch.cat([1 - above[:, :1], above[:, :-1] - above[:, 1:], above[:, -1:]], dim=1)
    found = level_log_probabilities(logits, FUNNEL["stars"]).double().exp()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("objective", [MaskedBCE, EntireSpaceBCE])
def test_each_kind_has_its_own_likelihood_where_it_is_observed(objective):
    torch.manual_seed(0)
    output = Single(5, FUNNEL)(dict.fromkeys(FUNNEL.names, torch.randn(4, 5)))
    terms = objective(FUNNEL)(batch(), output).terms
    clicked = [0, 2, 3]
    p = level_log_probabilities(output.logits["stars"], FUNNEL["stars"])
    torch.testing.assert_close(terms["stars"], -(p[0, 0] + p[2, 1] + p[3, 3]) / 3)
    wanted = torch.nn.functional.cross_entropy(output.logits["need"], LABELS["need"].long())
    torch.testing.assert_close(terms["need"], wanted)
    error = output.logits["spend"][clicked] - LABELS["spend"][clicked]
    torch.testing.assert_close(terms["spend"], (error**2).mean() / 2)


def test_gradients_are_finite_where_a_level_is_all_but_certain():
    logits = torch.tensor([[60.0, -60.0, -61.0]], requires_grad=True)
    level_log_probabilities(logits, FUNNEL["stars"])[0, 0].backward()
    assert torch.isfinite(logits.grad).all()


def test_regression_labels_are_learnt_in_units_of_their_training_spread():
    scales = LabelScales(FUNNEL)
    scales.fit({"spend": np.array([10.0, 20.0, 30.0])})
    standard = scales.standardise(batch()).labels["spend"]
    torch.testing.assert_close(standard, (LABELS["spend"] - 20) / np.std([10, 20, 30]).astype(np.float32))
    back = scales.restore({"mean_spend_given_click": standard, "p_click": standard})
    torch.testing.assert_close(back["mean_spend_given_click"], LABELS["spend"])
    assert back["p_click"] is standard
    scales.fit({"spend": np.full(3, 7.0)})
    assert scales.get_buffer("spread_spend") == 1.0


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"a": {"kind": "count"}}, "kind='count' must be one of binary, ordinal"),
        ({"a": {"kind": "ordinal"}}, "must list the label's values.*lowest first"),
        ({"a": {"kind": "multiclass", "levels": ["x", "x"]}}, "at least two and each once"),
        ({"a": {"levels": [1, 2]}}, "levels is for ordinal and multiclass"),
        ({"a": {"kind": "regression"}, "b": {"given": ["a"]}}, "an edge must be a binary task, 'a' is regression"),
    ],
)
def test_kinds_that_cannot_be_are_refused(tasks, message):
    with pytest.raises(ConfigError, match=message):
        TaskFunnel.from_config(tasks)


def test_a_funnel_of_all_kinds_survives_its_config():
    assert TaskFunnel.from_config(FUNNEL.to_config()) == FUNNEL
    assert "kind" not in FUNNEL.to_config()["click"]  # logs and records of binary funnels stay what they were
