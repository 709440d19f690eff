"""The trials of a search, trained by a stand-in: which points, how they end, how a search that was cut off goes on."""

import json
import multiprocessing
import os

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf

from funneltune.errors import DataError, RunError
from funneltune.experiments.search import Search
from funneltune.experiments.search_plan import SearchPlan
from funneltune.experiments.search_store import ATTEMPTS, SearchStore, best_trials
from funneltune.records import RunRecord

BASE = {"optimizer": {"lr": 1.0}, "seed": 0}
NODE = {
    "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "top": {"low": 1, "high": 8}, "tuning": ["lora", "ia3"]},
    "metrics": ["validation/ctr/auc"],
    "trials": 9,
}


def compose(overrides):
    config = {"search": None, "study": None, "run_dir": None, "resume": None, "trainer": {"devices": 1}}
    return OmegaConf.create(config | {"set": dict(one.split("=", 1) for one in overrides)})


def quality(cfg):
    """Best at lr=0.01, top=8, with ia3."""
    lr, top = float(cfg.set.lr), int(cfg.set.top)
    return 0.9 - 0.05 * abs(np.log10(lr) + 2) - 0.01 * (8 - top) - 0.1 * (cfg.set.tuning == "lora")


def train(cfg, run_dir, extra_callbacks=()):
    run_dir.mkdir(parents=True, exist_ok=True)
    record = RunRecord(
        name="r",
        status="finished",
        metrics={"validation": {"ctr/auc": {"value": quality(cfg)}}},
        cost={"steps": int(cfg.set.top)},
    )
    record.write(run_dir / "record.json")
    return record


@pytest.fixture
def search(tmp_path):
    """Runs a search: returns (search.json's content, the trials that this call trained)."""

    def run(train=train, base=BASE, **changes):
        trained = []

        def noted(cfg, run_dir, extra_callbacks=()):
            trained.append(int(run_dir.name))
            return train(cfg, run_dir, extra_callbacks)

        plan = SearchPlan.from_config("s", NODE | changes)
        content = Search(plan, run.folder, compose, ("debug=tiny",), noted).run(base)
        return content, trained

    run.folder = tmp_path / "a search, 100% #1"
    return run


def points(content):
    return [trial["params"] for trial in content["trials"]]


def test_each_trial_is_a_run_folder_trained_without_the_test_split(search):
    seen = []

    def watching(cfg, run_dir, extra_callbacks):
        seen.append((cfg.set.test, cfg.set.baselines, cfg.set.debug, cfg.set["data.train_share"], cfg.resume))
        return train(cfg, run_dir)

    content, trained = search(watching, trials=3, overrides=["data.train_share=0.5"])
    assert trained == [0, 1, 2]
    assert set(seen) == {("false", "[]", "tiny", "0.5", "auto")}
    for trial in content["trials"]:
        record = RunRecord.read(search.folder / trial["folder"] / "record.json")
        assert trial["values"] == [record.value("ctr/auc", "validation")]
        assert trial["status"] == "finished"
        assert 1e-4 <= trial["params"]["lr"] <= 1
        assert trial["params"]["top"] in range(1, 9)
    assert json.loads((search.folder / "search.json").read_text()) == content
    values = [trial["values"][0] for trial in content["trials"]]
    assert content["best"] == [values.index(max(values))]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interrupted_search_asks_for_the_points_of_an_uninterrupted_one(search, sampler, tmp_path):
    whole, _ = search(sampler=sampler)
    search.folder = tmp_path / "cut"
    for stop in (0, 3, 7):

        def cut(cfg, run_dir, extra_callbacks, stop=stop):
            if int(run_dir.name) == stop:
                raise KeyboardInterrupt
            return train(cfg, run_dir)

        with pytest.raises(KeyboardInterrupt):
            search(cut, sampler=sampler)
        told = json.loads((search.folder / "search.json").read_text())
        assert told["trials"][stop]["status"] == "interrupted"
    again, trained = search(sampler=sampler)
    assert trained == [7, 8]
    assert points(again) == points(whole)
    assert again["trials"] == whole["trials"]


@pytest.mark.slow
def test_tpe_learns_and_another_seed_asks_for_other_points(search, tmp_path):
    content, _ = search(trials=20)
    values = [trial["values"][0] for trial in content["trials"]]
    assert np.mean(values[14:]) > np.mean(values[:6]) + 0.05
    search.folder = tmp_path / "other"
    assert points(search(trials=3, seed=1)[0]) != points(content)[:3]


@pytest.mark.slow
def test_a_process_killed_while_it_drew_a_setting_leaves_the_same_points(search, tmp_path):
    whole, _ = search(trials=9)
    search.folder = tmp_path / "killed"
    search(trials=7)
    store = SearchStore(search.folder, SearchPlan.from_config("s", NODE | {"trials": 9}))
    study = store.open(BASE)
    with store.next_trial(study) as trial:
        drawn = trial.params
    lost = optuna.trial.TrialState.RUNNING
    assert [t.number for t in study.trials if t.state == lost] == [7]
    assert search(trials=9)[1] == [7, 8]
    assert drawn == whole["trials"][7]["params"]
    # nothing but the trial itself was written: its setting is drawn by the next call
    search.folder = tmp_path / "killed at once"
    search(trials=7)
    SearchStore(search.folder, SearchPlan.from_config("s", NODE)).open(BASE).ask()
    assert points(search(trials=9)[0]) == points(whole)


