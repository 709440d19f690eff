import copy
import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig

from funneltune.errors import TuningError
from funneltune.modules.replacing import move_state
from funneltune.tuning import AdaLoRA, Frozen, Full, Houlsby, Pfeiffer, PfeifferHub, RankSchedule, orthogonality

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def bert(**changes):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.update(changes)
    return AutoModel.from_config(config, add_pooling_layer=False)


def ids():
    return torch.randint(0, 200, (4, 6), generator=torch.Generator().manual_seed(1))


def small(**changes):
    return AdaLoRA(**({"target_rank": 2, "initial_rank": 4, "warmup_steps": 2, "final_steps": 5} | changes))


def fit(method, model, steps, learning_rate=1e-2, total=None, start=0):
    """Drive a method as the module does: penalty in the loss, after_step behind the optimizer."""
    if start == 0:
        method.begin(total or steps)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    target = torch.linspace(-1, 1, 16)
    for step in range(start, steps):
        loss = (model(ids()).last_hidden_state.mean(1) - target).square().mean() + method.penalty()
        loss.backward()
        optimizer.step()
        if change := method.after_step(step):
            move_state(change, optimizer)
        optimizer.zero_grad()
    return optimizer


@pytest.mark.parametrize(("make", "tolerance"), [(Full, 0.0), (Frozen, 0.0), (small, 0.0), (Houlsby, 1e-3)])
def test_every_method_equals_the_bare_backbone_at_its_start(make, tolerance):
    model = bert().eval()
    with torch.no_grad():
        bare = model(ids()).last_hidden_state
        make().apply(model)
        torch.testing.assert_close(model.eval()(ids()).last_hidden_state, bare, atol=tolerance, rtol=0)


def test_what_is_trained():
    model = bert()
    Full().apply(model)
    assert all(p.requires_grad for p in model.parameters())
    frozen = Frozen()
    frozen.apply(model)
    assert not any(p.requires_grad for p in model.parameters())
    assert frozen.lowest_trained_layer == 2
    assert frozen.parameter_groups() == []


@pytest.mark.parametrize(
    ("shape", "adapters", "norms"),
    [
        ({}, 2_379_264, 38_400),  # BERT-base
        (
            {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
            6_343_680,
            None,
        ),
    ],
)
def test_houlsby_counts_the_papers_parameters(shape, adapters, norms):
    with torch.device("meta"):
        model = AutoModel.from_config(BertConfig(**shape), add_pooling_layer=False)
        method = Houlsby(bottleneck=64)
        method.apply(model)
    assert method.adapter_parameters() == adapters
    if norms is not None:
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == adapters + norms


def test_houlsby_refuses_blocks_it_does_not_know():
    config = AutoConfig.for_model("albert", hidden_size=32, num_attention_heads=2, intermediate_size=64)
    model = AutoModel.from_config(config)
    with pytest.raises(TuningError, match="does not know the blocks of AlbertModel"):
        Houlsby().apply(model)


def test_adalora_ends_exactly_at_its_target_and_pruning_changes_nothing():
    model, method = bert(), small(shrink=False)
    method.apply(model)
    fit(method, model, 30)
    with torch.no_grad():
        before = model(ids()).last_hidden_state
        method.finish()
        after = model(ids()).last_hidden_state
    pattern = method.rank_pattern()
    assert len(pattern) == 12
    assert sum(pattern.values()) == method.target_budget == 24
    assert len(set(pattern.values())) > 1  # ranks were funneltune, not divided
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-5)
    live = sum(p.numel() for n, p in model.named_parameters() if "lora_E" in n)
    assert live == 24


def test_the_budget_never_rises():
    model, method = bert(), small()
    method.apply(model)
    method.begin(30)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    totals = []
    for step in range(30):
        (model(ids()).last_hidden_state.square().mean() + method.penalty()).backward()
        optimizer.step()
        if change := method.after_step(step):
            move_state(change, optimizer)
        optimizer.zero_grad()
        totals.append(sum(method.rank_pattern().values()))
    assert totals == sorted(totals, reverse=True)
    assert (totals[0], totals[-1]) == (48, 24)


