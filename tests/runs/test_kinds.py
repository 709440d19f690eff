"""A word where a number belongs is told before anything is built."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from funneltune.runs.kinds import kind_faults

CONFIGS = Path(__file__).parents[2] / "configs"


def shipped(group, name, *changes):
    node = OmegaConf.merge(OmegaConf.load(CONFIGS / group / f"{name}.yaml"), OmegaConf.from_dotlist(list(changes)))
    return OmegaConf.to_container(node)


@pytest.mark.parametrize("group", ["head", "objective", "balancing", "adversary"])
def test_every_shipped_choice_has_values_of_its_kinds(group):
    for path in (CONFIGS / group).glob("*.yaml"):
        assert list(kind_faults(shipped(group, path.stem), group)) == [], path


@pytest.mark.parametrize(
    ("group", "name", "change", "told"),
    [
        ("objective", "escm2_ips", "clip=abc", "objective.clip='abc' must be a number"),
        ("objective", "escm2_dr", "joint=3", "objective.joint=3 must be true or false"),
        ("objective", "dcmt", "constraint=x", "objective.constraint='x' must be a number"),
        ("objective", "masked_bce", "rows.focal_gamma=x", "objective.rows.focal_gamma='x' must be a number"),
        ("head", "mmoe", "experts=2.5", "head.experts=2.5 must be a whole number"),
        ("head", "ple", "dropout=true", "head.dropout=True must be a number"),
        ("balancing", "gradnorm", "alpha=x", "balancing.alpha='x' must be a number"),
    ],
)
def test_what_is_of_another_kind_is_told_with_its_field(group, name, change, told):
    assert list(kind_faults(shipped(group, name, change), group)) == [told]


def test_targets_that_are_not_ours_are_left_to_others():
    assert list(kind_faults({"_target_": "torch.optim.AdamW", "lr": "x"}, "optimizer")) == []
