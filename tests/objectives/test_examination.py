"""Positions that are not looked at: PAL's tower and weighted clicks, and what both recover from the world."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.heads import SideTowers
from funneltune.marketplace import Mixture, World, simulate
from funneltune.objectives import EntireSpaceBCE, MaskedBCE
from pages import PATHS, batch_of, drawn_labels, entropy, output_of, sigmoid

DECAY = 0.7


def case(funnel, n=40):
    rng = np.random.default_rng(3)
    labels = drawn_labels(rng, n, funnel)
    columns = {"position": np.tile(np.arange(4.0), n // 4), "propensity": rng.uniform(0.02, 1.0, n)}
    logits = {name: torch.tensor(rng.normal(size=n)).float() for name in funnel.names}
    seen = torch.tensor(rng.normal(size=n)).float()
    return batch_of(funnel, labels, columns=columns), output_of(logits, {"examination/click": seen}), labels


def test_a_towers_click_is_seen_times_clicked_if_seen(funnel):
    batch, output, labels = case(funnel)
    p = {name: sigmoid(logit) for name, logit in output.logits.items()}
    seen = sigmoid(output.towers["examination/click"])
    clicked = labels["click"] == 1
    masked = MaskedBCE(funnel, examination="tower")(batch, output).terms
    assert masked["click"].item() == pytest.approx(entropy(seen * p["click"], labels["click"]).mean(), rel=1e-5)
    cvr = entropy(p["purchase"], labels["purchase"])[clicked].mean()
    assert masked["purchase"].item() == pytest.approx(cvr, rel=1e-5)
    entire = EntireSpaceBCE(funnel, examination="tower")(batch, output).terms["purchase"].item()
    assert entire == pytest.approx(entropy(seen * p["click"] * p["purchase"], labels["purchase"]).mean(), rel=1e-5)


def test_a_towers_seen_reaches_the_ways_without_the_event():
    batch, output, _ = case(PATHS)
    objective = EntireSpaceBCE(PATHS, examination="tower")
    p = {name: sigmoid(logit) for name, logit in output.logits.items()}
    found = objective.probabilities(batch, output).joint["direct"].exp().numpy()
    seen = sigmoid(output.towers["examination/click"])
    np.testing.assert_allclose(found, seen * p["click"] * (1 - p["cart"]) * p["direct"], rtol=1e-4)


def test_marginal_logits_are_of_what_happens_if_seen(funnel):
    batch, output, labels = case(funnel)
    marginal = output_of(
        {"click": output.logits["click"], "purchase": output.logits["click"] - 2.0}, output.towers, space="marginal"
    )
    entire = EntireSpaceBCE(funnel, examination="tower")(batch, marginal).terms["purchase"].item()
    joint = sigmoid(output.towers["examination/click"]) * sigmoid(output.logits["click"] - 2.0)
    assert entire == pytest.approx(entropy(joint, labels["purchase"]).mean(), rel=1e-5)


def test_a_weighted_click_counts_one_over_its_propensity_down_to_the_floor(funnel):
    batch, output, labels = case(funnel)
    theta = np.maximum(batch.columns["propensity"].double().numpy(), 0.1)
    p = sigmoid(output.logits["click"])
    objective = MaskedBCE(funnel, examination="log", examination_floor=0.1)
    found = objective(batch, output)
    assert found.terms["click"].item() == pytest.approx(entropy(p, labels["click"] / theta).mean(), rel=1e-5)
    assert found.notes["examination_clipped"] == (batch.columns["propensity"] < 0.1).float().mean()
    plain = MaskedBCE(funnel)(batch, output).terms
    assert found.terms["purchase"] == plain["purchase"]
    joint = p * sigmoid(output.logits["purchase"])
    entire = EntireSpaceBCE(funnel, examination="log", examination_floor=0.1)(batch, output).terms["purchase"].item()
    assert entire == pytest.approx(entropy(joint, labels["purchase"] / theta).mean(), rel=1e-5)


def test_each_kind_asks_for_what_it_reads(funnel):
    assert MaskedBCE(funnel).needs.columns == ()
    tower = MaskedBCE(funnel, examination="tower").needs
    assert (tower.towers, tower.columns) == (("examination/click",), ("position",))
    log = MaskedBCE(funnel, examination="log").needs
    assert (log.towers, log.columns) == ((), ("propensity",))


def test_the_first_position_is_always_seen_and_far_ones_share_the_last_entry():
    side = SideTowers(3, ["examination/click"])
    found = side({"click": torch.randn(4, 3)}, {"position": torch.tensor([0.0, 1.0, 255.0, 4000.0])})
    logit = found["examination/click"]
    assert torch.sigmoid(logit[0]) == 1.0
    assert logit[2] == logit[3]
    logit.sum().backward()
    table = side.towers[0].logit
    assert table.grad[[0, 1, 255]].tolist() == [0.0, 1.0, 2.0]
    assert table.ndim == 1  # no weight decay


# --- on the world ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    made = World(seed=0, items=300, queries=60, shoppers=100, page=5, days=20, ctr=0.3, position_decay=DECAY)
    parts = list(simulate(made, Mixture(), 30_000))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fitted(world, funnel, steps=150, **options):
    """A click model that knows each row's true attraction up to slope and intercept, and its positions' table."""
    attraction = world["oracle_p_click"] / world["propensity"]
    feature = torch.tensor(np.log(attraction / (1 - attraction)), dtype=torch.float32)
    batch = batch_of(
        funnel,
        {"click": world["click"], "purchase": world["purchase"]},
        columns={"position": world["position"], "propensity": world["propensity"]},
    )
    side, line = SideTowers(1, ["examination/click"]), torch.zeros(2, requires_grad=True)
    objective = MaskedBCE(funnel, weights={"purchase": 0.0}, **options)
    optimizer = torch.optim.Adam([line, *side.parameters()], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        towers = side({"click": feature.unsqueeze(1)}, batch.columns)
        logits = {"click": line[0] * feature + line[1], "purchase": torch.zeros_like(feature)}
        objective(batch, output_of(logits, towers)).total().backward()
        optimizer.step()
    places = torch.arange(5.0)
    seen = torch.sigmoid(side({"click": torch.zeros(5, 1)}, {"position": places})["examination/click"]).detach().numpy()
    return torch.sigmoid(line[0] * feature + line[1]).detach().numpy(), attraction, seen


def test_pal_recovers_the_worlds_examination_and_attraction(world, funnel):
    predicted, attraction, seen = fitted(world, funnel, examination="tower")
    np.testing.assert_allclose(seen, (np.arange(5) + 1.0) ** -DECAY, atol=0.04)
    assert predicted.mean() == pytest.approx(attraction.mean(), rel=0.03)


def test_weighted_clicks_recover_the_attraction_and_plain_ones_do_not(world, funnel):
    weighted, attraction, _ = fitted(world, funnel, examination="log")
    plain, _, _ = fitted(world, funnel)
    assert weighted.mean() == pytest.approx(attraction.mean(), rel=0.03)
    assert plain.mean() < 0.8 * attraction.mean()


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examination": "seen"}, "objective.examination='seen' must be one of none, tower, log"),
        ({"examination": "log", "examination_floor": 0.0}, r"objective.examination_floor=0.0 must lie in \(0, 1\]"),
        ({"examination": "log", "delayed": "model"}, "examination=none or tower"),
    ],
)
def test_options_out_of_range_are_refused(funnel, options, message):
    with pytest.raises(ConfigError, match=message):
        MaskedBCE(funnel, **options)


def test_weighted_clicks_refuse_a_task_given_that_there_was_no_click():
    from funneltune.funnel import TaskFunnel

    funnel = TaskFunnel.from_config({"click": {}, "later": {"given": ["!click"]}})
    with pytest.raises(ConfigError, match=r"cannot weigh tasks.later, which is given !click"):
        MaskedBCE(funnel, examination="log")
    MaskedBCE(funnel, examination="tower")
