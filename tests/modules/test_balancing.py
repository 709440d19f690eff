"""Balancings in a module that trains: what a step does to the weights, worked out beside it."""

import logging
from functools import partial

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError, FailedRunError
from funneltune.funnel import TaskFunnel
from funneltune.heads import ESMM, Single
from funneltune.modules import warmup_linear
from funneltune.objectives import DWA, Aggregation, EntireSpaceBCE, Fixed, GradNorm, Uncertainty
from funneltune.tuning import AdaLoRA, Frozen, Full, LoRA
from modules.training import Batches, fit, module_of, put, term_gradients, weights_of

LR = 0.1


@pytest.fixture
def one_step(tiny_backbone, funnel, make_data, tmp_path):
    """Train one optimizer step with a balancing: the module, the moves per unit of rate, and the tasks' gradients."""

    def train(balancing, accumulate=2, **more):
        module = module_of(tiny_backbone, funnel, balancing=balancing, lr=LR, **more)
        watch = Batches()
        trainer = fit(
            module.double(), make_data(accumulate=accumulate), tmp_path, accumulate=accumulate, callbacks=[watch]
        )
        after = weights_of(module)
        gradient = {name: (watch.before[name] - after[name]) / LR for name in after}
        put(module, watch.before)
        return module, gradient, term_gradients(module, watch.seen), trainer

    return train


