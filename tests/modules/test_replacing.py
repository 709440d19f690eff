"""An optimizer goes on with the parameters that a tuning method put in the place of others."""

import pytest
import torch
from torch import nn

from funneltune.modules.replacing import move_state
from funneltune.tuning import ParameterChange, Replaced


def stepped(make, *parameters):
    """An optimizer of two groups that took one step."""
    optimizer = make([{"params": list(parameters[:2]), "lr": 0.1}, {"params": list(parameters[2:]), "weight_decay": 0}])
    for parameter in parameters:
        parameter.grad = torch.arange(1.0, 1 + parameter.numel()).reshape(parameter.shape)
    optimizer.step()
    return optimizer


def replaced(old, dim, kept):
    new = nn.Parameter(old.detach().index_select(dim, torch.tensor(kept, dtype=torch.int64)))
    return Replaced(old, new, dim, torch.tensor(kept, dtype=torch.int64))


@pytest.mark.parametrize("fused", [False, True])
def test_moments_keep_the_values_of_what_is_kept_and_counts_and_groups_stay(fused):
    wide, tall, other = (nn.Parameter(torch.ones(shape)) for shape in ((2, 3), (3, 2), (2,)))
    optimizer = stepped(
        lambda groups: torch.optim.AdamW(groups, lr=0.5, betas=(0.9, 0.99), fused=fused), wide, tall, other
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    change = ParameterChange((replaced(wide, 1, [2, 0]), replaced(tall, 0, [1])))
    move_state(change, optimizer)
    new_wide, new_tall = (one.new for one in change.replaced)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(new_wide), id(new_tall)]
    assert [id(p) for p in optimizer.param_groups[1]["params"]] == [id(other)]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5]
    assert set(optimizer.state) == {new_wide, new_tall, other}
    # The gradient was 1..6: the first moment is a tenth of it, the second a hundredth of its square.
    torch.testing.assert_close(optimizer.state[new_wide]["exp_avg"], torch.tensor([[0.3, 0.1], [0.6, 0.4]]))
    torch.testing.assert_close(optimizer.state[new_wide]["exp_avg_sq"], torch.tensor([[0.09, 0.01], [0.36, 0.16]]))
    torch.testing.assert_close(optimizer.state[new_tall]["exp_avg"], torch.tensor([[0.3, 0.4]]))
    assert {float(state["step"]) for state in optimizer.state.values()} == {1.0}
    for parameter in (new_wide, new_tall, other):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.25]
    assert float(optimizer.state[new_tall]["step"]) == 2.0


def test_what_is_empty_now_leaves_its_group():
    first, second, other = (nn.Parameter(torch.ones(2, 2)) for _ in range(3))
    optimizer = stepped(lambda groups: torch.optim.AdamW(groups, lr=0.5, fused=True), first, second, other)
    move_state(ParameterChange((replaced(first, 0, []),)), optimizer)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]
    assert set(optimizer.state) == {second, other}
    optimizer.step()


def test_a_parameter_that_took_no_step_yet_has_no_state_to_move():
    old, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([old, other], lr=0.1)
    change = ParameterChange((replaced(old, 0, [1]),))
    move_state(change, optimizer)
    assert optimizer.param_groups[0]["params"][0] is change.replaced[0].new
    assert not optimizer.state
