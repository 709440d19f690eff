"""A word where a number belongs is told before anything is built."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from funneltune.runs.kinds import kind_faults

CONFIGS = Path(__file__).parents[2] / "configs"


def shipped(group, name, *changes):
    node = OmegaConf.merge(OmegaConf.load(CONFIGS / group / f"{name}.yaml"), OmegaConf.from_dotlist(list(changes)))
    return OmegaConf.to_container(node)


@pytest.mark.parametrize("group", ["head", "objective", "balancing", "adversary", "optimizer", "tuning", "vision"])
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


WEIGHTS = "weights={'click': 'x'} must be a mapping, each value a number, or null"


@pytest.mark.parametrize(
    ("target", "values", "told"),
    [
        ("torch.optim.AdamW", {"lr": "x"}, ["lr='x' must be a number"]),
        ("torch.optim.AdamW", {"betas": [0.9]}, ["betas=[0.9] must be a list of 2, each a number"]),
        ("torch.optim.AdamW", {"betas": [0.9, 0.99], "fused": None}, []),
        ("lightning.Trainer", {"max_epochs": "x"}, ["max_epochs='x' must be a whole number, or null"]),
        (
            "lightning.Trainer",
            {"devices": [0, "x"]},
            ["devices=[0, 'x'] must be a word or a whole number or a list, each a whole number"],
        ),
        ("lightning.Trainer", {"max_epochs": 3, "strategy": "ddp", "limit_val_batches": 0.5, "devices": [0]}, []),
        ("funneltune.backbones.Backbone", {"name": 3}, ["name=3 must be a word"]),
        ("funneltune.backbones.Backbone", {"pooling": "max"}, ["pooling='max' must be one of mean, cls, last"]),
        ("funneltune.heads.PLE", {"hidden": 8}, ["hidden=8 must be a list, each a whole number"]),
        ("funneltune.heads.PLE", {"dropout": float("nan")}, ["dropout=nan must be a number"]),
        ("funneltune.objectives.MaskedBCE", {"weights": {"click": "x"}}, [WEIGHTS]),
        ("funneltune.objectives.MaskedBCE", {"rows": 3}, ["rows=3 must be a mapping with a _target_, or null"]),
        ("funneltune.objectives.MaskedBCE", {"rows": {"_target_": "funneltune.objectives.RowLoss"}}, []),
        ("funneltune.modules.warmup_linear", {"warmup_share": "x"}, ["warmup_share='x' must be a number"]),
        ("somebody.elses.Thing", {"lr": "x"}, []),
    ],
)
def test_annotations_of_every_part_that_a_config_may_name_are_read(target, values, told):
    assert list(kind_faults({"_target_": target, **values}, "x")) == [f"x.{one}" for one in told]
