"""`funneltune online`: what it prints and writes, and what it refuses in one line."""

import json

import pytest

from funneltune.cli import main
from funneltune.cli.online import DEFAULTS, settings_of
from funneltune.errors import ConfigError
from online_runs import SMALL

FAST = ["requests=60", "every=20", "window=15", "page=5", "candidates=40", "components=4", "seeds=0,1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online_verb")
    assert main(["train", f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}", *SMALL]) == 0
    return folder / "run"


def test_it_prints_a_row_per_policy_and_writes_record_and_picture(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["policies=thompson,incremental", "steps=1", "sessions=20", f"output={out}"]
    assert main(["online", f"run={run}", *FAST, *words]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("static", "thompson", "incremental", "oracle", "learned for revenue"))
    assert "The oracle ranks by the truth" in printed
    record = json.loads((out / "decision.json").read_text())
    assert record["verb"] == "online"
    assert record["settings"]["requests"] == 60
    assert record["settings"]["calibration"] == "none"
    assert record["numbers"]["incremental/seconds_per_update"]["value"] > 0
    assert {"purchases", "gains", "costs", "shoppers", "sessions", "session_gains", "share_of_oracle"} == set(
        record["tables"]
    )
    assert (out / "purchases.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["online", f"run={run}", *FAST, f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("requests=many", "requests=many must be a whole number"),
        ("seeds=0,x", "seeds=x must be a whole number"),
        ("spread=wide", "spread=wide must be a number"),
    ],
)
def test_a_value_of_another_kind_is_named(key, told):
    name, _, value = key.partition("=")
    with pytest.raises(ConfigError, match=told):
        settings_of({**DEFAULTS, name: value})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["policies=best"], "policies: 'best' must be one of"),
        (["policies=static", "sessions=-1"], "sessions=-1 must be >= 2, or 0"),
        (["policies=static", "taste_shift=2"], "taste_shift=2.0 must lie in"),
        (["policies=static", "window=50"], "window=50 must lie in 1 .. 3"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run, tmp_path, capsys, words, told):
    assert main(["online", f"run={run}", *FAST[:2], *FAST[3:], f"output={tmp_path}/o", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_from_python_it_gives_the_same_tables(run, tmp_path):
    import funneltune

    settings = {"requests": 60, "every": 20, "window": 15, "page": 5, "candidates": 40, "components": 4}
    found = funneltune.online(run, tmp_path / "o", policies=["greedy"], seeds=(0, 1), half_life=None, **settings)
    assert found["purchases"]["policy"].tolist() == ["static", "greedy", "oracle"]
    record = json.loads((tmp_path / "o" / "decision.json").read_text())
    assert record["settings"]["half_life"] is None
    assert found["gains"].loc[1, "regret"] == record["numbers"]["greedy/regret"]["value"]
    with pytest.raises(ConfigError, match="polices=greedy is no key here, nearest: policies"):
        funneltune.online(run, tmp_path / "p", polices=["greedy"])
