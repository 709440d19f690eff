"""What another policy would have earned: the command, its record, what it refuses."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import funneltune
from funneltune.cli import main
from funneltune.decisions import Scorer
from funneltune.decisions.choices import Chooser
from funneltune.decisions.logged_choices import Reward, decisions_of
from funneltune.decisions.order import Worth
from funneltune.errors import ConfigError
from funneltune.metrics.off_policy import estimate
from funneltune.records import DecisionRecord


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offpolicy")
    words = ["backbone=tiny", "tuning=frozen", "data.source.impressions=3000", "data.source.items=60", "logger=none"]
    words += ["data.source.queries=20", "data.source.shoppers=80", "data.source.ctr=0.3", "data.source.cvr=0.3"]
    words += ["data.source.page=5", "baselines=[]", "trainer.enable_progress_bar=false", "data.split.test=0.6"]
    assert main(["train", f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}", *words]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def scorer(run):
    return Scorer.of_run(run)


def of(scorer, kind, **knobs):
    return decisions_of(scorer, Chooser(kind, **knobs), Worth.parse("", scorer.rates), Reward.parse("click", scorer))


def test_weights_average_one_and_the_truth_of_the_log_is_near_its_mean_reward(scorer):
    found = of(scorer, "tilted", temperature=2.0)
    w = found.logged.weight
    assert w.mean() == pytest.approx(1.0, abs=4 * w.std() / np.sqrt(len(w)))
    reward = found.logged.reward
    assert found.truth_of_log == pytest.approx(reward.mean(), abs=4 * reward.std() / np.sqrt(len(reward)))


@pytest.mark.parametrize(("kind", "knobs"), [("uniform", {}), ("tilted", {"temperature": 1.0}), ("softmax", {})])
def test_estimates_lie_within_four_errors_of_the_truth(scorer, kind, knobs):
    found = of(scorer, kind, **knobs)
    for name in ("ips", "snips", "dr", "sndr"):
        told = estimate(name, found.logged, draws=0)
        assert abs(told.value - found.truth) < 4 * told.error


def test_a_policy_that_is_the_logs_own_has_weights_of_one(scorer, monkeypatch):
    flat = {rate: np.ones(60) for rate in scorer.rates}
    monkeypatch.setattr(scorer, "score", lambda asked, items: [flat for _ in asked])
    found = of(scorer, "tilted")
    np.testing.assert_allclose(found.logged.weight, 1.0, rtol=1e-9)
    assert found.truth == pytest.approx(found.truth_of_log)


@pytest.mark.slow
def test_the_command_prints_and_writes_what_python_gives(run, tmp_path, capsys):
    output = tmp_path / "out"
    words = ["policy=tilted", "temperature=2", "reward=purchase", "draws=100"]
    assert main(["offpolicy", f"run={run}", *words, f"output={output}"]) == 0
    shown = capsys.readouterr().out
    assert "count as" in shown
    assert "truth" in shown
    record = DecisionRecord.read(output / "decision.json")
    assert (output / record.figures[0]).is_file()
    again = funneltune.offpolicy(run, policy="tilted", temperature=2, reward="purchase", draws=100)
    assert again.numbers == record.numbers
    assert main(["offpolicy", f"run={run}", f"output={output}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_without_a_reward_it_is_the_runs_first_task_and_none_that_the_log_lacks(run, scorer, monkeypatch, capsys):
    assert main(["offpolicy", f"run={run}", "policy=tilted", "draws=0"]) == 0
    assert " click a place\n" in capsys.readouterr().out
    named = {"click": "visit", "purchase": "conversion"}
    tasks = [
        replace(one, name=named[one.name], given=tuple(named[g] for g in one.given)) for one in scorer.funnel.binary
    ]
    other = SimpleNamespace(funnel=SimpleNamespace(binary=tasks), assembly=scorer.assembly)
    assert Reward.parse("", other).name == "visit"
    assert Reward.parse("", other).rate == tasks[0].rate
    monkeypatch.setattr(type(scorer.assembly.data.store), "has", lambda _, name: name != "price")
    with pytest.raises(ConfigError, match=r"reward=click is nothing that run and log tell; choose visit, conversion\."):
        Reward.parse("click", other)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["policy=greedy"], "policy=greedy must be one of"),
        (["temperature=0"], "temperature=0 must be > 0"),
        (["temperature=warm"], "temperature=warm must be a number"),
        (["epsilon=2", "policy=epsilon"], "epsilon=2 must lie in [0, 1]"),
        (["clip=-1"], "clip=-1 must be > 0"),
        (["most=few"], "most=few must be a whole number"),
        (["reward=love"], "reward=love is nothing that run and log tell"),
        (["split=train"], "split=train must be one of"),
        (["estimators=ipps"], "estimators=ipps must be of"),
        (["policy=softmax", "temperature=0.001", "most=30"], "choose one nearer to the logging policy"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(run, words, told, capsys):
    assert main(["offpolicy", f"run={run}", "draws=0", *words]) == 2
    assert told in capsys.readouterr().err
