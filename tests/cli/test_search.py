"""`funneltune search`: what it refuses before anything is written, what it hands to training, what it tells."""

import json
import shlex

import pytest

from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.records import RunRecord
from funneltune.runs.identity import as_plain, differences


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """The configs that `runs.train` is called with, in place of training."""
    monkeypatch.chdir(tmp_path)
    configs = []

    def train(cfg, run_dir, extra_callbacks=()):
        configs.append(cfg)
        record = RunRecord(
            name=cfg.name,
            status="finished",
            metrics={"validation": {"ctcvr/auc": {"value": 0.6 + len(configs) / 100}}},
            cost={"step_milliseconds_median": 5.0 * len(configs)},
        )
        record.write(run_dir / "record.json")
        return record

    monkeypatch.setattr("funneltune.runs.train", train)
    return configs


SMALL = """# @package _global_
defaults: [{override /experiment: quickstart}]
search:
  space:
    optimizer.lr: {low: 0.001, high: 0.01, log: true}
    rank: {r4: [tuning.target_rank=4, tuning.initial_rank=6]}
  metrics: [validation/ctcvr/auc]
  trials: 2
  pruner: median
  overrides: [data.train_share=0.25, trainer.val_check_interval=0.25]
"""


@pytest.fixture
def search(trained, tmp_path):
    """Runs a small search of a user's own, into the folder `here`."""
    group = tmp_path / "conf" / "hparams_search"
    group.mkdir(parents=True)
    (group / "small.yaml").write_text(SMALL)
    return lambda *words: main(["search", "small", "debug=tiny", "search_dir=here", *words, "--config-dir", "conf"])


@pytest.mark.slow
def test_trials_are_the_searchs_config_with_their_settings_and_no_test(search, trained, tmp_path):
    assert search("optimizer.weight_decay=0.5") == 0
    content = json.loads((tmp_path / "here" / "search.json").read_text())
    for cfg, trial in zip(trained, content["trials"], strict=True):
        assert (cfg.test, list(cfg.baselines), cfg.search, cfg.resume, cfg.run_dir) == (False, [], None, "auto", None)
        assert (cfg.data.train_share, cfg.optimizer.weight_decay, cfg.trainer.val_check_interval) == (0.25, 0.5, 0.25)
        assert cfg.optimizer.lr == trial["params"]["optimizer.lr"]
        assert f"r{cfg.tuning.target_rank}" == trial["params"]["rank"]


@pytest.mark.slow
def test_the_best_setting_is_told_as_the_command_that_trains_and_tests_it_on_everything(
    search, trained, capsys, tmp_path
):
    assert search("optimizer.weight_decay=0.5") == 0
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if line.startswith("  funneltune train")]
    words = shlex.split(line)
    assert words[:5] == ["funneltune", "train", "quickstart", "debug=tiny", "optimizer.weight_decay=0.5"]
    assert not any("search" in word for word in words[:-2])
    told = as_plain(compose_config(["experiment=quickstart", *words[3:-2]]))
    best = as_plain(trained[1])  # the second: 0.62
    assert "trial 1" in shown
    assert set(differences(best, told)) == {"test", "baselines", "data.train_share", "trainer.val_check_interval"}
    assert json.loads((tmp_path / "here/search.json").read_text())["commands"] == {"1": line.strip()}
    assert (tmp_path / "here/history.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_says_more_than_its_experiment_is_named_in_the_command(trained, capsys, tmp_path):
    conf = tmp_path / "conf"
    (conf / "hparams_search").mkdir(parents=True)
    (conf / "hparams_search" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /experiment: quickstart}]\ndata: {max_tokens: 32}\n"
        "search: {space: {optimizer.lr: [0.1]}, metrics: [validation/ctcvr/auc], trials: 1}\n"
    )
    assert main(["search", "mine", "debug=tiny", "--config-dir", str(conf)]) == 0
    told = f"funneltune train hparams_search=mine debug=tiny optimizer.lr=0.1 --config-dir {conf}"
    assert told in capsys.readouterr().out
    assert (tmp_path / "searches" / "mine" / "search.json").is_file()


