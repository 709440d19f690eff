"""A config can name code: what is not on the list is refused in one line, unimported, and nothing is written."""

import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.records import RunRecord
from funneltune.runs import check_config
from funneltune.runs.targets import KEYWORDS, LEFT_OUT, allowed_names, build, target_faults
from runs.trust_payloads import GADGETS, refused

PLACES = {
    "head": ["head._target_={}"],
    "optimizer": ["optimizer._target_={}"],
    "source": ["data.source._target_={}"],
    "below a source": ["++data.source.extra={{deep:[{{_target_:{}}}]}}"],
    "callback": ["+callbacks.mine={{_target_:{}}}"],
    "logger": ["+logger.mine={{_target_:{}}}"],
    "interpolation": ["++data.hidden={}", "head._target_=${{data.hidden}}"],
    "mapping by interpolation": ["++data.hidden={{_target_:{}}}", "+callbacks.mine=${{data.hidden}}"],
    "trainer": ["++trainer.plugins=[{{_target_:{}}}]"],
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUNNELTUNE_TRUST", raising=False)


def quoted(target):
    return "'" + target + "'"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.tried("hydra_target", "payload")
def test_a_gadget_is_refused_in_every_place(place, capsys, tmp_path):
    for verb in (["train"], ["data", "validate"]):
        line = refused(capsys, tmp_path, [*verb, *(w.format(quoted("os.system")) for w in PLACES[place])])
        assert "_target_='os.system' is not allowed" in line
        assert "FUNNELTUNE_TRUST=PACKAGE" in line


@pytest.mark.parametrize("target", GADGETS)
@pytest.mark.tried("hydra_target", "payload")
def test_no_gadget_is_allowed_nor_imported(target, capsys, tmp_path):
    known = set(sys.modules)
    root = target.strip(" .").partition(".")[0]
    line = refused(capsys, tmp_path, ["train", f"head._target_={quoted(target)}"])
    assert f"head._target_={target!r} is not allowed" in line or f"head._target_='{target.strip()}" in line
    if root not in {"funneltune", "torch", "lightning", "hydra"}:
        assert not {name for name in set(sys.modules) - known if name.partition(".")[0] == root}


def test_every_gadget_is_refused_in_every_place_by_the_check():
    faults = {
        (target, place): list(target_faults(node, "config"))
        for target in GADGETS
        for place, node in {
            "itself": {"_target_": target},
            "list": [{"x": [[{"_target_": target}]]}],
            "argument": {"_target_": "funneltune.heads.ESMM", "hidden": {"_target_": target, "_partial_": True}},
        }.items()
    }
    assert len(GADGETS) >= 50
    assert not [where for where, found in faults.items() if len(found) != 1]


@pytest.mark.parametrize("value", [None, 3, True, ["os.system"], {"_target_": "os.system"}, ""])
@pytest.mark.tried("hydra_target", "payload")
def test_a_target_is_a_name(value):
    (fault, *_) = target_faults({"head": {"_target_": value}})
    assert fault.startswith("head._target_=")
    assert "is not allowed" in fault


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_args_": ["touch x"]}, "head._args_ is no key beside a _target_"),
        ({"_mode_": 1}, "head._mode_ is no key beside"),
        ({"_partial_": "yes"}, "head._partial_='yes' must be one of True, False"),
        ({"_partial_": 1}, "head._partial_=1 must be one of"),
        ({"_recursive_": None}, "head._recursive_=None must be one of"),
        ({"_convert_": "pickle"}, "head._convert_='pickle' must be one of none, partial, object, all"),
        ({"hidden": "${oc.env:HOME}"}, "head.hidden='${oc.env:HOME}' would be read as an interpolation again"),
    ],
)
@pytest.mark.tried("hydra_target", "payload")
def test_hydras_own_keys_have_sane_values(node, message):
    faults = list(target_faults({"head": {"_target_": "funneltune.heads.ESMM", **node}}))
    assert len(faults) == 1
    assert message in faults[0]


def test_sane_values_pass():
    for key, values in KEYWORDS.items():
        for value in values:
            assert not list(target_faults({"_target_": "funneltune.heads.ESMM", key: value}))


def test_what_was_checked_is_what_is_built(monkeypatch):
    """An interpolation that reads the clock names a head while it is checked, and a gadget a moment later."""
    told = iter(["funneltune.heads.ESMM", *["os.system"] * 9])
    OmegaConf.register_new_resolver("test_clock", lambda: next(told), replace=True)
    try:
        cfg = compose_config(["head._target_='${test_clock:}'"])
        check_config(cfg)
        assert cfg.head._target_ == "funneltune.heads.ESMM"
        cfg = OmegaConf.create({"x": {"_target_": "${test_clock:}", "command": "exit 1"}})
        with pytest.raises(ConfigError, match=r"x._target_='os.system' is not allowed"):
            build(cfg.x)
    finally:
        OmegaConf.clear_resolver("test_clock")


@pytest.mark.tried("hydra_target", "payload")
def test_an_escaped_interpolation_does_not_come_alive_after_the_check():
    cfg = OmegaConf.create(
        {"x": {"_target_": "funneltune.heads.ESMM", "hidden": "\\${oc.create:{_target_:os.system}}"}}
    )
    with pytest.raises(ConfigError, match="would be read as an interpolation again"):
        build(cfg.x)