def conflicting(gradients, shared):
    g = {task: torch.cat([own[name].flatten() for name in shared]).numpy() for task, own in gradients.items()}
    return g["click"], g["purchase"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_of_pcgrad_is_the_papers_over_all_micro_batches(one_step, funnel, accumulate):
    """Gradients that do not conflict would show nothing: the purchase's loss is made to, by weighing it negatively."""
    from funneltune.objectives import MaskedBCE

    class Opposed(MaskedBCE):
        def __call__(self, batch, output):
            terms = super().__call__(batch, output)
            flipped = {name: -term if name == "purchase" else term for name, term in terms.terms.items()}
            return type(terms)(flipped, terms.notes)

    _, moved, gradients, _ = one_step(Aggregation(funnel, "pcgrad"), accumulate, objective=Opposed)
    shared = [name for name in gradients["click"] if name in gradients["purchase"]]
    assert any(name.startswith("encoder.") for name in shared)
    assert any(name.startswith("head.") for name in shared)
    a, b = conflicting(gradients, shared)
    assert a @ b < 0
    expected = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
    found = torch.cat([moved[name].flatten() for name in shared]).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    own = [(task, name) for task, each in gradients.items() for name in each if name not in shared]
    assert {task for task, _ in own} == {"click", "purchase"}  # the towers
    for task, name in own:
        torch.testing.assert_close(moved[name], gradients[task][name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_sum_of_the_gradients_is_what_fixed_weights_do(one_step, funnel, accumulate):
    _, fixed, _, _ = one_step(Fixed(funnel), accumulate, head=ESMM, objective=EntireSpaceBCE)
    _, summed, _, _ = one_step(Aggregation(funnel, "sum"), accumulate, head=ESMM, objective=EntireSpaceBCE)
    for name, gradient in fixed.items():
        torch.testing.assert_close(summed[name], gradient, rtol=1e-6, atol=1e-9)


def test_penalties_are_added_unaggregated(tiny_backbone, funnel, make_data, tmp_path):
    """AdaLoRA's orthogonality term, and the terms that a head adds."""
    from dataclasses import replace

    class Penalised(ESMM):
        def forward(self, inputs):
            output = super().forward(inputs)
            own = output.logits["click"].square() + output.logits["purchase"].square()
            return replace(output, penalties={"size": 0.3 * own})

    moved = []
    for balancing in (Fixed(funnel), Aggregation(funnel, "sum")):
        tuning = AdaLoRA(target_rank=1, initial_rank=3, warmup_steps=1, final_steps=1, learning_rate=LR)
        module = module_of(tiny_backbone, funnel, head=Penalised, tuning=tuning, balancing=balancing, lr=LR).double()
        with torch.no_grad():  # far from orthonormal
            for name, parameter in module.named_parameters():
                if "lora_A" in name or "lora_E" in name:
                    parameter.add_(0.5)
        fit(module, make_data(accumulate=2), tmp_path, steps=3, accumulate=2)
        moved.append(weights_of(module))
    for name, parameter in moved[0].items():
        torch.testing.assert_close(moved[1][name], parameter, rtol=1e-6, atol=1e-9)


def test_what_the_aggregator_leaves_is_what_adalora_reads(tiny_backbone, funnel, make_data, tmp_path):
    small = {"target_rank": 1, "initial_rank": 3, "warmup_steps": 2, "final_steps": 3}
    tuning = AdaLoRA(**small, orthogonality=0.0, learning_rate=LR)
    module = module_of(tiny_backbone, funnel, tuning=tuning, balancing=Aggregation(funnel, "upgrad"))
    read = []
    after = tuning.after_step
    tuning.after_step = lambda step: read.append(next(iter(tuning.trained().values())).grad.clone()) or after(step)
    left = []
    aggregate = module.balancing.aggregate
    module.balancing.aggregate = lambda *given: left.append(aggregate(*given)) or left[-1]
    fit(module, make_data(), tmp_path, steps=10)
    assert sum(tuning.rank_pattern().values()) == tuning.target_budget
    assert len(read) == len(left) == 10
    for vector, gradient in zip(left, read, strict=True):
        torch.testing.assert_close(vector[: gradient.numel()].view_as(gradient), gradient)
    assert len(left[-1]) < len(left[0])  # the pruned ranks were dropped meanwhile


def test_uncertainty_learns_its_variances_in_a_group_of_its_own(one_step, funnel):
    _, _, _, trainer = one_step(Uncertainty(funnel, learning_rate=0.5))
    (group,) = [g for g in trainer.optimizers[0].param_groups if g["name"] == "balancing"]
    assert (group["lr"], group["weight_decay"]) == (0.5, 0)
    assert [len(p) for p in group["params"]] == [2]
    _, _, _, trainer = one_step(Uncertainty(funnel))
    assert trainer.optimizers[0].param_groups[-1]["lr"] == LR


def losses_of(module, batches):
    """Each task's loss over a step."""
    module.train()
    terms = [module.objective(batch, module(batch)).terms for batch in batches]
    return torch.stack([sum(found[task] for found in terms).detach() for task in module.funnel.names])


def test_uncertaintys_step_is_the_formulas_over_all_micro_batches(tiny_backbone, funnel, make_data, tmp_path):
    balancing = Uncertainty(funnel, learning_rate=0.5)
    module = module_of(tiny_backbone, funnel, balancing=balancing).double()
    watch = Batches()
    trainer = fit(module, make_data(accumulate=2), tmp_path, accumulate=2, callbacks=[watch])
    found = balancing.log_variance.detach().clone()
    put(module, watch.before)
    torch.testing.assert_close(found.float(), 0.5 * (losses_of(module, watch.seen) - 0.5))
    assert trainer.callback_metrics["train/weight_click"].item() == 1.0


def test_dwa_is_told_the_losses_of_whole_steps(tiny_backbone, funnel, make_data, tmp_path):
    balancing = DWA(funnel, every=2)
    module = module_of(tiny_backbone, funnel, balancing=balancing).double()
    told = []
    after = balancing.after_step
    balancing.after_step = lambda losses, norms: told.append(losses.clone()) or after(losses, norms)
    watch = Batches()
    fit(module, make_data(accumulate=2), tmp_path, steps=5, accumulate=2, callbacks=[watch])
    assert (len(told), int(balancing.periods), int(balancing.steps)) == (5, 2, 1)
    put(module, watch.before)
    torch.testing.assert_close(told[0], losses_of(module, watch.seen[:2]))
    np.testing.assert_allclose(balancing.last, (told[2] + told[3]) / 2, rtol=1e-6)


CASES = {
    "shared_bottom": ({}, "head.bottom"),
    "the highest layer": ({"head": Single}, "encoder.backbone.encoder.layer.1."),
    "joint losses share the click's tower": ({"head": ESMM, "objective": EntireSpaceBCE}, "head."),
    "lora": ({"head": Single, "tuning": lambda: LoRA(rank=2, learning_rate=0.1)}, "encoder.backbone.encoder.layer.1."),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_of_gradnorm_is_the_papers_on_the_last_shared_weights(one_step, funnel, case):
    options, where = CASES[case]
    options = {key: value() if key == "tuning" else value for key, value in options.items()}
    balancing = GradNorm(funnel)
    module, _, gradients, _ = one_step(balancing, **options)
    names = module.balancer._norm_names
    assert names
    assert all(name.startswith(where) for name in names)
    assert all(name in gradients[task] for name in names for task in funnel.names)
    norms = np.array([np.sqrt(sum(gradients[t][n].square().sum().item() for n in names)) for t in funnel.names])
    slopes = np.sign(norms - norms.mean()) * norms  # the first step: all have progressed alike
    expected = 1 - 0.025 * slopes
    np.testing.assert_allclose(balancing.weights(), expected * 2 / expected.sum(), rtol=1e-5)
    assert not np.allclose(balancing.weights(), 1, atol=1e-5)


def test_the_first_steps_of_fixed_and_gradnorm_are_the_same(one_step, funnel):
    _, fixed, _, _ = one_step(Fixed(funnel))
    _, moved, _, _ = one_step(GradNorm(funnel))
    for name, gradient in fixed.items():
        assert torch.equal(moved[name], gradient), name


def test_gradnorm_needs_weights_that_all_tasks_train(one_step, funnel):
    with pytest.raises(ConfigError, match="balancing=gradnorm compares gradients on weights that all tasks train"):
        one_step(GradNorm(funnel), head=Single, tuning=Frozen())


def test_an_aggregator_without_shared_weights_says_so_once_and_trains_as_fixed(one_step, funnel, caplog):
    _, fixed, _, _ = one_step(Fixed(funnel), head=Single, tuning=Frozen())
    with caplog.at_level(logging.WARNING, logger="funneltune"):
        _, moved, _, _ = one_step(Aggregation(funnel, "mgda"), head=Single, tuning=Frozen())
    assert [r.message for r in caplog.records if "balancing=mgda changes nothing" in r.message]
    for name, gradient in fixed.items():
        torch.testing.assert_close(moved[name], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("make", [lambda f: Aggregation(f, "pcgrad"), Uncertainty, DWA, GradNorm])
def test_one_task_alone_is_not_balanced(tiny_backbone, make):
    alone = TaskFunnel.from_config({"click": {}})
    module = module_of(tiny_backbone, alone, balancing=make(alone))
    assert isinstance(module.balancing, Fixed)
    assert not [name for name in module.state_dict() if name.startswith("balancing")]


@pytest.mark.parametrize("word", ["pcgrad", "cagrad", "upgrad", "aligned_mtl"])
def test_a_gradient_that_is_not_finite_stops_the_run_behind_an_aggregator_too(
    tiny_backbone, funnel, make_data, tmp_path, word
):
    module = module_of(tiny_backbone, funnel, balancing=Aggregation(funnel, word))
    next(module.head.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(FailedRunError, match="step 0 is not finite: the gradient's norm is nan"):
        fit(module, make_data(), tmp_path, steps=2)


def test_a_step_that_is_left_out_teaches_a_balancing_nothing(tiny_backbone, funnel, make_data, tmp_path):
    balancing = GradNorm(funnel)
    module = module_of(tiny_backbone, funnel, balancing=balancing, skip_nonfinite=9)
    spoiled = iter([1.0, float("nan"), 1.0])
    step = module.training_step
    module.training_step = lambda *given: step(*given) * next(spoiled)
    states = []
    end = module.optimizer_step
    module.optimizer_step = lambda *given, **named: (end(*given, **named), states.append(balancing.weights()))
    fit(module, make_data(), tmp_path, steps=3)
    assert module.finite.taken_out == 1
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


def measured(backbone, funnel, data, folder, every, **more):
    module = module_of(backbone, funnel, gradients_every=every, **more)
    seen = []
    end = module.optimizer_step
    module.optimizer_step = lambda *given, **named: (
        end(*given, **named),
        seen.append({name: value.item() for name, value in module.balancer.scalars.items()}),
    )
    fit(module, data, folder, steps=4, accumulate=2)
    return module, seen


def test_measuring_gradients_changes_no_bit_and_agrees_with_the_aggregators_matrix(
    tiny_backbone, funnel, make_data, tmp_path
):
    data = make_data(accumulate=2)
    plain, nothing = measured(tiny_backbone, funnel, data, tmp_path, 0)
    watched, seen = measured(tiny_backbone, funnel, data, tmp_path, 2)
    names = {"gradient/norm[click]", "gradient/norm[purchase]", "gradient/cosine[click,purchase]"}
    assert [set(step) for step in nothing] == [set()] * 4
    assert [set(step) for step in seen] == [set(), names, set(), names]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    _, summed = measured(
        tiny_backbone, funnel, data, tmp_path, 2, balancing=Aggregation(funnel, "sum"), skip_nonfinite=1
    )
    for name in names:
        assert summed[1][name] == pytest.approx(seen[1][name], rel=1e-3)


def test_the_cosine_is_that_of_the_backbones_gradients(tiny_backbone, funnel, make_data, tmp_path):
    module = module_of(tiny_backbone, funnel, gradients_every=1).double()
    watch = Batches()
    fit(module, make_data(accumulate=2), tmp_path, accumulate=2, callbacks=[watch])
    found = {name: value.item() for name, value in module.balancer.scalars.items()}
    put(module, watch.before)
    gradients = term_gradients(module, watch.seen)
    a, b = conflicting(gradients, [name for name in gradients["click"] if name.startswith("encoder.")])
    assert found["gradient/norm[click]"] == pytest.approx(np.linalg.norm(a), rel=1e-6)
    assert found["gradient/cosine[click,purchase]"] == pytest.approx(
        a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6
    )


def test_over_a_frozen_backbone_it_is_that_of_all_shared_weights(tiny_backbone, funnel, make_data, tmp_path):
    _, seen = measured(tiny_backbone, funnel, make_data(accumulate=2), tmp_path, 1, tuning=Frozen())
    assert set(seen[0]) == {
        "gradient/norm[click]",
        "gradient/norm[purchase]",
        "gradient/cosine_shared[click,purchase]",
    }
    _, seen = measured(tiny_backbone, funnel, make_data(accumulate=2), tmp_path, 1, tuning=Frozen(), head=Single)
    assert seen[0] == {}


def test_a_fused_optimizer_and_a_schedule_take_the_balancings_own_group(tiny_backbone, funnel, make_data, tmp_path):
    module = module_of(tiny_backbone, funnel, tuning=Full(learning_rate=1e-3), balancing=Uncertainty(funnel))
    module.make_optimizer = partial(torch.optim.AdamW, lr=1e-2, fused=True)
    module.make_scheduler = warmup_linear
    trainer = fit(module, make_data(), tmp_path, steps=6)
    assert trainer.optimizers[0].param_groups[-1]["name"] == "balancing"
    assert module.balancing.log_variance.abs().min() > 0


def test_ddp_waits_for_gradients_of_the_loss_and_not_for_those_of_an_aggregator(funnel):
    from types import SimpleNamespace

    from torch.nn.parallel import DistributedDataParallel

    from funneltune.modules.balancer import Balancer

    for balancing, waits in ((Aggregation(funnel, "mgda"), False), (GradNorm(funnel), True), (Fixed(funnel), True)):
        wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
        torch.nn.Module.__init__(wrapped)
        wrapped.require_backward_grad_sync = True
        Balancer(balancing).no_sync(SimpleNamespace(model=wrapped))
        assert wrapped.require_backward_grad_sync == waits
