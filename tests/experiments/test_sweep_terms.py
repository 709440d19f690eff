"""The terms on which cells of a study meet: rates, sizes, retries, folds, changes."""

import json
import math
import shutil
import sys
from pathlib import Path

import pytest

from funneltune.cli import main
from funneltune.errors import DataError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import fake_runs  # noqa: E402

TUNED = ["study.tune={rates: [0.1, 1, 10], overrides: ['data.train_share=0.5'], metric: validation/ctcvr/auc}"]


def train_by_rate(best):
    """Validation is best where the rate is `best`; trials leave no test metric."""

    def train(cfg, run_dir):
        record = fake_runs.train(cfg, run_dir)
        rate = cfg.tuning.get("learning_rate") or cfg.optimizer.lr
        record.metrics["validation"] = {"ctcvr/auc": {"value": 1 / (1 + abs(math.log(rate / best)))}}
        if not cfg.test:
            del record.metrics["test"]
        record.write(run_dir / "record.json")
        return record

    return train


@pytest.mark.slow
def test_rates_are_tried_for_each_cell_and_its_runs_take_the_best_on_validation(study, capsys):
    seen = {}

    def train(cfg, run_dir):
        seen[run_dir.relative_to(study.folder).as_posix()] = (cfg.test, cfg.data.train_share, cfg.tuning, cfg.optimizer)
        return train_by_rate(1e-3)(cfg, run_dir)

    state, trained = study(*TUNED, "study.seeds=[0,1]", train=train)
    trials = [f"trials/tuning=frozen/optimizer.lr={rate}/seed=0" for rate in ("0.0003", "0.003", "0.03")]
    trials += [f"trials/tuning=full/tuning.learning_rate={rate}/seed=0" for rate in ("1e-05", "0.0001", "0.001")]
    assert trained[:6] == trials
    assert {seen[folder][:2] for folder in trials} == {(False, 0.5)}
    assert {seen[folder][:2] for folder in trained[6:]} == {(True, 1.0)}
    assert {seen[f"cells/tuning=full/seed={seed}"][2].learning_rate for seed in (0, 1)} == {1e-3}
    assert seen["cells/tuning=frozen/seed=0"][3].lr == 3e-3
    full = state["tuned"]["tuning=full"]
    assert (full["key"], full["chosen"], full["at_edge"]) == ("tuning.learning_rate", 1e-3, True)
    assert not state["tuned"]["tuning=frozen"]["at_edge"]
    assert [run["overrides"][-1] for run in state["runs"]][-1] == "tuning.learning_rate=0.001"
    shown = " ".join(capsys.readouterr().out.split())
    assert "[7/10] tuning=frozen seed=0" in shown
    assert "0.001 (edge)" in shown
    assert study(*TUNED, "study.seeds=[0,1]", train=train) == (state, [])


@pytest.mark.slow
def test_a_rate_at_which_a_seed_collapses_is_not_chosen_where_several_are_tried(study):
    """The fastest rate is best for seed 0, and useless for seed 1."""

    def train(cfg, run_dir):
        record = fake_runs.train(cfg, run_dir)
        rate = cfg.tuning.get("learning_rate") or cfg.optimizer.lr
        collapsed = cfg.seed == 1 and rate >= 1e-3
        record.metrics["validation"] = {"ctcvr/auc": {"value": 0.5 if collapsed else 0.8 + 0.01 * math.log10(rate)}}
        record.write(run_dir / "record.json")
        return record

    words = ["study.seeds=[0,1,2]", "tuning=full", "study.baseline=null"]
    state, _ = study(*TUNED, *words, train=train)
    assert state["tuned"]["tuning=full"]["chosen"] == 1e-3
    shutil.rmtree(study.folder)
    state, trained = study(TUNED[0].replace("{rates", "{seeds: 2, rates"), *words, train=train)
    assert len([one for one in trained if one.startswith("trials")]) == 6
    assert state["tuned"]["tuning=full"]["chosen"] == 1e-4
    scores = {one["value"]: one["score"] for one in state["tuned"]["tuning=full"]["tried"]}
    assert scores[1e-3] == pytest.approx((0.77 + 0.5) / 2)


@pytest.mark.slow
def test_the_table_holds_no_trial(study):
    study(*TUNED, train=train_by_rate(1e-3))
    from funneltune.records import read_records

    assert {run.cell for run in read_records(study.folder).runs} == {"tuning=frozen", "tuning=full"}
    assert len(read_records(study.folder).runs) == 2


@pytest.mark.slow
def test_a_cell_without_a_finished_trial_fails_and_the_others_go_on(study):
    def train(cfg, run_dir):
        if not cfg.test and cfg.tuning._target_.endswith("Full"):
            raise DataError("no rows.")
        return train_by_rate(1e-3)(cfg, run_dir)

    state, _ = study(*TUNED, train=train)
    assert fake_runs.statuses(state) == {("tuning=frozen", 0): "finished", ("tuning=full", 0): "failed"}
    assert state["runs"][1]["error"] == "none of its learning-rate trials finished"


