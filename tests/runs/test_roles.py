"""Each part of a run stands in its place: anything else there is told before it is built."""

import pytest
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.runs import check_config
from funneltune.runs.roles import role_faults


@pytest.fixture(scope="module")
def plain():
    return OmegaConf.to_container(compose_config(["backbone=tiny"]), resolve=True)


def test_a_whole_config_has_no_fault(plain):
    assert list(role_faults(plain)) == []


def test_older_runs_lack_groups_and_have_none(plain):
    older = {k: v for k, v in plain.items() if k not in {"vision", "balancing", "adversary"}} | {"logger": None}
    assert list(role_faults(older)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"head": None}, "head=None must be a mapping with the _target_ of a head"),
        ({"tuning": ["full"]}, "tuning=['full'] must be a mapping with the _target_ of a tuning method"),
        ({"trainer": {"max_epochs": 1}}, "trainer={'max_epochs': 1} must be a mapping with the _target_ of a trainer"),
        ({"data": 3}, "data=3 must be a mapping; choose one, data=CHOICE"),
        ({"metrics": None}, "metrics=None must be a mapping; choose one, metrics=CHOICE"),
        ({"callbacks": [1]}, "callbacks=[1] must be a mapping of names to callbacks"),
        ({"callbacks": {"x": 3}}, "callbacks.x=3 must be a mapping with the _target_ of a callback"),
        ({"logger": {"x": "csv"}}, "logger.x='csv' must be a mapping with the _target_ of a tracker"),
        (
            {"logger": {"x": {"_target_": "lightning.pytorch.loggers.CSVLogger"}}},
            "logger.x._target_=lightning.pytorch.loggers.CSVLogger is no tracker",
        ),
        (
            {"head": {"_target_": "funneltune.features.Features", "_partial_": True}},
            "head._target_=funneltune.features.Features is no head",
        ),
        ({"head": {"_target_": "funneltune.heads.ESMM"}}, "head._partial_=False must be true: a run adds arguments"),
        (
            {"tuning": {"_target_": "funneltune.tuning.Frozen", "_partial_": True}},
            "tuning._partial_=True must be false",
        ),
        (
            {"optimizer": {"_target_": "funneltune.modules.constant", "_partial_": True}},
            "optimizer._target_=funneltune.modules.constant is no optimizer",
        ),
        (
            {"scheduler": {"_target_": "torch.optim.SGD", "_partial_": True}},
            "scheduler._target_=torch.optim.SGD is no schedule",
        ),
    ],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_what_is_no_such_part_is_told(change, told, plain):
    assert list(role_faults(plain | change)) == [told]


@pytest.mark.tried("bad_config", "bad_input")
def test_faults_of_groups_that_are_none_are_told_beside_others():
    cfg = compose_config(["backbone=tiny"])
    cfg.tuning = ["full"]
    cfg.select = "first"
    cfg.data.rows_per_batch = "x"
    with pytest.raises(ConfigError) as told:
        check_config(cfg)
    line = str(told.value)
    assert "tuning=['full'] must be a mapping" in line
    assert "select='first' must be last or best" in line
    assert line.count("data.rows_per_batch='x'") == 1  # of several rules that it breaks the first
