"""ESCM2 and DCMT against their equations in NumPy, and where their gradients go."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives import DCMT, ESCM2DR, ESCM2IPS, MaskedBCE
from pages import PATHS, batch_of, drawn_labels, entropy, output_of, sigmoid

ALL = [ESCM2IPS, ESCM2DR, DCMT]
CLIP = 0.3


class Case:
    """A funnel's labels, logits and towers, in NumPy (float64) and as tensors."""

    def __init__(self, funnel, n=40, **more):
        rng = np.random.default_rng(5)
        self.funnel, self.n = funnel, n
        self.labels = drawn_labels(rng, n, funnel)
        self.logits = {name: rng.normal(size=n) for name in funnel.names}
        self.p = {name: sigmoid(logit) for name, logit in self.logits.items()}
        kinds = [f"{kind}/{name}" for kind in ("imputation", "counterfactual") for name in funnel.names[1:]]
        self.towers = {name: rng.normal(size=n) for name in kinds}
        self.batch = batch_of(funnel, self.labels, **more)
        self.leaves = {
            name: torch.tensor(values, dtype=torch.float32, requires_grad=True)
            for name, values in (self.logits | self.towers).items()
        }
        self.output = output_of(
            {name: self.leaves[name] for name in funnel.names}, {name: self.leaves[name] for name in kinds}
        )

    def way(self, task):
        found = np.ones(self.n)
        for edge in self.funnel.way_to(task):
            found = found * (self.p[edge.name] if edge.holds else 1 - self.p[edge.name])
        return found

    def observed(self, task):
        return self.batch.observed[task].numpy().astype(float)

    def entire(self, task):
        return entropy(self.way(task) * self.p[task], self.labels[task] * self.observed(task)).mean()

    def errors(self, task):
        return entropy(self.p[task], self.labels[task])


@pytest.fixture(params=["two", "paths"])
def case(request, funnel):
    return Case({"two": funnel, "paths": PATHS}[request.param])


def softplus(x):
    return np.log1p(np.exp(x))


def test_ips_is_the_papers_equation_and_uses_no_batch_size_or_click_count(case):
    found = ESCM2IPS(case.funnel, clip=CLIP, risk_weight=0.7, entire_weight=0.2)(case.batch, case.output).terms
    assert found["click"].item() == pytest.approx(case.errors("click").mean(), rel=1e-5)
    for task in case.funnel.names[1:]:
        weights = case.observed(task) / np.maximum(case.way(task), CLIP)
        expected = 0.7 * (weights * case.errors(task)).mean() + 0.2 * case.entire(task)
        assert found[task].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("imputation", ["error", "label"])
def test_dr_is_the_papers_equation(case, imputation, joint):
    objective = ESCM2DR(case.funnel, clip=CLIP, imputation=imputation, joint=joint)
    found = objective(case.batch, case.output)
    for task in case.funnel.names[1:]:
        weights = case.observed(task) / np.maximum(case.way(task), CLIP)
        tower = case.towers[f"imputation/{task}"]
        imputed = softplus(tower) if imputation == "error" else entropy(case.p[task], sigmoid(tower))
        risk = (imputed + weights * (case.errors(task) - imputed)).mean()
        learning = (weights * (case.errors(task) - imputed) ** 2).mean()
        assert found.notes[f"risk_dr_{task}"].item() == pytest.approx(risk, rel=1e-4)
        assert found.notes[f"risk_imputation_{task}"].item() == pytest.approx(learning, rel=1e-4)
        assert found.terms[task].item() == pytest.approx(risk + learning + case.entire(task), rel=1e-4)


@pytest.mark.parametrize("self_normalised", [False, True])
def test_dcmt_is_the_papers_equation(case, self_normalised):
    objective = DCMT(case.funnel, clip=CLIP, constraint=0.25, self_normalised=self_normalised)
    found = objective(case.batch, case.output).terms
    for task in case.funnel.names[1:]:
        observed, way = case.observed(task), case.way(task)
        other = sigmoid(case.towers[f"counterfactual/{task}"])
        of_clicks = observed / np.maximum(way, CLIP)
        of_others = (1 - observed) / np.maximum(1 - way, CLIP)
        per = (of_clicks.sum(), of_others.sum()) if self_normalised else (case.n, case.n)
        expected = (
            (of_clicks * case.errors(task)).sum() / per[0]
            + (of_others * -np.log(other)).sum() / per[1]
            + 0.25 * np.abs(1 - (case.p[task] + other)).mean()
            + case.entire(task)
        )
        assert found[task].item() == pytest.approx(expected, rel=1e-4)


def gradients(case, objective, task="purchase"):
    for leaf in case.leaves.values():
        leaf.grad = None
    objective(case.batch, case.output).terms[task].backward()
    return {
        name: leaf.grad for name, leaf in case.leaves.items() if leaf.grad is not None and leaf.grad.abs().sum() > 0
    }