def test_our_loop_equals_pefts_own_driven_by_hand():
    from peft import AdaLoraConfig, get_peft_model

    ours, method = bert(), small(orthogonality=0.3, shrink=False)
    torch.manual_seed(5)
    method.apply(ours)
    fit(method, ours, 30)

    class WithLoss(torch.nn.Module):
        """Returns a loss, so that PEFT adds its orthogonality term itself."""

        def __init__(self, model):
            super().__init__()
            self.model, self.config = model, model.config

        def forward(self, input_ids):
            from types import SimpleNamespace

            states = self.model(input_ids).last_hidden_state
            return SimpleNamespace(loss=(states.mean(1) - torch.linspace(-1, 1, 16)).square().mean())

    config = AdaLoraConfig(
        init_r=4,
        target_r=2,
        lora_alpha=16.0,
        tinit=2,
        tfinal=5,
        deltaT=1,
        total_step=30,
        orth_reg_weight=0.3,
        target_modules=r"model\." + method._config.target_modules,
    )
    wrapped = WithLoss(bert())
    torch.manual_seed(5)
    theirs = get_peft_model(wrapped, config)
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2)
    for step in range(30):
        theirs.base_model(ids()).loss.backward()  # PeftModel.forward goes past AdaLoraModel's, and past its term
        optimizer.step()
        theirs.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    mine = {n.replace(".funneltune", ""): p for n, p in ours.named_parameters() if "lora_" in n}
    other = {
        n.split("model.model.model.")[-1].replace(".default", ""): p
        for n, p in theirs.named_parameters()
        if "lora_" in n
    }
    assert mine.keys() == other.keys()
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter, other[name], atol=1e-6, rtol=1e-5)
        if "lora_E" in name:
            assert ((parameter == 0) == (other[name] == 0)).all()


