import re

import pytest
import yaml

from funneltune.cli import main


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """What `runs.train` is called with, in place of training."""
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr("funneltune.runs.train", lambda cfg, run_dir: calls.append((cfg, run_dir)))
    monkeypatch.setattr("funneltune.reporting.report", lambda path: calls.append(("report", path)))
    return calls


def test_the_first_bare_word_is_the_experiment_and_overrides_win(trained):
    assert main(["train", "quickstart", "tuning=houlsby", "tuning.bottleneck=16", "seed=3", "run_dir=here"]) == 0
    (cfg, run_dir), (_, reported) = trained
    assert (cfg.name, cfg.seed, cfg.tuning.bottleneck, str(run_dir)) == ("quickstart", 3, 16, "here")
    assert reported == run_dir


def test_without_run_dir_the_run_goes_below_its_name_by_time(trained):
    assert main(["train", "homedepot"]) == 0
    assert re.fullmatch(r"runs/homedepot/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", str(trained[0][1]))


def test_a_study_cell_can_be_trained_alone(trained):
    assert main(["train", "study=quickstart", "tuning=full", "seed=1", "run_dir=here"]) == 0
    cfg, _ = trained[0]
    assert (cfg.name, cfg.study, cfg.seed) == ("quickstart", None, 1)
    assert cfg.tuning._target_ == "funneltune.tuning.Full"


def test_cfg_job_prints_a_config_that_says_everything_and_trains_nothing(trained, capsys):
    assert main(["train", "quickstart", "seed=7", "--cfg", "job"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["seed"], shown["name"]) == (7, "quickstart")
    assert "hydra" not in shown
    assert trained == []


def test_a_users_folder_adds_experiments_that_choose_ours(trained, tmp_path):
    conf = tmp_path / "my conf"
    (conf / "experiment").mkdir(parents=True)
    (conf / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /tuning: full}]\nname: mine\nseed: 11\n"
    )
    assert main(["train", "mine", "--config-dir", str(conf), "run_dir=x"]) == 0
    cfg, _ = trained[0]
    assert (cfg.name, cfg.seed, cfg.tuning._target_) == ("mine", 11, "funneltune.tuning.Full")


def test_hydra_leaves_no_folder_behind(trained, tmp_path):
    assert main(["train", "quickstart", "run_dir=x"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_replays_the_command_line_reports_nothing(trained, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("FUNNELTUNE_RUN_DIR", "elsewhere")
    assert main(["train", "quickstart"]) == 0
    assert [name for name, _ in trained if name == "report"] == []


def test_processes_started_from_outside_must_be_told_one_folder(trained, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("FUNNELTUNE_RUN_DIR", raising=False)
    assert main(["train", "quickstart"]) == 2
    assert "set run_dir=PATH" in capsys.readouterr().err
    assert trained == []