@pytest.mark.parametrize("objective", ALL)
def test_the_propensity_gets_no_gradient_from_the_risk(funnel, objective):
    case = Case(funnel)
    assert "click" not in gradients(case, objective(funnel, entire_weight=0.0))
    assert "click" in gradients(case, objective(funnel))  # through the joint event, as in ESMM


@pytest.mark.parametrize("objective", [ESCM2IPS, ESCM2DR])
def test_unclicked_rows_send_no_gradient_into_the_risk_and_the_joint_event_sends_it_from_all(funnel, objective):
    case = Case(funnel)
    unclicked = case.labels["click"] == 0
    alone = gradients(case, objective(funnel, entire_weight=0.0))["purchase"]
    assert (alone[unclicked] == 0).all()
    assert (alone[~unclicked] != 0).all()
    assert (gradients(case, objective(funnel))["purchase"] != 0).all()


def test_labels_imputed_reach_the_cvr_tower_from_unclicked_rows_too(funnel):
    case = Case(funnel)
    assert (gradients(case, ESCM2DR(funnel, imputation="label", joint=False, entire_weight=0.0))["purchase"] != 0).all()


@pytest.mark.parametrize("imputation", ["error", "label"])
def test_the_imputation_tower_learns_from_its_own_term_alone(funnel, imputation):
    case = Case(funnel)
    found = gradients(case, ESCM2DR(funnel, clip=CLIP, imputation=imputation, joint=False))["imputation/purchase"]
    weights = torch.tensor(case.observed("purchase") / np.maximum(case.p["click"], CLIP), dtype=torch.float32)
    tower = case.leaves["imputation/purchase"].detach().clone().requires_grad_()
    p, y = torch.tensor(case.p["purchase"]).float(), torch.tensor(case.labels["purchase"]).float()
    q = torch.sigmoid(tower)
    imputed = torch.nn.functional.softplus(tower) if imputation == "error" else -(q * p.log() + (1 - q) * (1 - p).log())
    error = -(y * p.log() + (1 - y) * (1 - p).log())
    (weights * (error - imputed) ** 2).mean().backward()
    torch.testing.assert_close(found, tower.grad, rtol=1e-4, atol=1e-6)


def test_with_errors_imputed_the_cvr_towers_gradient_is_that_of_ips_and_with_labels_or_joint_it_is_not(funnel):
    case = Case(funnel)
    of_ips = gradients(case, ESCM2IPS(funnel))["purchase"]
    torch.testing.assert_close(gradients(case, ESCM2DR(funnel, joint=False))["purchase"], of_ips)
    for changed in ({"imputation": "label", "joint": False}, {"joint": True}):
        assert not torch.allclose(gradients(case, ESCM2DR(funnel, **changed))["purchase"], of_ips)


def test_a_joint_gradient_is_that_of_the_sum(funnel):
    case = Case(funnel)
    found = gradients(case, ESCM2DR(funnel, clip=CLIP, joint=True, entire_weight=0.0))["imputation/purchase"]
    weights = torch.tensor(case.observed("purchase") / np.maximum(case.p["click"], CLIP))
    tower = torch.tensor(case.towers["imputation/purchase"], requires_grad=True)
    imputed = torch.nn.functional.softplus(tower)
    error = torch.tensor(case.errors("purchase"))
    (imputed + weights * (error - imputed) + weights * (error - imputed) ** 2).mean().backward()
    torch.testing.assert_close(found, tower.grad.float(), rtol=1e-4, atol=1e-6)


def test_the_counterfactual_tower_learns_from_unclicked_rows_and_the_constraint(funnel):
    case = Case(funnel)
    clicked = case.labels["click"] == 1
    without = gradients(case, DCMT(funnel, constraint=0.0))["counterfactual/purchase"]
    assert (without[clicked] == 0).all()
    assert (without[~clicked] < 0).all()  # drawn to 1
    assert (gradients(case, DCMT(funnel))["counterfactual/purchase"] != 0).all()


# --- propensities ----------------------------------------------------------------------------------------------


def test_the_oracles_propensity_is_the_product_along_the_way():
    rng = np.random.default_rng(0)
    columns = {"oracle_p_click": rng.uniform(0.3, 0.9, 40), "oracle_p_cart_given_click": rng.uniform(0.3, 0.9, 40)}
    case = Case(PATHS, columns=columns)
    objective = ESCM2IPS(PATHS, propensity="oracle", entire_weight=0.0, clip=0.0)
    assert objective.needs.columns == ("oracle_p_click", "oracle_p_cart_given_click")
    found = objective(case.batch, case.output)
    ways = {
        "cart": columns["oracle_p_click"],
        "purchase": columns["oracle_p_click"] * columns["oracle_p_cart_given_click"],
        "direct": columns["oracle_p_click"] * (1 - columns["oracle_p_cart_given_click"]),
    }
    for task, way in ways.items():
        expected = (case.observed(task) / way * case.errors(task)).mean()
        assert found.terms[task].item() == pytest.approx(expected, rel=1e-4)
        assert found.notes[f"propensity_mean_{task}"].item() == pytest.approx(way.mean(), rel=1e-5)