@pytest.mark.slow
def test_a_trial_that_takes_its_process_with_it_is_given_up_after_its_retries(search):
    search(trials=1)
    store = SearchStore(search.folder, SearchPlan.from_config("s", NODE | {"trials": 2}))
    study = store.open(BASE)
    with store.next_trial(study) as trial:
        trial.set_user_attr(ATTEMPTS, 2)
    content, trained = search(trials=3, retries=1)
    assert trained == [2]
    assert content["trials"][1]["status"] == "failed"
    assert content["trials"][1]["error"] == "its process was killed 2 times (search.retries)"


def test_a_half_made_folder_without_a_record_is_begun_anew(search):
    def cut(cfg, run_dir, extra_callbacks):
        run_dir.mkdir(parents=True)
        (run_dir / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(cut)
    search(trials=1)
    assert sorted(path.name for path in (search.folder / "trials/0").iterdir()) == ["record.json"]


def test_a_failed_trial_is_noted_and_stops_no_other(search, capsys):
    calls = []

    def failing(cfg, run_dir, extra_callbacks):
        calls.append(int(run_dir.name))
        if run_dir.name == "1":
            raise DataError("data.path=gone is missing;\ngive a file.")
        if run_dir.name == "2":
            raise RuntimeError("a wire is loose")
        return train(cfg, run_dir)

    content, _ = search(failing, trials=4)
    assert [trial["status"] for trial in content["trials"]] == ["finished", "failed", "failed", "finished"]
    assert content["trials"][1]["error"] == "data.path=gone is missing; give a file."
    assert content["trials"][2]["error"] == "RuntimeError: a wire is loose"
    # a mistake stays one; a fault of the machine is tried again (retries=2)
    assert calls == [0, 1, 2, 2, 2, 3]
    shown = capsys.readouterr()
    assert "trial 1 failed: data.path=gone is missing; give a file." in shown.out
    assert "Traceback" in shown.err
    assert search(trials=4)[1] == []


def test_an_undefined_objective_fails_its_trial(search):
    def undefined(cfg, run_dir, extra_callbacks):
        record = train(cfg, run_dir)
        record.metrics["validation"]["ctr/auc"]["value"] = None
        return record

    content, _ = search(undefined, trials=1)
    assert content["trials"][0]["error"].startswith("validation/ctr/auc is undefined in this trial's record")
    assert content["best"] == []


def test_a_second_call_goes_on_to_as_many_trials_as_it_asks_for(search):
    first, _ = search(trials=2)
    assert search(trials=2) == (first, [])
    more, trained = search(trials=4)
    assert trained == [2, 3]
    assert points(more)[:2] == points(first)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"space": NODE["space"] | {"top": {"low": 1, "high": 9}}}, r"search.space.top.high was 8, is 9"),
        ({"metrics": ["cost/steps"]}, r"search.metrics was \['validation/ctr/auc'\], is \['cost/steps'\]"),
        ({"seed": 3}, r"search.seed was 0, is 3"),
        ({"overrides": ["a=1"]}, r"search.overrides was \[\], is \['a=1'\]"),
        ({"base": BASE | {"optimizer": {"lr": 2.0}}}, r"optimizer.lr was 1.0, is 2.0"),
    ],
)
def test_another_search_in_the_same_folder_is_refused_with_what_differs(search, changes, differs):
    search(trials=1)
    with pytest.raises(RunError, match=rf"holds another search \({differs}\).*Choose another search_dir"):
        search(trials=2, **changes)
    search(trials=2, base=BASE | {"run_dir": "elsewhere", "logger": {"csv": {}}})  # where, not what


@pytest.mark.parametrize("broken", ["search.db", "search.yaml"])
def test_a_broken_folder_is_told_in_one_line(search, broken):
    search(trials=1)
    (search.folder / broken).write_text("[" * 5000)
    with pytest.raises(RunError, match=rf"{broken} cannot be (used|read).*choose another search_dir") as told:
        search(trials=1)
    assert "\n" not in str(told.value)


def test_trials_without_their_database_are_not_begun_anew(search):
    search(trials=1)
    (search.folder / "search.db").unlink()
    with pytest.raises(RunError, match=r"search\.db is missing, although trials/ holds trials; restore it"):
        search(trials=1)
    assert (search.folder / "trials" / "0").is_dir()


