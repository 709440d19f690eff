import pytest

from funneltune.cli.arguments import Arguments, nearest
from funneltune.errors import ConfigError


def test_words_overrides_and_flags_are_told_apart_in_any_order(tmp_path):
    found = Arguments.parse(
        ["quickstart", "seed=3", "--cfg", "job", "+a=1", "~logger.wandb", "--config-dir", str(tmp_path)]
    )
    assert found.words == ("quickstart",)
    assert found.overrides == ("seed=3", "+a=1", "~logger.wandb")
    assert found.show_config
    assert found.config_dir == tmp_path
    assert not found.help


def test_a_flag_takes_its_value_after_an_equals_sign_too(tmp_path):
    assert Arguments.parse(["--cfg=job", f"--config-dir={tmp_path}"]) == Arguments(
        show_config=True, config_dir=tmp_path
    )


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["--confg-dir", "x"], r"--confg-dir is no flag, nearest: --config-dir"),
        (["--multirun"], r"use funneltune study"),
        (["--cfg"], r"--cfg needs a value: --cfg job"),
        (["--cfg", "hydra"], r"write --cfg job"),
        (["--config-dir", "/nowhere/at/all"], r"--config-dir=/nowhere/at/all is not a folder"),
    ],
)
def test_a_wrong_flag_is_refused_with_what_to_write(tokens, message):
    with pytest.raises(ConfigError, match=message):
        Arguments.parse(tokens)


def test_a_second_bare_word_is_refused():
    with pytest.raises(ConfigError, match=r"'adalora' is a second bare word.*tuning=adalora"):
        Arguments(("quickstart", "adalora")).only_word("experiment")


def test_own_keys_keep_equals_signs_in_values_and_fill_defaults():
    found = Arguments(overrides=("run=cells/tuning=full/seed=0",)).keys({"run": "PATH"}, {"split": "test"})
    assert found == {"run": "cells/tuning=full/seed=0", "split": "test"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), r"missing run=PATH input=FILE; add them"),
        (("rn=x",), r"rn=x is no key here, nearest: run; keys: run, input"),
        (("run=a", "run=b"), r"run is given twice \('a', 'b'\)"),
        (("run=", "input=b"), r"missing run=PATH; add it"),
    ],
)
def test_own_keys_are_checked(overrides, message):
    with pytest.raises(ConfigError, match=message):
        Arguments(overrides=overrides).keys({"run": "PATH", "input": "FILE"}, {})


def test_nothing_is_near_a_word_of_another_kind():
    assert nearest("adalor", ["adalora", "full"]) == "adalora"
    assert nearest("xyz", ["adalora", "full"]) is None
