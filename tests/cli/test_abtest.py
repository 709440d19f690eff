"""`funneltune abtest`: what it prints and writes, and what it refuses in one line."""

import json

import pytest

import funneltune
from funneltune.cli import main
from funneltune.cli.abtest import DEFAULTS, settings_of
from funneltune.errors import ConfigError
from funneltune.records import DecisionRecord
from online_runs import SMALL

FAST = ["requests=300", "candidates=30", "looks=3", "trials=100", "seeds=3,4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Makes runs that share a log."""
    folder = tmp_path_factory.mktemp("abtest_verb")

    def train(name, *more):
        words = [f"run_dir={folder / name}", f"data.cache_dir={folder / 'cache'}", *SMALL, *more]
        assert main(["train", *words]) == 0
        return folder / name

    return train


@pytest.fixture(scope="module")
def run(trained):
    return trained("a", "tuning=frozen")


def test_it_prints_the_tables_and_writes_record_and_picture(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["abtest", f"run_a={run}", f"run_b={run}", "by_b=revenue", "metric=clicks", *FAST, f"output={out}"]) == 0
    )
    printed = capsys.readouterr().out
    for told in ("in truth, per request", "sessions without a purchase", "A/A: false positives", "interleaving by"):
        assert told in printed
    assert f"record: {out / 'decision.json'}" in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.verb == "abtest"
    assert record.run == f"{run},{run}"
    assert record.settings["metric"] == "clicks"
    assert (record.settings["calibration_a"], record.settings["calibration_b"]) == ("none", "none")
    assert [row[0] for row in record.tables["seeds"]["rows"]] == [3, 4]
    assert record.tables["winner"]["rows"][0][0] == "A/B by clicks"
    assert len(record.tables["looks"]["rows"]) == 3
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    assert main(["abtest", f"run_a={run}", f"run_b={run}", *FAST, f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_without_a_folder_nothing_is_written(run, in_a_folder, tmp_path, capsys):
    assert main(["abtest", f"run_a={run}", "run_b=oracle", *FAST]) == 0
    assert "record:" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_from_python_it_gives_the_record(run, tmp_path):
    settings = {"requests": 300, "candidates": 30, "looks": 3, "trials": 100, "seeds": (3, 4)}
    found = funneltune.abtest(run, "popularity", tmp_path / "o", **settings)
    kept = json.loads((tmp_path / "o" / "decision.json").read_text())
    assert kept["numbers"]["truth/clicks"] == found.numbers["truth/clicks"]
    with pytest.raises(ConfigError, match="look=3 is no key here, nearest: looks"):
        funneltune.abtest(run, "popularity", look=3)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("requests=many", "requests=many must be a whole number"),
        ("seeds=0,x", "seeds=x must be a whole number"),
        ("power=high", "power=high must be a number"),
    ],
)
def test_a_value_of_another_kind_is_named(key, told):
    name, _, value = key.partition("=")
    with pytest.raises(ConfigError, match=told):
        settings_of({**DEFAULTS, name: value})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run_b=bm25", "metric=money"], "metric=money must be one of"),
        (["run_b=bm25", "by_b=ctr"], "by_b=ctr says nothing with run_b=bm25"),
        (["run_b=oracle", "by=ctrr"], "by='ctrr' must be one of ctr, cvr, ctcvr or revenue"),
        (["run_b=nowhere"], "nowhere"),
        (["run_b=bm25", "looks=60"], "looks=60"),
        ([], "missing run_b=PATH"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run, capsys, words, told):
    fast = [one for one in FAST if not any(one.split("=")[0] == word.split("=")[0] for word in words)]
    assert main(["abtest", f"run_a={run}", *fast, *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_run_of_another_world_is_refused_in_one_line(run, trained, capsys):
    other = trained("c", "tuning=frozen", "data.source.items=160")
    capsys.readouterr()
    assert main(["abtest", f"run_a={run}", f"run_b={other}", *FAST]) == 2
    error = capsys.readouterr().err
    assert "data.source.items=160, and that of run_a has 150; give two runs of one world" in error
    assert error.count("\n") == 1