def test_matched_sizes_reach_the_runs_and_study_json(study):
    seen = {}

    def train(cfg, run_dir):
        seen[run_dir.parent.name] = cfg.tuning
        return fake_runs.train(cfg, run_dir)

    words = ["study.axes.tuning=[lora,pfeiffer,full]", "study.baseline=null", "study.match=trainable_parameters"]
    state, _ = study(*words, "study.budget=200000", train=train)
    assert seen["tuning=lora"].rank == 22
    assert seen["tuning=lora"].alpha == 44
    assert seen["tuning=pfeiffer"].bottleneck == 43
    assert state["matched"]["tuning=pfeiffer"]["trained"] == 6 * (2 * 384 * 43 + 43 + 384)
    assert state["matched"]["tuning=full"] is None


def failing(times, error):
    """Fails so often before it trains."""
    left = [times]

    def train(cfg, run_dir):
        if cfg.tuning._target_.endswith("Full") and left[0]:
            left[0] -= 1
            raise error
        return fake_runs.train(cfg, run_dir)

    return train


def test_a_run_that_failed_by_no_fault_of_its_config_is_begun_again(study, capsys):
    state, trained = study(train=failing(1, OSError("a node went away")))
    assert trained == ["cells/tuning=frozen/seed=0", "cells/tuning=full/seed=0", "cells/tuning=full/seed=0"]
    assert state["runs"][1]["status"] == "finished"
    assert state["runs"][1]["attempts"] == 2
    assert "tuning=full seed=0 (attempt 2)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_is_given_up_after_its_retries_and_a_mistake_is_not_repeated(study):
    state, trained = study("study.retries=2", train=failing(9, OSError("a node went away")))
    assert trained.count("cells/tuning=full/seed=0") == 3
    assert state["runs"][1] | {"overrides": 0} == {
        "cell": "tuning=full",
        "seed": 0,
        "folder": "cells/tuning=full/seed=0",
        "overrides": 0,
        "status": "failed",
        "record": None,
        "error": "OSError: a node went away",
        "attempts": 3,
        "again": True,
    }
    assert study("study.retries=2", train=failing(9, DataError("gone.")))[1] == ["cells/tuning=full/seed=0"]


def test_folds_are_runs_of_one_cell(study):
    seen = []

    def train(cfg, run_dir):
        seen.append((cfg.data.split.folds, cfg.data.split.fold))
        return fake_runs.train(cfg, run_dir)

    state, trained = study("tuning=full", "study.baseline=null", "study.folds=2", "data.split.by=user", train=train)
    assert trained == ["cells/tuning=full/seed=0,fold=0", "cells/tuning=full/seed=0,fold=1"]
    assert seen == [(2, 0), (2, 1)]
    assert [(run["fold"], run["status"]) for run in state["runs"]] == [(0, "finished"), (1, "finished")]


def test_changed_code_and_a_changed_log_are_told(study, capsys, monkeypatch):
    def train(cfg, run_dir):
        record = fake_runs.train(cfg, run_dir)
        record.git_commit, record.data = "a" * 40, {"fingerprint": "b" * 64}
        record.write(run_dir / "record.json")
        return record

    study(train=train)
    assert "changed" not in capsys.readouterr().err
    monkeypatch.setattr("funneltune.runs.identity.git_commit", lambda: "c" * 40 + "+changes")
    study(train=train)
    told = " ".join(capsys.readouterr().err.split())
    assert "the code has changed: 2 finished runs were made by commit aaaaaaaa, this is cccccccc+changes" in told
    assert "the log has changed: 2 finished runs read bbbbbbbb, it is" in told


def test_wandb_groups_a_studys_runs_and_names_them_after_their_cells():
    from omegaconf import OmegaConf

    from funneltune.experiments.cell import name_in_wandb

    state = {"study": {"name": "peft"}}
    for cell, name, tags in (
        ("cells/tuning=full/seed=0", "tuning=full seed=0", None),
        (
            "trials/tuning=full/tuning.learning_rate=0.1/seed=0",
            "tuning=full tuning.learning_rate=0.1 seed=0",
            ["trial"],
        ),
    ):
        cfg = OmegaConf.create({"logger": {"wandb": {"group": None, "name": None}}})
        name_in_wandb(cfg, state, cell)
        assert cfg.logger.wandb == {"group": "peft", "name": name} | ({"tags": tags} if tags else {})
    own = OmegaConf.create({"logger": {"wandb": {"group": "mine", "name": "this"}}})
    name_in_wandb(own, state, "cells/a/seed=0")
    assert own.logger.wandb == {"group": "mine", "name": "this"}
    name_in_wandb(OmegaConf.create({"logger": None}), state, "cells/a/seed=0")


@pytest.mark.slow
def test_one_label_of_an_axis_of_the_studys_own_narrows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("funneltune.runs.train", fake_runs.train)
    words = ["study", "ablation", "seed=0", "study_dir=here"]
    assert main([*words, "without=nothing,ids", "study.baseline=null"]) == 1  # its method is one that fakes fail on
    cells = {run["cell"] for run in json.loads((tmp_path / "here/study.json").read_text())["runs"]}
    assert cells == {"without=nothing", "without=ids"}
    assert main([*words, "without=text", "study.baseline=null", "study.pairs=all"]) == 0
    assert [run["cell"] for run in json.loads((tmp_path / "here/study.json").read_text())["runs"]] == ["without=text"]
