"""Doors that open before the first config is checked: Hydra's own node, its search path, a backbone's package."""

import re

import pytest

from runs.trust_payloads import code, refused


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


HYDRA = {
    "+hydra.callbacks.x={_target_: os.system, command: touch mark}": "hydra.callbacks.x would run code",
    "+hydra.job_logging.handlers={x: {class: os.system}}": "hydra.job_logging.handlers may name any callable",
    "+hydra.hydra_logging.formatters={x: {class: os.system}}": "hydra.hydra_logging.formatters may name any callable",
    "hydra.launcher._target_=os.system": "hydra.launcher._target_='os.system' is no plugin of Hydra",
    "+hydra.launcher.x={_target_: os.system}": "hydra.launcher.x._target_ is refused",
    "+hydra.launcher.y={_target_: os.system}": "hydra.launcher.y._target_ is refused",
    "+hydra.launcher.x=${data}": "hydra.launcher.x is refused",
    "hydra/launcher=submitit_slurm hydra.launcher.setup=[touch mark]": "hydra.launcher.setup would run commands",
    'hydra/launcher=submitit_slurm hydra.launcher.partition="a\ntouch mark"': "'hydra.launcher.partition' holds a line",
    "hydra/launcher=joblib hydra.launcher.n_jobs=0": "hydra.launcher.n_jobs=0 must be a whole number >= 1",
    "hydra/launcher=submitit_local hydra.launcher.cpus_per_task=-1": "hydra.launcher.cpus_per_task=-1 must be a whole",
    "+hydra.job.env_set.PYTHONPATH=/evil": "hydra.job.env_set.PYTHONPATH is refused",
}


@pytest.mark.parametrize(("override", "message"), HYDRA.items(), ids=HYDRA.keys())
@pytest.mark.tried("hydra_target", "payload")
def test_hydras_own_node_runs_nothing_in_a_study(override, message, capsys, tmp_path):
    small = ["tuning=frozen", "debug=tiny", "study.seeds=[0]", "study.baseline=null"]  # should it ever start
    assert message in refused(capsys, tmp_path, ["study", "quickstart", *small, *re.split(" (?=hydra)", override)])


@pytest.mark.parametrize("verb", [["train"], ["study", "quickstart"], ["data", "validate"]])
@pytest.mark.tried("hydra_target", "payload")
def test_a_search_path_imports_no_package(verb, capsys, tmp_path, tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("evil")
    (root / "evil_configs").mkdir()
    (root / "evil_configs" / "__init__.py").write_text(code(tmp_path / "mark"))
    monkeypatch.syspath_prepend(str(root))
    line = refused(capsys, tmp_path, [*verb, "hydra.searchpath=[pkg://evil_configs]"])
    assert "may run code; name a folder with --config-dir DIR" in line


def test_a_joblib_launcher_still_passes():
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from funneltune.cli.compose import opened
    from funneltune.cli.hydra_trust import check_hydra
    from funneltune.cli.launch import QUIET

    asked = ["study=quickstart", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra/sweeper=funneltune", *QUIET]
    with opened():
        check_hydra(GlobalHydra.instance().hydra.compose_config("train", asked, RunMode.MULTIRUN))


@pytest.mark.tried("hydra_target", "payload")
def test_a_dotted_fallback_package_is_not_imported(tmp_path, tmp_path_factory, monkeypatch, capsys):
    root = tmp_path_factory.mktemp("evil")
    (root / "evil_weights").mkdir()
    (root / "evil_weights" / "__init__.py").write_text(code(tmp_path / "mark"))
    monkeypatch.syspath_prepend(str(root))
    for fallback in ("evil_weights.sub:model", "evil_weights:../../x", ":x", "evil_weights:/etc"):
        line = refused(capsys, tmp_path, ["train", "backbone.name=no/where", f"backbone.fallback='{fallback}'"])
        assert "must be PACKAGE:FOLDER" in line