def test_a_propensity_of_the_log_is_read_from_its_column(funnel):
    column = np.full(40, 0.25)
    case = Case(funnel, columns={"p_seen": column})
    objective = ESCM2IPS(funnel, propensity="log", propensity_column="p_seen", entire_weight=0.0)
    assert objective.needs.columns == ("p_seen",)
    expected = (case.observed("purchase") / 0.25 * case.errors("purchase")).mean()
    assert objective(case.batch, case.output).terms["purchase"].item() == pytest.approx(expected, rel=1e-5)
    assert ESCM2IPS(PATHS, propensity="log", propensity_column="p_{task}").needs.columns == (
        "p_cart",
        "p_purchase",
        "p_direct",
    )


def test_the_propensity_and_its_weights_are_reported(funnel):
    case = Case(funnel)
    notes = ESCM2IPS(funnel, clip=CLIP)(case.batch, case.output).notes
    seen, way = case.observed("purchase") > 0, case.p["click"]
    weights = seen / np.maximum(way, CLIP)
    assert notes["propensity_mean_purchase"].item() == pytest.approx(way.mean(), rel=1e-5)
    assert notes["weight_clipped_purchase"].item() == pytest.approx((way[seen] < CLIP).mean())
    effective = weights.sum() ** 2 / (weights**2).sum() / seen.sum()
    assert notes["weight_effective_purchase"].item() == pytest.approx(effective, rel=1e-5)
    assert not any(note.requires_grad for note in notes.values())


def test_a_position_tower_is_part_of_the_estimated_propensity(funnel):
    case = Case(funnel)
    seen = torch.linspace(-2, 2, 40)
    output = output_of(case.output.logits, case.output.towers | {"examination/click": seen})
    notes = ESCM2IPS(funnel, examination="tower")(case.batch, output).notes
    assert notes["propensity_mean_purchase"].item() == pytest.approx((sigmoid(seen) * case.p["click"]).mean(), rel=1e-5)
    case = Case(funnel, columns={"propensity": np.linspace(0.2, 1, 40)})
    notes = ESCM2IPS(funnel, examination="log")(case.batch, case.output).notes
    expected = (np.linspace(0.2, 1, 40) * case.p["click"]).mean()
    assert notes["propensity_mean_purchase"].item() == pytest.approx(expected, rel=1e-5)


# --- what is asked for, what is refused ------------------------------------------------------------------------


def test_each_asks_for_its_towers_and_conditional_logits():
    assert ESCM2IPS(PATHS).needs.towers == ()
    assert ESCM2DR(PATHS).needs.towers == ("imputation/cart", "imputation/purchase", "imputation/direct")
    assert DCMT(PATHS).needs.towers == ("counterfactual/cart", "counterfactual/purchase", "counterfactual/direct")
    for objective in ALL:
        assert objective.spaces == {"conditional"}
        assert not objective(PATHS).resamples


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        (ESCM2IPS, {"clip": 1.0}, r"objective.clip=1.0 must lie in \[0, 1\)"),
        (ESCM2IPS, {"risk_weight": -1.0}, "objective.risk_weight=-1.0 must be >= 0"),
        (DCMT, {"entire_weight": float("nan")}, "objective.entire_weight=nan must be >= 0"),
        (DCMT, {"constraint": -0.1}, "objective.constraint=-0.1 must be >= 0"),
        (ESCM2DR, {"imputation": "loss"}, "objective.imputation='loss' must be one of error, label"),
        (ESCM2IPS, {"propensity": "true"}, "objective.propensity='true' must be one of estimated, log, oracle"),
        (ESCM2IPS, {"propensity": "log"}, "propensity_column=None do not go together"),
        (ESCM2IPS, {"propensity_column": "p"}, "propensity=estimated and objective.propensity_column=p do not go"),
        (DCMT, {"delayed": "model"}, "objective=dcmt is none"),
        (ESCM2IPS, {"strength": 2}, "objective.strength is no option of objective=escm2_ips"),
        (MaskedBCE, {"clip": 0.1}, "objective.clip is no option of objective=masked_bce"),
    ],
)
def test_options_out_of_range_are_refused(funnel, objective, options, message):
    with pytest.raises(ConfigError, match=message):
        objective(funnel, **options)


def test_one_column_for_several_ways_is_refused():
    with pytest.raises(ConfigError, match="stands for one way, and the tasks have 3"):
        ESCM2IPS(PATHS, propensity="log", propensity_column="p")


@pytest.mark.parametrize("objective", ALL)
def test_a_funnel_without_edges_is_refused(objective):
    with pytest.raises(ConfigError, match="none of click, like has an edge"):
        objective(TaskFunnel.from_config({"click": {}, "like": {}}))