def test_the_nearest_name_is_told(capsys, tmp_path):
    assert "(nearest: funneltune.heads.ESMM)" in refused(
        capsys, tmp_path, ["train", "head._target_=funneltune.heads.ESM"]
    )
    assert "(nearest: torch.optim.AdamW)" in refused(capsys, tmp_path, ["train", "optimizer._target_=torch.optim.AdmW"])


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_of_lightning_says_why(name):
    package = "loggers" if name.endswith("Logger") else "callbacks"
    (fault,) = target_faults({"_target_": f"lightning.pytorch.{package}.{name}"})
    assert LEFT_OUT[name] in fault


def test_every_allowed_name_can_be_called_and_none_is_a_module():
    import importlib

    names = allowed_names()
    assert {"funneltune.data.Table", "torch.optim.AdamW", "lightning.pytorch.callbacks.ModelCheckpoint"} <= set(names)
    for name in names:
        package, _, last = name.rpartition(".")
        assert callable(getattr(importlib.import_module(package), last)), name


@pytest.mark.tried("hydra_target", "payload")
def test_a_config_in_a_runs_folder_is_as_untrusted_as_any(tmp_path, capsys):
    cfg = OmegaConf.create(OmegaConf.to_container(compose_config([]), resolve=True))
    cfg.callbacks.mine = {"_target_": "pandas.read_pickle", "filepath_or_buffer": "x"}
    (tmp_path / "run").mkdir()
    OmegaConf.save(cfg, tmp_path / "run" / "config.yaml")
    RunRecord(name="x", status="finished").write(tmp_path / "run" / "record.json")
    for words in (["evaluate", "run=run"], ["predict", "run=run", f"input={__file__}", "output=out.csv"]):
        assert "callbacks.mine._target_='pandas.read_pickle' is not allowed" in refused(capsys, tmp_path, words)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch mark']", "!!python/name:os.system ''"])
@pytest.mark.tried("hydra_target", "payload")
def test_yaml_tags_name_no_code(tag, tmp_path, tmp_path_factory, capsys):
    conf = tmp_path_factory.mktemp("conf")
    (conf / "experiment").mkdir()
    (conf / "experiment" / "mine.yaml").write_text(f"# @package _global_\nname: {tag}\n")
    refused(capsys, tmp_path, ["train", "mine", "--config-dir", str(conf)])


# --- a user's own package ------------------------------------------------------------------------------------------

OWN = """
import os
from os import system
from pathlib import Path
from funneltune.heads import ESMM
class Head(ESMM):
    pass
"""


@pytest.fixture
def own(tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("own")
    (root / "my_shop").mkdir()
    (root / "my_shop" / "__init__.py").write_text("from my_shop import heads\n")
    (root / "my_shop" / "heads.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(root))
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_shop"]:
        del sys.modules[name]


@pytest.mark.tried("hydra_target", "payload")
def test_a_package_that_nobody_vouches_for_is_not_imported(own, tmp_path, capsys):
    line = refused(capsys, tmp_path, ["train", "head._target_=my_shop.heads.Head"])
    assert "set FUNNELTUNE_TRUST=PACKAGE" in line
    assert "my_shop" not in sys.modules


@pytest.mark.parametrize("trust", ["my_shop", "my_shop.heads", "other, my_shop"])
def test_a_package_that_the_environment_vouches_for_is_built(own, trust, monkeypatch):
    monkeypatch.setenv("FUNNELTUNE_TRUST", trust)
    cfg = compose_config(["head._target_=my_shop.heads.Head"])
    check_config(cfg)
    assert build(cfg.head).func.__module__ == "my_shop.heads"


@pytest.mark.parametrize(
    "target",
    [
        *("my_shop.heads.os.system", "my_shop.heads.system", "my_shop.heads.Path", "my_shop.heads.ESMM"),
        *(
            "my_shop.heads",
            "my_shop.os.system",
            "my_shop.heads.Head.__init__",
            "my_shopx.heads.Head",
            "my_shop.nothing",
        ),
    ],
)
@pytest.mark.tried("hydra_target", "payload")
def test_trust_in_a_package_is_no_trust_in_what_it_imports(own, target, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FUNNELTUNE_TRUST", "my_shop")
    assert "is not allowed" in refused(capsys, tmp_path, ["train", f"head._target_={target}"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("os", "'os' is Python's own"),
        ("builtins", "Python's own"),
        ("a b", "no package's dotted name"),
        ("*", "no pack"),
    ],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_trust_that_means_nothing_is_refused(value, message, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FUNNELTUNE_TRUST", value)
    assert message in refused(capsys, tmp_path, ["train", "head._target_=os.system"])


@pytest.mark.tried("hydra_target", "payload")
def test_a_config_cannot_vouch_for_itself(own, tmp_path, capsys):
    line = refused(capsys, tmp_path, ["train", "++data.FUNNELTUNE_TRUST=my_shop", "head._target_=my_shop.heads.Head"])
    assert "is not allowed" in line


@pytest.mark.slow
def test_nothing_outside_the_allowed_packages_is_imported_in_order_to_decide():
    script = (
        "import sys\n"
        "from funneltune.runs.targets import target_faults\n"
        "before = set(sys.modules)\n"
        "assert list(target_faults({'_target_': 'antigravity.fly'})) and list(target_faults({'_target_': 'this.s'}))\n"
        "assert not {'antigravity', 'this', 'webbrowser'} & (set(sys.modules) - before)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_every_shipped_target_is_allowed():
    from funneltune.cli.locate import config_root

    for path in config_root().glob("*/*.yaml"):
        assert not list(target_faults(yaml.safe_load(path.read_text().replace("${", "")) or {})), path
