"""The map of architectures holds for the models that transformers builds."""

import re

import pytest
from torch import nn
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D

from architectures import TINY, build
from funneltune.backbones.families import FAMILIES, PARTS, family_of
from funneltune.errors import ConfigError


@pytest.mark.parametrize("model_type", TINY)
def test_targets_are_every_matrix_of_the_layers_and_nothing_else(model_type):
    model = build(model_type)
    family = family_of(model.config)
    pattern = re.compile(family.targets(model.config))
    matched = {name for name, _ in model.named_modules() if pattern.fullmatch(name)}
    inside = {
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and name.startswith(family.layers + ".")
    }
    assert matched == inside
    assert len(matched) == 3 * len(family.matrices())


@pytest.mark.parametrize("model_type", TINY)
def test_top_layers_and_single_parts_are_picked_alone(model_type):
    config = build(model_type).config
    family = family_of(config)
    pattern = re.compile(family.targets(config, ("query", "value"), top=1))
    layer = f"{family.layers}.2."
    assert all(pattern.fullmatch(layer + name) for name in family.matrices(("query", "value")))
    assert not pattern.fullmatch(layer + family.feed_forward_out[0])
    assert not pattern.fullmatch(f"{family.layers}.1.{family.query[0]}")


@pytest.mark.parametrize("model_type", TINY)
def test_the_ends_of_blocks_are_there(model_type):
    model = build(model_type)
    family = family_of(model.config)
    for end in (family.attention_end, family.feed_forward_end):
        model.get_submodule(f"{family.layers}.0.{end}")


def test_every_family_is_tested():
    assert {t for family in FAMILIES for t in family.model_types} == set(TINY)
    assert len(PARTS) == 6


def test_an_unknown_architecture_is_named():
    with pytest.raises(ConfigError, match="architecture 't5' is not known"):
        family_of(AutoConfig.for_model("t5"))
