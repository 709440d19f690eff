"""Gradients are clipped by hand: by their norm, or each element."""

import pytest
import torch

from funneltune.modules.clipping import clip, gradients


@pytest.mark.parametrize(("algorithm", "left"), [(None, [0.6, -0.8]), ("norm", [0.6, -0.8]), ("value", [1.0, -1.0])])
def test_gradients_are_clipped_as_the_trainer_says(algorithm, left):
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, -4.0])
    parameters, norm = gradients(torch.optim.SGD([weight, torch.nn.Parameter(torch.zeros(1))]))
    assert norm == 5.0
    clip(parameters, norm, None, algorithm)
    assert weight.grad.tolist() == [3.0, -4.0]
    clip(parameters, norm, 1.0, algorithm)
    assert weight.grad.tolist() == pytest.approx(left, rel=1e-5)