def test_the_penalty_is_zero_for_orthonormal_factors_and_float32_under_autocast():
    q, _ = torch.linalg.qr(torch.randn(8, 3))
    assert orthogonality([q.T]).item() == pytest.approx(0.0, abs=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert orthogonality([q.T]).dtype == torch.float32
        assert orthogonality([q.T]).item() == pytest.approx(0.0, abs=1e-5)
    assert orthogonality([torch.zeros(4, 9)]).item() == pytest.approx(2.0)  # the norm of -I of rank 4


def test_stopping_before_the_last_allocation_is_refused():
    model, method = bert(), small()
    method.apply(model)
    fit(method, model, 10, total=30)
    assert not method.exportable()
    with pytest.raises(TuningError, match="stopped after 10 of 30 steps"):
        method.finish()


def test_a_gradient_that_is_not_finite_is_refused_before_it_poisons_importance():
    model, method = bert(), small()
    method.apply(model)
    fit(method, model, 3, total=30)
    parameter = next(p for n, p in model.named_parameters() if "lora_A" in n)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    parameter.grad[0, 0] = float("nan")
    with pytest.raises(TuningError, match="is not finite at step 3"):
        method.after_step(3)
    assert all(torch.isfinite(v).all() for v in method.state_dict()["exp_avg_ipt"].values())


def test_a_targeted_module_that_nothing_uses_is_named():
    model, method = bert(), small()
    method.apply(model)
    method.begin(30)
    (model(ids()).last_hidden_state.mean() + method.penalty()).backward()
    for name, p in model.named_parameters():
        if "layer.1.output.dense" in name:
            p.grad = None
    with pytest.raises(TuningError, match=r"layer\.1\.output\.dense', which no forward pass uses"):
        method.after_step(0)


def test_averages_go_to_where_the_weights_are():
    model, method = bert(), small()
    method.apply(model)
    fit(method, model, 5, total=30)
    kept = method.state_dict()
    other, after = bert(), small()
    after.apply(other)
    other.to("meta")  # stands in for a GPU: a checkpoint is read to the CPU
    after.begin(30)
    after.load_state_dict(kept)
    allocator = after._peft.rankallocator
    for averages in (allocator.ipt, allocator.exp_avg_ipt, allocator.exp_avg_unc):
        assert averages
        assert {value.device.type for value in averages.values()} == {"meta"}


@pytest.mark.parametrize("stop", [1, 2, 8, 20, 25, 27])
def test_a_resumed_adalora_is_bit_exact(stop):
    def start():
        model, method = bert(), small()
        torch.manual_seed(3)
        method.apply(model)
        return model, method

    whole, method = start()
    fit(method, whole, 30)
    first, before = start()
    optimizer = fit(before, first, stop, total=30)
    saved = copy.deepcopy((first.state_dict(), before.state_dict(), optimizer.state_dict()))
    second, after = start()
    after.make_room(saved[1])
    second.load_state_dict(saved[0])
    after.begin(30)
    after.load_state_dict(saved[1])
    optimizer = torch.optim.AdamW([p for p in second.parameters() if p.requires_grad], lr=1e-2)
    optimizer.load_state_dict(saved[2])
    for step in range(stop, 30):
        loss = (second(ids()).last_hidden_state.mean(1) - torch.linspace(-1, 1, 16)).square().mean() + after.penalty()
        loss.backward()
        optimizer.step()
        if change := after.after_step(step):
            move_state(change, optimizer)
        optimizer.zero_grad()
    for (name, a), b in zip(whole.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert method.rank_pattern() == after.rank_pattern()


@pytest.mark.parametrize("make", [Full, small, lambda: Houlsby(bottleneck=4)])
def test_exported_weights_restore_the_output(make):
    model, method = bert(), make()
    method.apply(model)
    fit(method, model, 30)
    method.finish()
    tensors = {name: t.clone() for name, t in method.export(model).items()}
    json.dumps(method.rank_pattern())
    fresh, other = bert(), make()
    other.apply(fresh)
    other.restore(fresh, tensors)
    with torch.no_grad():
        torch.testing.assert_close(fresh(ids()).last_hidden_state, model(ids()).last_hidden_state, atol=1e-6, rtol=1e-5)
    with pytest.raises(TuningError, match="stored weights do not fit"):
        other.restore(fresh, dict(list(tensors.items())[1:]))


def test_a_matrix_of_rank_zero_survives_export():
    model, method = bert(), small(target_rank=1)
    method.apply(model)
    fit(method, model, 30, learning_rate=3e-2)
    method.finish()
    assert 0 in method.rank_pattern().values()
    fresh, other = bert(), small(target_rank=1)
    other.apply(fresh)
    other.restore(fresh, method.export(model))
    with torch.no_grad():
        torch.testing.assert_close(fresh(ids()).last_hidden_state, model(ids()).last_hidden_state, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_rank": 0}, "target_rank=0 must be >= 1"),
        ({"initial_rank": 2}, "initial_rank=2 must be > target_rank=2"),
        ({"alpha": 0.0}, "tuning.alpha=0.0 is out of range"),
        ({"beta1": 1.0}, "tuning.beta1=1.0 is out of range"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be above 0"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(TuningError, match=message):
        small(**arguments)


def test_an_expression_that_matches_nothing_is_refused():
    with pytest.raises(TuningError, match="fits no module"):
        small(targets="nothing_like_this").apply(bert())


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ((100, -1, 10, 1), "warmup_steps=-1 must be >= 0"),
        ((100, 10, 0, 1), "final_steps=0 must be >= 1"),
        ((100, 60, 40, 1), "final_steps=40 leaves no budget phase"),
        ((100, 10, 10, 81), "interval=81 must be >= 1 and fit"),
    ],
)
def test_a_schedule_whose_parts_do_not_fit_is_refused(schedule, message):
    with pytest.raises(TuningError, match=message):
        RankSchedule(*schedule)


@pytest.mark.parametrize("method", [Houlsby, Pfeiffer, PfeifferHub])
def test_adapters_that_start_at_zero_are_refused_because_nothing_would_train_them(method):
    with pytest.raises(
        TuningError, match=r"init_std=0.0 must be above 0: no gradient reaches matrices that are all zeros"
    ):
        method(init_std=0.0)
