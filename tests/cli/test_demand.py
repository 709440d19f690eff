"""`funneltune demand`: what it prints, writes and refuses."""

import builtins
import importlib.util

import pandas as pd
import pytest
import yaml

import funneltune
from funneltune.cli import main
from funneltune.decisions.stocking import days
from funneltune.decisions.stocking.ahead import MODELS, by_model
from funneltune.errors import ConfigError
from funneltune.records import DecisionRecord
from stocking_shop import shop

WITH_STATSFORECAST = pytest.mark.skipif(
    importlib.util.find_spec("statsforecast") is None, reason="needs the extra `demand`"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return shop(tmp_path_factory)


def test_it_prints_the_tables_and_writes_record_rows_and_picture(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["by=category", "days=5", "baselines=none", "calibration=temperature", f"output={out}"]
    assert main(["demand", f"run={run}", *words]) == 0
    printed = capsys.readouterr().out
    for told in (
        "last week's same day",
        "the truth, known",
        "past rates",
        "met an empty shelf",
        f"record: {out / 'decision.json'}",
    ):
        assert told in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.settings["by"] == "category"
    assert record.settings["calibration"].startswith("temperature")
    assert record.numbers["last week's same day/rmsse"]["low"] < record.numbers["last week's same day/rmsse"]["high"]
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    rows = pd.read_csv(out / "demand.csv")
    assert list(rows.columns) == ["category", "day", "when", "impressions", "expected", "low", "high", "bought"]
    assert rows.groupby("when").day.nunique().to_dict() == {"ahead": 5, "held out": 5}
    assert main(["demand", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_from_python_with_the_days_own_impressions(run):
    record = funneltune.demand(run, by="brand", traffic="known", traffic_model="naive", baselines=["none"], level=0.8)
    assert record.settings["baselines"] == []
    assert "the run, known traffic less the truth, known traffic/rmsse" in record.numbers
    assert "80% intervals" in " ".join(record.notes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["days=0"], "days=0 must lie in 1 .. 365"),
        (["days=two"], "days=two must be a whole number"),
        (["level=2"], "level=2 must lie in [0.5, 1)"),
        (["traffic=guessed"], "traffic=guessed must be one of known, forecast"),
        (["traffic_model=tea"], "traffic_model=tea must be one of weekday, naive, ets"),
        (["baselines=prophet"], "baselines=prophet must be of croston, ets, arima, or none"),
        (["by=categry"], "by=categry must be one of item, category, product_type, domain, brand, seller"),
        (["by=price"], "by=price must be one of item, category, product_type, domain, brand, seller"),
        (["by=key"], "by=key must be one of item, category"),
        (["by=title"], "by=title must be one of item, category"),
        (["day=3"], "day=3 is no key here, nearest: days"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["demand", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *more, **named):
        if name.startswith("statsforecast"):
            raise ModuleNotFoundError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"croston needs a package that is not installed: pip install 'funneltune\["):
        by_model("croston", None, 3)


@WITH_STATSFORECAST
@pytest.mark.slow
def test_statsforecasts_models_stand_beside_the_run(run):
    record = funneltune.demand(run, by="category", baselines=["croston", "ets"], traffic_model="ets")
    assert {"croston", "ets"} <= {row[0] for row in record.tables["ways"]["rows"]}
    orders = funneltune.stock(run, lead_time=2, review=3, baselines=["croston"])
    assert orders.numbers["croston/fill rate"]["value"] > 0.5


@WITH_STATSFORECAST
@pytest.mark.slow
@pytest.mark.parametrize("word", MODELS)
def test_a_series_that_repeats_is_forecast_to_repeat(word):
    import numpy as np

    past = np.tile([[1.0, 2, 3, 4, 5, 6, 7], [4.0] * 7, [0.0] * 7], (1, 8))
    found = by_model(word, past, 7)
    assert found[1] == pytest.approx(4.0, abs=0.3)
    assert found[2] == pytest.approx(0.0, abs=0.1)
    if word != "croston":
        assert found[0] == pytest.approx(np.arange(1.0, 8.0), abs=0.5)


# --- runs and logs that have no held-out days ----------------------------------------------------------------------


def changed(run, folder, **changes):
    """The same run with other words in its config."""
    folder.mkdir()
    for path in run.iterdir():
        if path.name != "config.yaml":
            (folder / path.name).symlink_to(path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for name, value in changes.items():
        node = config["data"]
        *way, last = name.split("__")
        for step in way:
            node = node[step]
        node[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"split__by": "request"}, "has data.split.by=request; days are held out by time alone"),
        ({"split__validation": 0.03}, "data.split.validation has too few whole days: 1; it takes 2 or more"),
        ({"split__test": 0.02}, "data.split.test has too few whole days: 0"),
        ({"split__test": 0.6}, "days before its validation days; weekly seasons take 14 or more"),
    ],
)
def test_a_log_with_too_few_held_out_days_is_refused(run, tmp_path, changes, told, capsys):
    other = changed(run, tmp_path / "other", **changes)
    for verb in ("demand", "stock"):
        assert main([verb, f"run={other}", "baselines=none"]) == 2
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1


def test_a_log_without_times_and_a_run_without_purchases_are_refused(run, monkeypatch):
    from funneltune.data import LogStore
    from funneltune.decisions import Scorer
    from funneltune.funnel import TaskFunnel

    scorer, real = Scorer.of_run(run), LogStore.has
    monkeypatch.setattr(LogStore, "has", lambda store, name: name != "time" and real(store, name))
    with pytest.raises(ConfigError, match=r"its log has no time, so that it has no days; name the column"):
        days.read_days(scorer)
    scorer.funnel = TaskFunnel.from_config({"click": {}})
    with pytest.raises(ConfigError, match=r"predicts no purchase \(its tasks: click\); train with a task purchase"):
        days.read_days(scorer)
