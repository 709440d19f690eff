"""Each unit's gradient is that of its rows by themselves, whatever is tuned; what mixes rows is refused."""

import dataclasses

import pytest
import torch
from torch import nn

from funneltune.errors import TuningError
from funneltune.heads import AITM, ESMM, MMoE, SharedBottom, Single
from funneltune.modules.unit_gradients import UnitGradients
from funneltune.objectives import EntireSpaceBCE, MaskedBCE
from funneltune.tuning import IA3, BitFit, DoRA, Frozen, Full, Houlsby, LoRA, Pfeiffer, PfeifferHub
from modules.private import drawn, private_data, private_module, unit_gradients

TUNINGS = {
    "frozen": Frozen,
    "full": lambda: Full(learning_rate=0.1),
    "top": lambda: Full(learning_rate=0.1, top=1),
    "bitfit": BitFit,
    "lora": lambda: LoRA(rank=2),
    "houlsby": lambda: Houlsby(bottleneck=3, init_std=0.1),
    "pfeiffer": lambda: Pfeiffer(bottleneck=3, init_std=0.1, train_layer_norm=True),
    "pfeiffer_hub": lambda: PfeifferHub(bottleneck=3, init_std=0.1, train_layer_norm=True),
}


def hooked(module, data, batch):
    """The same by the layers' hooks, in one backward pass."""
    module.train()
    module.zero_grad(set_to_none=True)
    watch = UnitGradients(module)
    unit_of_text = torch.empty(len(batch.texts), dtype=torch.long)
    for text in batch.text_of_row.values():
        unit_of_text[text] = batch.unit
    watch.begin(batch.unit, unit_of_text, data.plan().expected_units)
    module.objective(batch, module(batch)).total().backward()
    watch.collect()
    found = {name: p.grad_sample for name, p in module.named_parameters() if p.requires_grad}
    watch.end()
    return found


def start_somewhere(module):
    """LoRA's B and the last layers begin at zero or near it, where half of the gradients vanish."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize("unit", ["impression", "shopper"])
@pytest.mark.parametrize("tuning", TUNINGS)
def test_a_units_gradient_is_that_of_its_rows_by_themselves(tiny_backbone, funnel, make_data, tuning, unit):
    data = private_data(make_data, unit=unit, rows_per_batch=24 if unit == "impression" else 100)
    module = private_module(tiny_backbone, funnel, tuning=TUNINGS[tuning]())
    start_somewhere(module)
    batch = drawn(data)
    found, wanted = hooked(module, data, batch), unit_gradients(module, data, batch)
    assert found.keys() == wanted.keys()
    assert (unit == "shopper") == (int(batch.unit.max()) + 1 < len(batch))
    for name, each in wanted.items():
        torch.testing.assert_close(found[name], each, rtol=1e-3, atol=1e-5 * float(each.abs().max()) + 1e-7, msg=name)
    assert sum(float(each.abs().max()) > 0 for each in wanted.values()) > 0.8 * len(wanted)


@pytest.mark.parametrize(
    ("head", "objective"),
    [
        (ESMM, EntireSpaceBCE),
        (lambda width, funnel: MMoE(width, funnel, experts=3, expert_hidden=[8, 8]), MaskedBCE),
        (AITM, EntireSpaceBCE),
        (Single, MaskedBCE),
    ],
    ids=["esmm", "mmoe", "aitm", "single"],
)
def test_every_heads_gradients_are_found(tiny_backbone, funnel, make_data, head, objective):
    data = private_data(make_data)
    module = private_module(tiny_backbone, funnel, tuning=Frozen(), head=head, objective=objective)
    start_somewhere(module)
    batch = drawn(data)
    found, wanted = hooked(module, data, batch), unit_gradients(module, data, batch)
    for name, each in wanted.items():
        torch.testing.assert_close(found[name], each, rtol=1e-3, atol=1e-5 * float(each.abs().max()) + 1e-7, msg=name)


def test_a_rows_gradient_does_not_depend_on_who_else_is_drawn(tiny_backbone, funnel, make_data):
    data = private_data(make_data)
    module = private_module(tiny_backbone, funnel, tuning=LoRA(rank=2))
    start_somewhere(module)
    batch = drawn(data)
    few = data.collator().rows(batch.row[:7].numpy())
    few = dataclasses.replace(few, unit=torch.arange(7), step_rows=batch.step_rows, step_observed=batch.step_observed)
    whole, part = hooked(module, data, batch), hooked(module, data, few)
    for name, each in part.items():
        torch.testing.assert_close(each, whole[name][:7], rtol=1e-4, atol=1e-6, msg=name)


def test_a_layer_that_is_called_twice_adds_both_calls_up():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return self.layer(x).tanh().sum(1) * self.layer(2 * x).sum(1)

    module, x = Twice(), torch.randn(4, 3)
    watch = UnitGradients(module)
    watch.begin(torch.tensor([0, 1, 1, 2]), torch.zeros(0, dtype=torch.long), 1.0)
    module(x).sum().backward()
    watch.collect()
    found = module.layer.weight.grad_sample
    for unit, rows in enumerate(([0], [1, 2], [3])):
        (wanted,) = torch.autograd.grad(module(x[rows]).sum(), [module.layer.weight])
        torch.testing.assert_close(found[unit], wanted)


def test_what_was_watched_is_let_go(tiny_backbone, funnel, make_data):
    data = private_data(make_data)
    module = private_module(tiny_backbone, funnel, tuning=Frozen(), head=SharedBottom)
    hooked(module, data, drawn(data))
    assert all(p.grad_sample is None for p in module.parameters() if p.requires_grad)
    assert not any(layer._forward_hooks for layer in module.modules())


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize("tuning", [IA3, lambda: DoRA(rank=2)], ids=["ia3", "dora"])
def test_a_parameter_that_is_used_outside_of_its_layer_is_refused_by_name(tiny_backbone, funnel, make_data, tuning):
    data = private_data(make_data)
    module = private_module(tiny_backbone, funnel, tuning=tuning())
    start_somewhere(module)
    with pytest.raises(
        TuningError, match="privacy=dp_sgd: encoder.backbone.* (is used outside of its own|reads 32 entr)"
    ):
        hooked(module, data, drawn(data))


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_that_mixes_rows_is_refused_by_name(frozen):
    mixing = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    mixing[1].requires_grad_(not frozen)
    with pytest.raises(TuningError, match="privacy=dp_sgd: 1 is a BatchNorm1d, which mixes the rows"):
        UnitGradients(mixing)


@pytest.mark.tried("dp_sgd", "bad_input")
def test_a_layer_that_opacus_refuses_is_told_by_name():
    with pytest.raises(TuningError, match=r"privacy=dp_sgd: 0 \(LSTM\)"):
        UnitGradients(nn.Sequential(nn.LSTM(2, 3)))

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("seen", torch.zeros(2))

    with pytest.raises(TuningError, match=r"privacy=dp_sgd: 0 \(Counting\): This layer has buffers"):
        UnitGradients(nn.Sequential(Counting()))


@pytest.mark.tried("dp_sgd", "bad_input")
def test_a_layer_that_reads_something_else_than_rows_is_refused():
    module = nn.Sequential(nn.Linear(3, 2))
    watch = UnitGradients(module)
    watch.begin(torch.arange(4), torch.zeros(0, dtype=torch.long), 1.0)
    with pytest.raises(TuningError, match="privacy=dp_sgd: 0 reads 2 entries where the batch has 4"):
        module(torch.randn(2, 3))
