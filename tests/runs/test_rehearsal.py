"""What is made only after the run's folder is begun is tried before: of what cannot be made nothing is written."""

import pytest

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.runs.rehearsal import rehearse

BASE = ["backbone=tiny", "logger=none", "trainer.precision=32-true"]


def test_a_config_that_can_be_made_passes_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rehearse(compose_config(BASE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optimizer._target_=torch.optim.LBFGS", "optimizer cannot be made as the config says: "),
        ("optimizer.betas=[2,0.9]", "optimizer cannot be made as the config says: Invalid beta parameter"),
        ("scheduler.warmup_share=-1", "scheduler.warmup_share=-1 must lie in"),
        ("trainer.max_epochs=-5", "trainer cannot be made as the config says: "),
        ("trainer.devices=0", "trainer cannot be made as the config says: "),
        ("trainer.accelerator=abacus", "trainer cannot be made as the config says: "),
        ("trainer.strategy=no_such", "trainer cannot be made as the config says: "),
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed needs a GPU"),
        ("callbacks.history.every_n_steps=0", "callbacks.history.every_n_steps=0 must be >= 1"),
        ("callbacks.checkpoint.keep=0", "callbacks.checkpoint.keep=0 must be above 0"),
        ("+logger.csv={_target_:funneltune.callbacks.csv_logger,flush_every_n_steps:0}", "must be >= 1"),
    ],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_what_lightning_and_torch_refuse_names_the_part(override, told):
    with pytest.raises(ConfigError, match=".") as error:
        rehearse(compose_config([*BASE, override]))
    assert told in str(error.value)
