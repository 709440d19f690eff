"""`funneltune ads`: what it prints, reads and writes, and what it refuses in one line."""

import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.records import DecisionRecord
from small_market import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ads_verb")
    return train(folder, "backbone=none", "tuning=frozen", "features=ids", "+data.leaks=ignore")


def test_it_prints_the_tables_and_writes_record_and_picture(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["slots=3", "advertiser=brand", "reserve=auto", "calibration=temperature", f"output={out}"]
    assert main(["ads", f"run={run}", *words]) == 0
    printed = capsys.readouterr().out
    for told in (
        "ranked by",
        "the oracle",
        "spent in the",
        "VCG alone is truthful",
        f"record: {out / 'decision.json'}",
    ):
        assert told in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.settings["slots"] == 3
    assert record.settings["calibration"].startswith("temperature")
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    assert main(["ads", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_bids_come_from_a_file(run, tmp_path):
    keys = [f"item-{n:06d}" for n in range(150)]
    pd.DataFrame({"item": keys, "bid": 0.5, "value": 4.0, "budget": None}).to_csv(tmp_path / "bids.csv", index=False)
    record = funneltune.ads(run, bids=tmp_path / "bids.csv", slots=2, one_each=False)
    revenue, clicks = (record.numbers[f"the run/{name}"]["value"] for name in ("revenue", "clicks"))
    assert 0 < revenue <= 0.5 * clicks + 1e-9  # no click costs more than its bid
    assert record.numbers["the run/value"]["value"] == pytest.approx(4 * record.numbers["the run/purchases"]["value"])
    by_purchase = funneltune.ads(run, bids=tmp_path / "bids.csv", slots=2, pays="purchase", payment="first")
    value = by_purchase.numbers["the run/revenue"]["value"]
    assert value == pytest.approx(0.5 * by_purchase.numbers["the run/purchases"]["value"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["slots=0"], "slots=0 must be a whole number, 1 or more"),
        (["slots=1000"], "slots=1000 must be at most 20, the items that compete on the widest test page"),
        (["slots=99", "candidates=popular", "depth=7"], "at most 7, the items that compete on the widest test page"),
        (["slots=1000", "reserve=auto"], "slots=1000 must be at most 20, the items that compete on the widest"),
        (["slots=two"], "slots=two must be a whole number"),
        (["pays=view"], "pays=view must be one of click, purchase"),
        (["payment=third"], "payment=third must be one of second, vcg, first"),
        (["reserve=-1"], "reserve=-1 must be money, 0 or more, or auto"),
        (["budget_share=0"], "budget_share=0 must lie above 0, up to 1"),
        (["decay=9"], "decay=9 must lie in [0, 3]"),
        (["one_each=perhaps"], "one_each=perhaps must be true or false"),
        (["advertiser=seler"], "'seler' is no column of the log's items; did you mean 'seller'?"),
        (["candidates=lexcal"], "candidates='lexcal' must be one of"),
        (["bids=gone.csv"], "bids=gone.csv is no file; name one that ends in"),
        (["reserve=1e9"], "has a bid of 1e+09 or more; lower reserve"),
        (["slot=3"], "slot=3 is no key here, nearest: slots"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["ads", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"item": ["item-000001"]}, "column 'bid' is missing"),
        ({"item": ["item-000001"], "bid": [1.0], "bit": [1]}, "column 'bit' is none of item, bid, value, budget"),
        ({"item": ["item-000001", "item-000001"], "bid": [1, 2]}, "item=item-000001 has two rows"),
        ({"item": ["item-9"], "bid": [1.0]}, "item='item-9' is none of the log's 150 items"),
        ({"item": ["item-000001"], "bid": ["much"]}, "row 1 has bid=much; it must be money, 0 or more"),
        ({"item": ["item-000001"], "bid": [-1.0]}, "row 1 has bid=-1"),
    ],
)
def test_bids_that_cannot_be_read_are_refused(run, rows, told, tmp_path, capsys):
    pd.DataFrame(rows).to_csv(tmp_path / "bids.csv", index=False)
    assert main(["ads", f"run={run}", f"bids={tmp_path / 'bids.csv'}"]) == 2
    assert told in capsys.readouterr().err


def test_an_advertiser_has_one_budget(run, tmp_path, capsys):
    keys = [f"item-{n:06d}" for n in range(150)]
    pd.DataFrame({"item": keys, "bid": 1.0, "budget": range(150)}).to_csv(tmp_path / "bids.csv", index=False)
    assert main(["ads", f"run={run}", f"bids={tmp_path / 'bids.csv'}"]) == 2
    assert "has the budgets 0 and" in capsys.readouterr().err


def test_a_shop_whose_bids_no_one_knows_needs_a_file(run, monkeypatch, capsys):
    from funneltune.decisions.ads import market, study
    from funneltune.errors import ConfigError

    def unknown(source):
        raise ConfigError("not the marketplace")

    monkeypatch.setattr(market, "world_of", unknown)
    assert main(["ads", f"run={run}"]) == 2
    assert "give bids=FILE with columns item, bid" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(study, "world_of", unknown)
    record = funneltune.ads(run, slots=2)
    assert "the run's own prediction" in record.notes[0]
    assert "the oracle/revenue" not in record.numbers
