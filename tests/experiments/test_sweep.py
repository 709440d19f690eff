import json
import os
import sys
from pathlib import Path

import pytest

from funneltune.cli import main
from funneltune.cli.launch import launch
from funneltune.errors import RunError
from funneltune.experiments import CellTask, StudyState
from funneltune.experiments.state import locked

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import fake_runs  # noqa: E402


def test_every_cell_is_trained_once_into_a_folder_named_by_its_overrides(study):
    state, trained = study("study.seeds=[0,1]")
    assert trained == [
        "cells/tuning=frozen/seed=0",
        "cells/tuning=frozen/seed=1",
        "cells/tuning=full/seed=0",
        "cells/tuning=full/seed=1",
    ]
    assert set(fake_runs.statuses(state).values()) == {"finished"}
    for run in state["runs"]:
        assert json.loads((study.folder / run["record"]).read_text())["seed"] == run["seed"]
    assert sorted(path.name for path in study.folder.iterdir()) == ["cells", "study.json", "study.yaml"]


def test_a_cell_gets_the_config_that_its_overrides_compose_and_no_study(study):
    seen = {}

    def train(cfg, run_dir):
        seen[run_dir.parent.name] = (cfg.tuning._target_, cfg.study, cfg.run_dir, cfg.optimizer.lr)
        seen["argv"] = sys.argv[1:]
        return fake_runs.train(cfg, run_dir)

    before = sys.argv
    study("optimizer.lr=0.5", train=train)
    assert seen["tuning=frozen"] == ("funneltune.tuning.Frozen", None, None, 0.5)
    assert seen["tuning=full"] == ("funneltune.tuning.Full", None, None, 0.5)
    assert seen["argv"][0] == "train"  # the record names the command that trains this cell alone
    assert {"study=quickstart", "tuning=full", "seed=0", "optimizer.lr=0.5"} <= set(seen["argv"])
    assert sys.argv is before


@pytest.mark.slow
def test_a_second_call_keeps_what_finished_and_runs_what_is_new(study):
    study()
    assert study()[1] == []
    state, trained = study("study.seeds=[0,1]")
    assert trained == ["cells/tuning=frozen/seed=1", "cells/tuning=full/seed=1"]
    assert len(state["runs"]) == 4
    assert set(fake_runs.statuses(state).values()) == {"finished"}


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_study_json_that_is_lost_is_written_anew_from_the_cells_and_that_is_said(study, content, caplog, capsys):
    before, _ = study()
    caplog.clear()
    (study.folder / "study.json").write_text(content)
    assert main(["report", str(study.folder)]) == 2
    told = capsys.readouterr().err
    assert "give the study's command again, which writes it anew from the records of its cells" in told
    assert study() == (before, [])
    said = f"{study.folder / 'study.json'} cannot be read; it is written anew from the records of its cells."
    assert caplog.messages == [said]


def test_a_killed_cell_starts_again_in_an_empty_folder(study):
    left = study.folder / "cells/tuning=full/seed=0"
    left.mkdir(parents=True)
    (left / "record.json").write_text(json.dumps({"schema_version": 1, "name": "quickstart", "status": "running"}))
    (left / "half").write_text("")
    state, trained = study()
    assert "cells/tuning=full/seed=0" in trained
    assert sorted(path.name for path in left.iterdir()) == ["record.json"]
    assert set(fake_runs.statuses(state).values()) == {"finished"}


def test_a_finished_cell_of_another_config_is_refused_and_the_key_is_named(study):
    study()
    before = (study.folder / "study.json").read_text()
    with pytest.raises(
        RunError, match=r"tuning=frozen/seed=0 has finished with another config \(optimizer.lr was 0.003, is 0.5\)"
    ):
        study("optimizer.lr=0.5")
    assert (study.folder / "study.json").read_text() == before


def test_one_value_on_the_command_line_narrows_its_axis_and_the_seeds(study):
    state, trained = study("tuning=frozen", "seed=5")
    assert trained == ["cells/tuning=frozen/seed=5"]
    assert state["study"]["axes"] == {"tuning": ["frozen"]}


def test_what_only_says_where_and_how_a_run_is_watched_does_not_make_it_another(study):
    study()
    assert study("logger=csv", "study.metric=ctr/auc")[1] == []


@pytest.mark.slow
def test_a_failed_cell_is_written_down_and_does_not_stop_the_others(study, capsys):
    state, trained = study("study.axes.tuning=[frozen,houlsby,full]")
    assert len(trained) == 3
    assert fake_runs.statuses(state) == {
        ("tuning=frozen", 0): "finished",
        ("tuning=houlsby", 0): "failed",
        ("tuning=full", 0): "finished",
    }
    failed = state["runs"][1]
    assert failed["error"] == "data.path=gone.csv is missing; give a file."
    assert failed["record"] is None
    assert study("study.axes.tuning=[frozen,houlsby,full]")[1] == ["cells/tuning=houlsby/seed=0"]