@pytest.mark.slow
def test_a_second_call_trains_nothing_and_tells_the_same(search, trained, capsys):
    assert search() == 0
    first = capsys.readouterr().out
    assert search() == 0
    assert len(trained) == 2
    second = capsys.readouterr().out
    assert second == first[first.index("small: best trials of 2 (2 finished)") :]


@pytest.mark.slow
def test_a_front_is_told_with_its_picture(search, capsys, tmp_path):
    words = ["search.metrics=[validation/ctcvr/auc,cost/step_milliseconds_median]", "search.pruner=none"]
    assert search(*words) == 0
    shown = capsys.readouterr().out
    assert "front of 2 (2 finished)" in shown
    assert shown.count("↑") == shown.count("↓") == 1
    assert set(json.loads((tmp_path / "here/search.json").read_text())["commands"]) == {"0", "1"}
    assert (tmp_path / "here/front.png").is_file()


def test_a_key_on_the_command_line_is_not_searched(search, trained, tmp_path):
    assert search("optimizer.lr=0.5") == 0
    assert {cfg.optimizer.lr for cfg in trained} == {0.5}
    content = json.loads((tmp_path / "here" / "search.json").read_text())
    assert list(content["search"]["space"]) == ["rank"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search.space.rank.r4=['tuning.target_rnk=1']"], "tuning.target_rnk is no key (nearest: tuning.target_rank)"),
        (["search.space.rank.r4=['tuning.target_rank=40']"], "tuning.initial_rank=12 must be > target_rank=40"),
        (["search.metrics=[test/ctcvr/auc]"], "test/ctcvr/auc is of the test split"),
        (["search.metrics=[validation/ctcvr/aux]"], "nearest: validation/ctcvr/auc"),
        (["search.pruner=medium"], "search.pruner='medium' must be one of"),
        (["search.trails=3"], "nearest: search.trials"),
        (["search.overrides=[]"], "search.pruner=median has nothing to go by, as trials validate at their end only"),
        (["trainer.devices=2", "trainer.strategy=ddp"], "a trial is one process"),
        (["run_dir=x"], "run_dir=x: a search puts its trials below search_dir=PATH; leave run_dir out"),
        (["test=true"], "test=true: a search leaves the test split alone"),
        (["search_dir="], "give one folder, search_dir=PATH"),
        (["head._target_=os.system"], "head._target_='os.system' is not allowed"),
        (["tuning=lora,adalora"], "several values"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(search, trained, capsys, tmp_path, words, told):
    assert search(*words) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1
    assert trained == []
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_without_a_name_the_searches_are_listed(trained, capsys):
    assert main(["search"]) == 2
    assert "searches: quality_and_cost, quickstart" in capsys.readouterr().err
    assert main(["search", "quikstart"]) == 2
    assert "nearest: quickstart" in capsys.readouterr().err


@pytest.mark.slow
def test_a_changed_space_is_refused_in_one_line(search, trained, capsys):
    assert search() == 0
    capsys.readouterr()
    assert search("search.space.rank.r4=['tuning.target_rank=4']") == 2
    line = capsys.readouterr().err
    assert (
        "holds another search (search.space.rank.r4 was ['tuning.target_rank=4', 'tuning.initial_rank=6'], is" in line
    )
    assert line.count("\n") == 1


@pytest.mark.slow
def test_an_interrupt_names_the_command_that_goes_on(search, capsys, monkeypatch):
    def cut(cfg, run_dir, extra_callbacks=()):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("funneltune.runs.train", cut)
        assert search() == 130
    assert "stopped by SIGINT; the same command goes on, with what is finished kept" in capsys.readouterr().err
    assert search() == 0


@pytest.mark.slow
def test_a_search_without_a_finished_trial_is_status_1(search, capsys, monkeypatch):
    def failing(cfg, run_dir, extra_callbacks=()):
        from funneltune.errors import FailedRunError

        raise FailedRunError("step 3: the loss is not finite.")

    monkeypatch.setattr("funneltune.runs.train", failing)
    assert search() == 1
    assert "failed: trial 1: step 3: the loss is not finite." in capsys.readouterr().out


def test_cfg_job_prints_the_search_and_trains_nothing(search, trained, capsys):
    assert search("--cfg", "job") == 0
    assert "optimizer.lr:" in capsys.readouterr().out
    assert trained == []
