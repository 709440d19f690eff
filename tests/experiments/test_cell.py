import pytest
from omegaconf import OmegaConf

from funneltune.experiments.cell import needs_own_process


@pytest.mark.parametrize(
    ("trainer", "own"),
    [
        ({"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}, False),
        ({"accelerator": "cpu", "devices": "auto", "strategy": "auto"}, False),
        ({"accelerator": "gpu", "devices": [0], "strategy": "auto"}, False),
        ({"accelerator": "cpu", "devices": 2, "strategy": "ddp"}, True),
        ({"accelerator": "gpu", "devices": 1, "strategy": "ddp"}, True),
        ({"accelerator": "gpu", "devices": [0, 1], "strategy": "auto"}, True),
        ({"accelerator": "gpu", "devices": "auto", "strategy": "auto"}, True),
        ({"accelerator": "cpu", "devices": 1, "num_nodes": 2, "strategy": "auto"}, True),
    ],
)
def test_cells_that_start_further_processes_get_a_command_line_of_their_own(trainer, own):
    assert needs_own_process(OmegaConf.create({"trainer": trainer})) is own