@pytest.mark.slow
def test_a_fault_of_ours_in_a_cell_keeps_its_traceback(study, capsys):
    def train(cfg, run_dir):
        raise ZeroDivisionError("ours")

    state, _ = study(train=train)
    assert state["runs"][0]["error"] == "ZeroDivisionError: ours"
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_stops_the_study_and_the_next_call_goes_on(study):
    def train(cfg, run_dir):
        if run_dir.parent.name == "tuning=full":
            raise KeyboardInterrupt
        return fake_runs.train(cfg, run_dir)

    with pytest.raises(KeyboardInterrupt):
        study(train=train)
    state = StudyState(study.folder).read()
    assert fake_runs.statuses(state) == {("tuning=frozen", 0): "finished", ("tuning=full", 0): "interrupted"}
    assert study()[1] == ["cells/tuning=full/seed=0"]


def test_two_processes_cannot_run_one_study(study):
    (study.folder / "cells").mkdir(parents=True)
    with locked(study.folder / "cells"), pytest.raises(RunError, match="is being run by another process"):
        study()
    assert not (study.folder / "study.json").exists()


def test_progress_says_how_many_are_done_and_who_leads(study, capsys):
    study()
    shown = capsys.readouterr().out
    assert "[1/2] tuning=frozen seed=0" in shown
    assert "2/2 runs" in shown
    assert "best ctcvr/auc 0.7000 (tuning=full)" in " ".join(shown.split())


def test_study_json_is_whole_after_every_cell(study):
    seen = []

    def train(cfg, run_dir):
        seen.append(fake_runs.statuses(json.loads((study.folder / "study.json").read_text())))
        return fake_runs.train(cfg, run_dir)

    study(train=train)
    assert seen == [
        {("tuning=frozen", 0): "running", ("tuning=full", 0): "planned"},
        {("tuning=frozen", 0): "finished", ("tuning=full", 0): "running"},
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "granted"),
    [
        ("joblib", "hydra.launcher.n_jobs=2"),
        pytest.param("submitit_local", "hydra.launcher.cpus_per_task=3", marks=pytest.mark.slow),
    ],
)
def test_other_launchers_run_cells_in_other_processes(tmp_path, monkeypatch, launcher, granted):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    folder = tmp_path / "parallel"
    words = [
        "study=quickstart",
        "study.axes.tuning=[frozen,houlsby,full]",
        f"hydra/launcher={launcher}",
        granted,
    ]
    state = launch(words, folder, task=CellTask(folder, train=fake_runs.train_elsewhere))
    assert list(fake_runs.statuses(state).values()) == ["finished", "failed", "finished"]
    processes = {json.loads((folder / run["record"]).read_text())["command"] for run in state["runs"] if run["record"]}
    assert str(os.getpid()) not in processes


@pytest.mark.slow
def test_the_verb_prints_the_table_where_the_records_lie_and_what_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("funneltune.runs.train", fake_runs.train)
    assert main(["study", "quickstart", "study_dir=here"]) == 1
    shown = capsys.readouterr().out
    assert "CTCVR AUC" in shown
    assert f"records: {tmp_path / 'here' / 'cells'}" in shown
    assert "failed:  tuning=houlsby seed=0: data.path=gone.csv is missing; give a file." in shown
    assert main(["study", "quickstart", "tuning=frozen,full", "study_dir=here"]) == 0
    shown = capsys.readouterr().out
    assert "[1/" not in shown  # nothing was run again, the table is printed all the same
    assert "0.7000" in shown
    assert "failed" not in shown


def test_a_study_lies_below_studies_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("funneltune.runs.train", fake_runs.train)
    assert main(["study", "quickstart", "tuning=frozen"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["studies"]
    assert (tmp_path / "studies/quickstart/cells/tuning=frozen/seed=0/record.json").is_file()


def test_a_cell_takes_the_cores_that_its_launcher_grants(monkeypatch):
    import torch
    from omegaconf import OmegaConf

    from funneltune.experiments import cell

    for granted, threads in ((2, 2), (None, 3)):
        torch.set_num_threads(3)
        config = OmegaConf.create({"launcher": {"cpus_per_task": granted}})
        monkeypatch.setattr(cell.HydraConfig, "get", lambda config=config: config)
        cell._take_own_cores()
        assert torch.get_num_threads() == threads