def test_two_processes_share_the_trials_of_one_search(tmp_path):
    folder = tmp_path / "shared"
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(2)
    workers = [context.Process(target=_work, args=(folder, gate)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    content = json.loads((folder / "search.json").read_text())
    assert [trial["status"] for trial in content["trials"]] == ["finished"] * 8
    by = [(folder / trial["folder"] / "by").read_text().split() for trial in content["trials"]]
    assert all(len(pids) == 1 for pids in by)  # each was trained once
    assert {pids[0] for pids in by} == {str(worker.pid) for worker in workers}


def _work(folder, gate):
    def slow(cfg, run_dir, extra_callbacks=()):
        if int(run_dir.name) < 2:
            gate.wait(30)  # both are at work before either goes on
        record = train(cfg, run_dir)
        with (run_dir / "by").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return record

    plan = SearchPlan.from_config("s", NODE | {"trials": 8})
    Search(plan, folder, compose, (), slow).run(BASE)


def test_a_grid_is_tried_point_by_point_and_ends(search):
    node = {"sampler": "grid", "space": {"top": {"low": 1, "high": 3}, "tuning": ["lora", "ia3"], "lr": [0.1]}}

    def cut(cfg, run_dir, extra_callbacks):
        if run_dir.name == "2":
            raise KeyboardInterrupt
        return train(cfg, run_dir)

    with pytest.raises(KeyboardInterrupt):
        search(cut, **node)
    content, trained = search(**node)
    assert trained == [2, 3, 4, 5]
    assert content["total"] == 6
    assert sorted((p["top"], p["tuning"]) for p in points(content)) == [
        (n, t) for n in (1, 2, 3) for t in ("ia3", "lora")
    ]


def test_poor_trials_are_stopped_by_the_median_of_the_earlier_ones(search):
    def validating(cfg, run_dir, extra_callbacks):
        (pruning,) = extra_callbacks
        assert pruning.monitor == "validation/ctr/auc"
        for count in (1, 2, 3):
            if pruning.report(count, 0.9 - 0.1 * int(run_dir.name)):
                raise optuna.TrialPruned(f"pruned at validation {count}")
        return train(cfg, run_dir)

    content, _ = search(validating, trials=6, pruner="median")
    assert [trial["status"] for trial in content["trials"]] == ["finished"] * 4 + ["pruned"] * 2
    assert content["trials"][4]["validations"] == {"1": 0.5}
    assert content["trials"][4]["error"] == "pruned at validation 1"
    assert content["best"][0] in range(4)


def test_a_validation_that_is_repeated_after_a_kill_is_reported_once(search):
    def twice(cfg, run_dir, extra_callbacks):
        report = extra_callbacks[0].report
        assert report(1, 0.5) is report(1, 0.9) is False
        return train(cfg, run_dir)

    content, _ = search(twice, trials=1, pruner="halving", metrics=["validation/ctr/auc"])
    assert content["trials"][0]["validations"] == {"1": 0.5}


def test_quality_against_cost_gives_a_front(search):
    content, _ = search(metrics=["validation/ctr/auc", "cost/steps"], trials=10)
    values = {trial["number"]: trial["values"] for trial in content["trials"]}
    assert content["objectives"][1] == {"key": "cost/steps", "direction": "minimise"}
    for number, (auc, steps) in values.items():
        beaten = any(a >= auc and s <= steps and [a, s] != [auc, steps] for a, s in values.values())
        assert beaten is (number not in content["best"])
    assert content["importances"] is None


def test_the_front_and_the_best_by_hand():
    entries = [{"number": n, "values": v} for n, v in enumerate([[0.7, 3.0], [0.8, 5.0], [0.7, 4.0], None, [0.6, 1.0]])]
    assert best_trials(entries, [True, False]) == [0, 1, 4]
    assert best_trials(entries, [False, False]) == [4]
    assert best_trials([{"number": 0, "values": None}], [True]) == []
    assert best_trials([{"number": n, "values": [v]} for n, v in enumerate([0.3, 0.1, 0.2])], [False]) == [1]


@pytest.mark.slow
def test_importances_come_with_ten_trials_and_name_what_matters(search):
    def only_tuning(cfg, run_dir, extra_callbacks):
        record = train(cfg, run_dir)
        record.metrics["validation"]["ctr/auc"]["value"] = (
            0.5 + 0.3 * (cfg.set.tuning == "ia3") + int(run_dir.name) / 1e4
        )
        return record

    assert search(only_tuning, trials=9, sampler="random")[0]["importances"] is None
    found = search(only_tuning, trials=14, sampler="random")[0]["importances"]
    assert max(found, key=found.get) == "tuning"
    assert sum(found.values()) == pytest.approx(1)


def test_a_line_per_trial_says_how_far_how_good_and_how_long(search, capsys):
    content, _ = search(trials=2)
    first, second = (trial["values"][0] for trial in content["trials"])
    shown = capsys.readouterr().out
    assert f"[1/2] trial 0 ctr/auc {first:.4f}  best {first:.4f} (trial 0)" in shown
    assert "left" in shown.splitlines()[1]
    assert f"[2/2] trial 1 ctr/auc {second:.4f}  best {max(first, second):.4f}" in shown
