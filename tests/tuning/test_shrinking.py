"""AdaLoRA that drops pruned ranks while training: the same function, and live ranks on the path that masking gives."""

import json
import warnings

import pytest
import torch

from architectures import build
from funneltune.errors import TuningError
from funneltune.modules.replacing import move_state
from funneltune.tuning import AdaLoRA, orthogonality

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
LAST = 12
"""The step of the last allocation, of 20."""


def bert():
    torch.manual_seed(0)
    return build("bert")


def ids():
    return torch.randint(0, 99, (4, 6), generator=torch.Generator().manual_seed(1))


def begun(**changes):
    arguments = {"target_rank": 2, "initial_rank": 4, "warmup_steps": 2, "final_steps": 8, "orthogonality": 0.0}
    model, method = bert(), AdaLoRA(**(arguments | changes), learning_rate=1e-2)
    method.apply(model)
    method.begin(20)
    groups = [{k: v for k, v in group.items() if k != "name"} for group in method.parameter_groups()]
    return model, method, torch.optim.AdamW(groups, weight_decay=0.01, fused=True)


def step(model, method, optimizer, number):
    target = torch.linspace(-1, 1, 32)
    ((model(ids()).last_hidden_state.mean(1) - target).square().mean() + method.penalty()).backward()
    optimizer.step()
    change = method.after_step(number)
    if change is not None:
        move_state(change, optimizer)
    optimizer.zero_grad()
    return change


def output(model):
    with torch.no_grad():
        return model(ids()).last_hidden_state


def run(**changes):
    made = begun(**changes)
    for number in range(20):
        step(*made, number)
    made[1].finish()
    return made


@pytest.mark.parametrize("target", [2, 1])  # some matrices end at rank 0
def test_live_ranks_go_the_way_that_masking_gives(target):
    model, method, optimizer = run(target_rank=target)
    reference, masked, whole = run(target_rank=target, shrink=False)
    assert method.rank_pattern() == masked.rank_pattern()
    assert 0 in method.rank_pattern().values()
    dropped, kept = method.export(model), masked.export(reference)
    assert dropped.keys() == kept.keys()
    for name, tensor in dropped.items():
        torch.testing.assert_close(tensor, kept[name], atol=1e-6, rtol=1e-5, msg=name)
    torch.testing.assert_close(output(model), output(reference), atol=1e-6, rtol=1e-5)
    sizes = [sum(p.numel() for group in o.param_groups for p in group["params"]) for o in (optimizer, whole)]
    assert sizes[0] < sizes[1]
    assert {float(state["step"]) for state in optimizer.state.values()} == {20.0}


def test_the_drop_itself_changes_no_output_and_happens_once():
    made, masked = begun(), begun(shrink=False)
    seen = [step(*made, number) is not None for number in range(LAST + 1)]
    assert seen == [False] * LAST + [True]
    assert [step(*masked, number) for number in range(LAST + 1)] == [None] * (LAST + 1)
    torch.testing.assert_close(output(made[0]), output(masked[0]), atol=1e-6, rtol=1e-6)
    assert sum(p.numel() for n, p in made[0].named_parameters() if "lora_E" in n) == made[1].target_budget
    assert made[1].exportable()
    assert [step(*made, number) for number in range(LAST + 1, 20)] == [None] * 7


def test_moments_at_the_drop_are_those_of_the_ranks_that_stay():
    made, masked = begun(), begun(shrink=False)
    for number in range(LAST):
        step(*made, number), step(*masked, number)
    step(*masked, LAST)
    change = step(*made, LAST)
    names = {id(p): name for name, p in masked[0].named_parameters()}
    whole = {names[id(p)]: state for p, state in masked[2].state.items()}
    fresh = {id(p): name for name, p in made[0].named_parameters()}
    staying = [one for one in change.replaced if one.new.numel()]
    assert len(staying) < len(change.replaced)
    for one in staying:
        state, reference = made[2].state[one.new], whole[fresh[id(one.new)]]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(state[moment], reference[moment].index_select(one.dim, one.kept))


def test_a_matrix_of_rank_zero_is_its_base_layer_without_a_warning_and_without_a_weight_to_train():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=FutureWarning)
        model, method, _ = run(target_rank=1, orthogonality=0.1)
    empty = [name for name, rank in method.rank_pattern().items() if rank == 0]
    assert empty
    assert torch.isfinite(output(model)).all()
    layer = model.get_submodule(empty[0])
    x = torch.ones(1, layer.in_features)
    assert torch.equal(layer(x), layer.base_layer(x))
    assert not any(name.startswith(empty[0]) for name in method.trained())


def test_the_orthogonality_term_sees_live_ranks_alone():
    made = begun(orthogonality=1.0)
    for number in range(LAST + 1):
        step(*made, number)
    norms = []
    for layer in made[1]._layers().values():
        for factor in (layer.lora_A["funneltune"], layer.lora_B["funneltune"].T):
            norms.append(torch.linalg.norm(factor @ factor.T - torch.eye(len(factor))))
    torch.testing.assert_close(made[1].penalty(), torch.stack(norms).mean())
    assert orthogonality([torch.zeros(0, 5), torch.zeros(4, 9)]).item() == pytest.approx(1.0)


def test_a_missed_target_stops_at_the_last_allocation_before_anything_is_dropped(monkeypatch):
    made = begun()
    for number in range(LAST):
        step(*made, number)
    allocate = made[1]._peft.update_and_allocate

    def one_less(number):
        allocate(number)
        pattern = next(kept for kept in made[1]._config.rank_pattern.values() if any(kept))
        pattern[pattern.index(True)] = False

    monkeypatch.setattr(made[1]._peft, "update_and_allocate", one_less)
    with pytest.raises(TuningError, match="ended with 35 ranks instead of 36"):
        step(*made, LAST)
    assert all(p.shape[0] == 4 for n, p in made[0].named_parameters() if "lora_E" in n)


@pytest.mark.filterwarnings("ignore:The following rank_pattern keys:RuntimeWarning")
def test_pefts_own_loader_reads_what_was_dropped_while_training(tmp_path):
    from peft import PeftModel

    model, method, _ = run()
    method.export_peft(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["rank_pattern"]
    loaded = PeftModel.from_pretrained(bert(), tmp_path)
    torch.testing.assert_close(output(loaded), output(model), atol=1e-6, rtol=1e-5)


def test_room_is_made_only_where_ranks_were_dropped():
    made = begun()
    for number in range(LAST):
        step(*made, number)
    full, method, _ = begun()
    method.make_room(made[1].state_dict())
    assert all(p.shape[0] == 4 for n, p in full.named_parameters() if "lora_E" in n)
    step(*made, LAST)
    method.make_room(made[1].state_dict())
    assert {n: p.shape for n, p in full.named_parameters()} == {n: p.shape for n, p in made[0].named_parameters()}
    assert {n for n, p in full.named_parameters() if p.requires_grad} == set(made[1].trained())
