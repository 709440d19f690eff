"""`funneltune stock`: what it prints, writes and refuses."""

import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.records import DecisionRecord
from stocking_shop import shop


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return shop(tmp_path_factory)


def test_it_prints_orders_and_costs_and_writes_record_rows_and_picture(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["lead_time=2", "review=3", "baselines=none", "calibration=temperature", f"output={out}"]
    assert main(["stock", f"run={run}", *words]) == 0
    printed = capsys.readouterr().out
    for told in (
        "the largest orders",
        "fill rate",
        "the truth",
        "without stock that day",
        f"orders: {out / 'orders.csv'}",
    ):
        assert told in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.settings["sold_out"] == "the world's"
    assert record.settings["calibration"].startswith("temperature")
    assert record.numbers["the run less the truth/cost"]["value"] > 0
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    orders = pd.read_csv(out / "orders.csv")
    assert list(orders.columns) == ["item", "on_hand", "quantity", "reason"]
    assert len(orders) == 60
    assert orders.reason.str.contains("expected in 5 days").all()
    assert orders.quantity.sum() > 50
    assert main(["stock", f"run={run}", *words]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_from_python_with_shelves_and_days_without_stock_of_files(run, tmp_path):
    keys = [f"item-{n:06d}" for n in range(60)]
    pd.DataFrame({"item": keys, "on_hand": 10_000}).to_csv(tmp_path / "shelves.csv", index=False)
    pd.DataFrame({"item": keys[:2], "day": "2025-01-20"}).to_csv(tmp_path / "out.csv", index=False)
    record = funneltune.stock(
        run, on_hand=tmp_path / "shelves.csv", sold_out=tmp_path / "out.csv", baselines=["none"], service_level=0.9
    )
    assert record.tables["orders"]["rows"] == []
    assert "60 of 60 items need no order now: they stand in the file, not in the list." in record.notes
    assert "as service_level asks" in record.notes[0]
    assert record.settings["sold_out"].endswith("out.csv")


def test_items_with_nothing_to_order_are_in_the_file_and_not_in_the_list(run, tmp_path, capsys):
    keys = [f"item-{n:06d}" for n in range(60)]
    pd.DataFrame({"item": keys[:57], "on_hand": 10_000}).to_csv(tmp_path / "shelves.csv", index=False)
    words = [f"on_hand={tmp_path / 'shelves.csv'}", "lead_time=2", "review=3", "baselines=none"]
    assert main(["stock", f"run={run}", *words, f"output={tmp_path / 'out'}"]) == 0
    shown = capsys.readouterr().out
    record = DecisionRecord.read(tmp_path / "out" / "decision.json")
    orders = pd.read_csv(tmp_path / "out" / "orders.csv")
    listed = {row[0]: row[2] for row in record.tables["orders"]["rows"]}
    assert listed == {item: n for item, n in zip(orders["item"], orders["quantity"], strict=True) if n}
    assert 0 < len(listed) <= 3
    assert len(orders) == 60
    assert f"{60 - len(listed)} of 60 items need no order now" in " ".join(shown.split())
    full = [f"on_hand={tmp_path / 'full.csv'}", "lead_time=2", "review=3", "baselines=none"]
    pd.DataFrame({"item": keys, "on_hand": 10_000}).to_csv(tmp_path / "full.csv", index=False)
    assert main(["stock", f"run={run}", *full]) == 0
    assert "the largest orders" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["holding_cost=0"], "holding_cost=0 must be money, above 0"),
        (["shortage_cost=-1"], "shortage_cost=-1 must be money, above 0"),
        (["service_level=1"], "service_level=1 must lie above 0 and below 1"),
        (["lead_time=-1"], "lead_time=-1 must lie in 0 .. 365 days"),
        (["lead_time=soon"], "lead_time=soon must be a whole number"),
        (["review=0"], "review=0 must lie in 1 .. 365 days"),
        (["traffic_model=tea"], "traffic_model=tea must be one of weekday, naive, ets"),
        (["lead_time=30"], "whole held-out days comes after the last; lower lead_time"),
        (["on_hand=gone.csv"], "on_hand=gone.csv is no file; name one that ends in"),
        (["sold_out=gone.csv"], "sold_out=gone.csv is no file; name one that ends in"),
        (["lead=3"], "lead=3 is no key here, nearest: lead_time"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["stock", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
