import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from funneltune.callbacks.random_state import RandomState, packed, unpack

CPU = torch.device("cpu")


def draws():
    return (
        torch.rand(3).tolist(),
        random.random(),
        random.gauss(0, 1),
        np.random.standard_normal(3).tolist(),  # noqa: NPY002
        np.random.rand(),  # noqa: NPY002
    )


@pytest.mark.tried("own_random_state", "fault")
def test_all_generators_go_on_as_they_would_have():
    for seed in range(3):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        draws()  # an odd number of normal variates: both hold a second one back
        np.random.standard_normal()  # noqa: NPY002
        state = packed(CPU)
        wanted = draws()
        draws()
        unpack(state, CPU)
        assert draws() == wanted


@pytest.mark.tried("own_random_state", "fault")
def test_each_rank_gets_its_own_state_back():
    strategy = SimpleNamespace(all_gather=lambda t: torch.stack([t, t]))
    trainer = SimpleNamespace(strategy=strategy, world_size=2, global_rank=1)
    module = SimpleNamespace(device=CPU)
    checkpoint = {}
    torch.manual_seed(7)
    RandomState().on_save_checkpoint(trainer, module, checkpoint)
    assert checkpoint["random"].shape[0] == 2
    checkpoint["random"][0] = -1  # the other rank's, which must not be looked at
    wanted = draws()
    callback = RandomState()
    callback.on_load_checkpoint(trainer, module, checkpoint)
    callback.on_train_start(trainer, module)
    assert draws() == wanted
