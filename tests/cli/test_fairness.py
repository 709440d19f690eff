"""`funneltune fairness`: what it prints and writes, what it does to narrow a gap, and what it refuses in one line."""

import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.cli.fairness import DEFAULTS, settings_of
from funneltune.errors import ConfigError
from funneltune.records import DecisionRecord
from small_market import train

PLAIN = ["backbone=none", "tuning=frozen", "features=ids", "+data.leaks=ignore", "data.source.impressions=2400"]
FAST = ["draws=100", "smallest=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fairness_verb")


@pytest.fixture(scope="module")
def run(folder):
    return train(folder, *PLAIN)


def test_it_prints_the_tables_and_writes_record_groups_and_pictures(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["fairness", f"run={run}", *FAST, "mitigate=exposure", f"output={out}"]) == 0
    printed = capsys.readouterr().out
    for told in (
        "ctr by seller",
        "ctr by user.segment",
        "mitigate=exposure",
        "It does not say why",
        "furthest from the median first",
        "low",
        "note: price_band",
    ):
        assert told in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.settings["calibration"] == "none"
    assert record.settings["by"] == ["seller", "brand", "price_band", "user.segment"]
    groups = pd.read_csv(out / "groups.csv")
    assert set(groups["by"]) == set(record.settings["by"])
    assert set(groups.loc[groups["by"] == "user.segment", "measure"]) == {
        "predicted_over_observed",
        "gauc",
        "missed",
        "ndcg",
    }
    shares = groups[(groups["by"] == "price_band") & (groups["measure"] == "exposure_by_truth")]
    assert ((shares["low"] <= shares["value"]) & (shares["value"] <= shares["high"])).all()
    for name in record.figures:
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
    ways = [row[0] for row in record.tables["trade_off"]["rows"]]
    assert ways == ["as it is", *["over all pages"] * 6, "each page alone"]
    gaps = [row[2] for row in record.tables["trade_off"]["rows"]]
    assert min(gaps[1:-1]) < gaps[0]
    assert {row[2] for row in record.tables["changes"]["rows"]} >= {"exposure"}
    assert main(["fairness", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_a_shift_by_group_is_written_where_it_is_fitted(run, tmp_path):
    settings = {"by": ["price_band", "user.segment"], "mitigate": "calibrate", "draws": 100, "smallest": 2}
    record = funneltune.fairness(run, tmp_path / "out", **settings)
    shifts = pd.read_csv(tmp_path / "out" / "shifts.csv")
    assert set(shifts["by"]) == {"price_band", "user.segment"}
    assert shifts["log_odds"].abs().max() < 3
    assert [row[1] for row in record.tables["trade_off"]["rows"]] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert "calibrate/purchases change" in record.numbers


@pytest.mark.slow
def test_a_run_trained_with_weights_by_group_is_held_against_this_one(run, folder):
    other = folder / "alike"
    words = [f"run_dir={other}", f"data.cache_dir={folder / 'cache'}", *PLAIN]
    from small_market import SMALL

    sampling = "data.sampling={groups: {column: item.seller, power: 0.5}}"
    assert main(["train", *words[:2], *SMALL, *PLAIN, sampling]) == 0
    record = funneltune.fairness(run, by="seller", mitigate="reweight", against=other, draws=100, smallest=2)
    assert [row[:2] for row in record.tables["trade_off"]["rows"]] == [["as it is", 0.0], ["alike", 0.5]]
    assert {row[2] for row in record.tables["changes"]["rows"]} >= {"predicted_over_observed", "auc"}


def test_a_named_ranking_s_pages_are_audited(run):
    plain = funneltune.fairness(run, by="seller", draws=100, smallest=2)
    fair = funneltune.fairness(run, by="seller", draws=100, smallest=2, ranking="fair_sellers")
    assert plain.tables["by seller"]["columns"] == fair.tables["by seller"]["columns"]
    assert plain.numbers["ndcg@k"] != fair.numbers["ndcg@k"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["by=seler"], "by=seler: the log's items have no column 'seler'; did you mean 'seller'?"),
        (["by=user.segmnt"], "by=user.segmnt: the log's shoppers have no column 'segmnt'; did you mean user.segment?"),
        (["by=seller", "smallest=500"], "by=seller: 3 groups, the largest of"),
        (["rate=buys"], "rate=buys must be one of ctr, cvr, ctcvr"),
        (["mitigate=hope"], "mitigate=hope must be one of none, exposure, calibrate, reweight"),
        (["mitigate=reweight"], "mitigate=reweight needs against=RUN"),
        (["against=somewhere"], "against=somewhere says nothing without mitigate=reweight"),
        (["mitigate=exposure", "by=user.segment"], "gives items their places, and by=user.segment groups shoppers"),
        (["mitigate=exposure", "by=seller", "ranking=fair_sellers"], "would break the rules, diversity or exposure"),
        (
            ["mitigate=calibrate", "by=seller", "rank_by=0.5*ctr + 0.5*ctcvr"],
            "pages are ranked by ctr + ctcvr; rank by",
        ),
        (["ranking=fair"], "ranking=fair is neither a file nor a ranking that ships"),
        (["draws=many"], "draws=many must be a whole number"),
        (["groups=seller"], "groups=seller is no key here"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    fast = [one for one in FAST if one.split("=")[0] not in {word.split("=")[0] for word in words}]
    assert main(["fairness", f"run={run}", *fast, *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_runs_that_cannot_be_held_against_it_are_refused(run, folder, capsys):
    words = ["fairness", f"run={run}", *FAST, "by=seller", "mitigate=reweight"]
    assert main([*words, f"against={run}"]) == 2
    assert "was not trained with weights by group; train one: funneltune train" in capsys.readouterr().err
    assert main([*words, f"against={folder / 'nowhere'}"]) == 2
    assert "nowhere holds no record.json" in capsys.readouterr().err


def test_a_log_without_shoppers_or_prices_is_told(run, monkeypatch, capsys):
    from funneltune.decisions.fairness import groups
    from funneltune.decisions.items import Items

    monkeypatch.setattr(groups, "shopper_told", lambda scorer: False)
    assert main(["fairness", f"run={run}", *FAST, "by=user.segment"]) == 2
    assert "by=user.segment: the log tells no shopper" in capsys.readouterr().err
    monkeypatch.setattr(Items, "price", None)
    assert main(["fairness", f"run={run}", *FAST, "by=price_band"]) == 2
    assert "by=price_band: the log tells no price (data.source.price)" in capsys.readouterr().err
    monkeypatch.setattr(Items, "columns", ["key", "title"])
    assert main(["fairness", f"run={run}", *FAST]) == 2
    assert "its log has none of seller, brand, price_band, user.segment; name a column" in capsys.readouterr().err


def test_another_log_s_run_is_refused(run):
    from pathlib import Path
    from types import SimpleNamespace

    import numpy as np

    from funneltune.decisions.fairness.rows import same_log

    def tested_on(fingerprint):
        data = SimpleNamespace(store=SimpleNamespace(fingerprint=fingerprint), requests=lambda split: np.arange(3))
        return SimpleNamespace(assembly=SimpleNamespace(data=data), folder=Path("mine"))

    same_log(tested_on("a"), tested_on("a"), Path("other"))
    with pytest.raises(ConfigError, match="against=other was tested on other requests than run=mine"):
        same_log(tested_on("a"), tested_on("b"), Path("other"))


def test_a_log_of_one_s_own_has_no_truth_to_tell_costs_by(run, monkeypatch):
    from funneltune.decisions.fairness import rows

    def unknown(source, numbers=None):
        raise ConfigError("not the marketplace")

    monkeypatch.setattr(rows, "world_requests", unknown)
    record = funneltune.fairness(run, by="seller", mitigate="exposure", draws=100, smallest=2)
    assert "exposure_by_truth" not in record.tables["by seller"]["columns"]
    assert "purchases" not in record.numbers
    assert "exposure/ndcg@k change" in record.numbers


def test_a_split_without_requests_is_refused(run, monkeypatch):
    from funneltune.decisions.fairness import rows

    monkeypatch.setattr(rows, "logged_requests", lambda *_: iter(()))
    with pytest.raises(ConfigError, match="has no request in its test split"):
        funneltune.fairness(run, by="seller")


def test_a_value_of_another_kind_is_named():
    with pytest.raises(ConfigError, match="smallest=few must be a whole number"):
        settings_of({**DEFAULTS, "smallest": "few"})
