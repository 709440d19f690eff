"""Which scalings a config asks for, and what of it decides a run."""

import pytest
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.runs import check_config, config_hash
from funneltune.runs.identity import as_plain, differences
from funneltune.runs.measuring import wanted_methods


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibration.methods=[beta]"], "calibration.methods: 'beta' is not one of temperature, platt, isotonic"),
        (["calibration.use=beta"], r"calibration.use=beta must be none or one of calibration.methods \(temperature,"),
        (["calibration.methods=[platt]", "calibration.use=isotonic"], r"use=isotonic must be none or .* \(platt\)"),
        (["calibration.methods=[]", "calibration.use=platt"], r"use=platt must be none or .* \(none\)"),
        (["calibration.methd=[platt]"], "methd"),
    ],
)
def test_a_scaling_that_is_none_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        check_config(compose_config(["experiment=quickstart", *words]))


def test_a_scaling_is_no_part_of_what_decides_a_run():
    base, other = (compose_config(["experiment=quickstart", *words]) for words in ([], ["calibration.use=platt"]))
    assert config_hash(base) == config_hash(other)
    older = {key: value for key, value in as_plain(base).items() if key != "calibration"}
    assert differences(older, as_plain(other)) == {}


def test_a_config_from_before_there_were_scalings_asks_for_all_and_one_may_ask_for_none():
    assert wanted_methods(OmegaConf.create({})) == ["temperature", "platt", "isotonic"]
    assert wanted_methods(compose_config(["experiment=quickstart", "calibration.methods=[]"])) == []
