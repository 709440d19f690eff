"""Rows with faults are left out up to a limit, listed for whoever mends them, and never read otherwise than written."""

import csv
import json
import logging

import numpy as np
import pandas as pd
import pytest

from funneltune.data import Table, prepare, validate
from funneltune.data.sources import quarantine
from funneltune.data.sources.lateness import MOMENT
from funneltune.data.sources.quarantine import BadRows
from funneltune.data.sources.table import LEFT_OUT
from funneltune.errors import ConfigError, DataError
from tables import GOOD, ROLES

LONG = pd.concat([GOOD.assign(session=GOOD["session"] + f"-{i}") for i in range(20)], ignore_index=True)
"""100 rows."""
SCHEMA = {"price": {"least": 0, "most": 100}}


def write(tmp_path, frame=LONG, name="log.csv"):
    frame.to_csv(tmp_path / name, index=False)
    return tmp_path / name


def spoilt(**cells):
    """The long log with values at places: price={3: -1}."""
    frame = LONG.astype(object).copy()
    for column, values in cells.items():
        for row, value in values.items():
            frame.loc[row - 1, column] = value
    return frame


def listed(folder):
    (path,) = folder.glob("quarantine-*.csv")
    with path.open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


FAULTS = {
    "a price that is no number": ({"price": {7: "dear"}}, ("price", "'dear'", "it must be a finite number")),
    "a price that is not finite": ({"price": {7: "inf"}}, ("price", "'inf'", "it must be a finite number")),
    "no price": ({"price": {7: None}}, ("price", "nothing", "it must be a finite number")),
    "a price out of range": ({"price": {7: 1e6}}, ("price", "'1000000.0'", "it must be at most 100")),
    "a label that is none": (
        {"clicked": {7: 2}},
        ("clicked", "'2'", "it must be 0 or 1 (or set at_least, or equals)"),
    ),
    "no item": ({"sku": {7: " "}}, ("sku", "nothing", "it must be a value")),
    "no shopper": ({"shopper": {7: None}}, ("shopper", "nothing", "it must be a value")),
    "a purchase without a click": (
        {"clicked": {7: 0}, "bought": {7: 1}},
        ("bought", "purchase=1", "'purchase' must not hold without click"),
    ),
    "a time that is none": ({"at": {7: "soon"}}, ("at", "'soon'", f"it must be {MOMENT}")),
    "a time in milliseconds": ({"at": {7: 1735732800000}}, ("at", "'1735732800000'", f"it must be {MOMENT}")),
}


@pytest.mark.tried("bad_table", "bad_input")
@pytest.mark.parametrize("case", FAULTS)
def test_a_row_with_a_fault_is_left_out_and_listed(tmp_path, funnel, case):
    changes, (column, value, rule) = FAULTS[case]
    table = Table(write(tmp_path, spoilt(**changes)), **ROLES, schema=SCHEMA, bad_rows=0.01)
    store = prepare(table, funnel, tmp_path / "cache")
    ((file, row, *rest),) = listed(tmp_path / "cache")
    assert (file, row) == ("log.csv", "7")
    assert rest == [column, value, rule]
    without = prepare(Table(write(tmp_path, LONG.drop(6), "good.csv"), **ROLES), funnel, tmp_path / "other")
    for name in without.table("impressions").column_names:
        np.testing.assert_array_equal(store.column(name), without.column(name))
    note = store.manifest["notes"][LEFT_OUT]
    assert note["rows"] == 1
    assert note["file"] == str(next((tmp_path / "cache").glob("quarantine-*.csv")))


@pytest.mark.tried("bad_table", "bad_input")
def test_lines_of_another_number_of_fields_are_listed_by_their_row(tmp_path, funnel):
    lines = write(tmp_path).read_text().splitlines()
    lines[4] += ",more"
    lines[9] = lines[9].rsplit(",", 2)[0]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"row 4 has 12 fields, the header 11 \(2 such\); quote the texts"):
        prepare(Table(tmp_path / "log.csv", **ROLES), funnel, tmp_path / "cache")
    store = prepare(Table(tmp_path / "log.csv", **ROLES, bad_rows=2), funnel, tmp_path / "cache")
    rule = "a row must have 11 fields, as the header"
    assert listed(tmp_path / "cache") == [
        ("log.csv", "4", "", "12 fields", rule),
        ("log.csv", "9", "", "9 fields", rule),
    ]
    assert store.n_rows == 98


def test_a_row_that_lost_its_end_does_not_belong_where_the_map_says_so(tmp_path, funnel):
    path = write(tmp_path)
    path.write_text(path.read_text().rstrip("\n").rsplit(",", 2)[0] + "\n")
    store = prepare(Table(path, **ROLES, where={"clicked": [0, 1]}), funnel, tmp_path / "cache")
    assert store.n_rows == 99
    assert store.manifest["notes"]["rows outside where"] == {"clicked": 1}


@pytest.mark.tried("bad_table", "bad_input")
@pytest.mark.parametrize("limit", [0.02, 2])
def test_more_than_the_limit_refuses_the_log_and_leaves_the_list(tmp_path, funnel, limit):
    frame = spoilt(price={3: "dear", 50: "x", 51: -1}, clicked={50: "no"})
    path = write(tmp_path, frame)
    with pytest.raises(
        DataError, match=rf"3 of 100 rows have faults, data\.source\.bad_rows={limit} allows 2:"
    ) as told:
        prepare(Table(path, **ROLES, schema=SCHEMA, bad_rows=limit), funnel, tmp_path / "cache")
    assert "column 'price': it must be a finite number (2)" in str(told.value)
    assert "column 'price': it must be at least 0 (1)" in str(told.value)
    assert "\n" not in str(told.value)
    (left,) = (tmp_path / "cache").iterdir()
    assert str(left) in str(told.value)
    assert [row[1] for row in listed(tmp_path / "cache")] == ["3", "50", "50", "51"], "a fault each, a row once"
    prepare(Table(path, **ROLES, schema=SCHEMA, bad_rows=3), funnel, tmp_path / "cache")


@pytest.mark.tried("bad_table", "bad_input")
def test_a_log_of_which_no_row_is_left_is_refused(tmp_path, funnel):
    path = write(tmp_path, LONG.assign(clicked="yes"))
    with pytest.raises(DataError, match="100 of 100 rows have faults, .* allows 500, and no row is left"):
        prepare(Table(path, **ROLES, bad_rows=500), funnel, tmp_path / "cache")


@pytest.mark.tried("bad_table", "bad_input")
def test_without_a_limit_the_first_fault_refuses_the_log_and_nothing_is_left(tmp_path, funnel):
    with pytest.raises(DataError, match="column 'price'"):
        prepare(Table(write(tmp_path, spoilt(price={3: "dear"})), **ROLES), funnel, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_rows_of_several_files_are_named_by_the_file(tmp_path, funnel):
    folder = tmp_path / "days"
    folder.mkdir()
    for day in (1, 2):
        write(folder, LONG, f"day-{day}.csv")
    write(folder, spoilt(price={7: "dear"}), "day-3.csv")
    with pytest.raises(DataError, match=r"holds 'dear' in row 7 of day-3\.csv"):
        prepare(Table(folder, **ROLES), funnel, tmp_path / "cache")
    prepare(Table(folder, **ROLES, bad_rows=1), funnel, tmp_path / "cache")
    assert listed(tmp_path / "cache")[0][:2] == ("day-3.csv", "7")


def test_the_list_may_lie_elsewhere_and_where_it_lies_is_no_part_of_the_log(tmp_path, funnel):
    path = write(tmp_path, spoilt(price={3: "dear"}))
    here = Table(path, **ROLES, bad_rows=1)
    there = Table(path, **ROLES, bad_rows={"limit": 1, "folder": str(tmp_path / "lists")})
    assert here.describe() == there.describe()
    prepare(there, funnel, tmp_path / "cache")
    assert len(listed(tmp_path / "lists")) == 1


@pytest.mark.tried("bad_config", "bad_input")
@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_folder_for_the_list_that_is_a_file_is_refused(tmp_path, below):
    path = write(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.source\.bad_rows\.folder=.*log\.csv is a file; name a folder\.$"):
        BadRows.parse({"limit": 1, "folder": f"{path}{below}"})


def test_what_is_validated_lists_its_rows_where_training_would(tmp_path, funnel):
    table = Table(write(tmp_path, spoilt(price={3: "dear"})), **ROLES, bad_rows=1)
    found = validate(table, funnel, beside=tmp_path / "cache")
    assert f"{LEFT_OUT}: rows: 1, column 'price': it must be a finite number: 1, file: " in found.in_words()
    before = listed(tmp_path / "cache")
    prepare(table, funnel, tmp_path / "cache")
    assert listed(tmp_path / "cache") == before


def test_what_is_left_out_is_warned_of(tmp_path, funnel, caplog):
    with caplog.at_level(logging.WARNING, "funneltune"):
        prepare(Table(write(tmp_path, spoilt(price={3: "x"})), **ROLES, bad_rows=1), funnel, tmp_path / "cache")
    assert "log.csv: 1 row has a fault and is left out, see " in caplog.text


def test_a_log_without_faults_leaves_no_list(tmp_path, funnel):
    store = prepare(Table(write(tmp_path), **ROLES, bad_rows=0.01), funnel, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [store.folder.name]
    assert LEFT_OUT not in store.manifest["notes"]


def test_chunks_do_not_matter(tmp_path, funnel, monkeypatch):
    path = write(tmp_path, spoilt(price={3: "x", 40: -1, 41: "y"}, sku={100: ""}, clicked={1: 0}))
    whole = prepare(Table(path, **ROLES, schema=SCHEMA, bad_rows=9), funnel, tmp_path / "whole")
    monkeypatch.setattr("funneltune.data.sources.reading.CHUNK", 3)
    parts = prepare(Table(path, **ROLES, schema=SCHEMA, bad_rows=9), funnel, tmp_path / "parts")
    for name in whole.table("impressions").column_names:
        np.testing.assert_array_equal(whole.column(name), parts.column(name))
    assert listed(tmp_path / "whole") == listed(tmp_path / "parts")


def test_what_only_the_whole_log_shows_is_listed_by_row_too(tmp_path, funnel, monkeypatch):
    frame = spoilt(price={3: "x", 90: "y"}, clicked={50: 0}, bought={50: 1})
    frame = pd.concat([frame.iloc[:60], frame.iloc[[10]], frame.iloc[60:]], ignore_index=True)
    monkeypatch.setattr("funneltune.data.sources.reading.CHUNK", 20)
    prepare(Table(write(tmp_path, frame), **ROLES, bad_rows=9, duplicates="refuse"), funnel, tmp_path / "cache")
    assert [(row, column, value) for _, row, column, value, _ in listed(tmp_path / "cache")] == [
        ("3", "price", "'x'"),
        ("50", "bought", "purchase=1"),
        ("61", "sku", "repeats row 11"),
        ("91", "price", "'y'"),
    ]


@pytest.mark.tried("persons", "canary")
def test_no_message_and_no_list_holds_a_shopper_or_a_query(tmp_path, funnel, tally):
    canaries = ["CANARY-shopper", "CANARY-query", "CANARY-session"]
    frame = spoilt(shopper={3: canaries[0]}, q={3: canaries[1]}, session={3: canaries[2]})
    frame["price"] = [row % 3 and canaries[row % 3] for row in range(100)]  # a column that slipped
    schema = {name: {"pattern": "[a-z]+"} for name in ("shopper", "q", "session")}
    path = write(tmp_path, frame)
    for limit in (None, 0.5, 99):
        with pytest.raises(DataError) as told:
            prepare(Table(path, **ROLES, schema=schema, bad_rows=limit), funnel, tmp_path / "cache")
        assert "CANARY" not in str(told.value)
    texts = [path.read_text() for path in (tmp_path / "cache").iterdir()]
    assert texts
    assert not any("CANARY" in text for text in texts)
    tally(len(canaries))


def test_the_list_ends_somewhere_and_says_so(tmp_path, funnel, monkeypatch):
    monkeypatch.setattr(quarantine, "WRITTEN", 5)
    path = write(tmp_path, LONG.assign(price="x"))
    with pytest.raises(DataError, match=r"it must be a finite number \(100\); .* \(the first 5 of 100 faults\)"):
        prepare(Table(path, **ROLES, bad_rows=0.5), funnel, tmp_path / "cache")
    assert len(listed(tmp_path / "cache")) == 5


def test_a_limit_is_part_of_the_log_and_null_changes_nothing(tmp_path):
    path = write(tmp_path)
    plain = Table(path, **ROLES).describe()
    assert Table(path, **ROLES, bad_rows=None, schema=None, duplicates=None).describe() == plain
    assert set(Table(path, **ROLES, bad_rows=0.1).describe()) - set(plain) == {"bad_rows"}
    assert Table(path, **ROLES, bad_rows=0.1).describe() != Table(path, **ROLES, bad_rows=0.2).describe()
    assert json.dumps(Table(path, **ROLES, bad_rows=0.1, schema=SCHEMA, duplicates="drop").describe())


def test_rows_to_predict_are_never_left_out(tmp_path, funnel):
    path = write(tmp_path, spoilt(price={3: "dear"}))
    with pytest.raises(DataError, match="column 'price' .* holds 'dear' in row 3"):
        prepare(Table(path, **ROLES, bad_rows=9).unlabelled(path), funnel, tmp_path / "cache")


@pytest.mark.parametrize(("limit", "rows", "allowed"), [(0.01, 1000, 10), (0.01, 99, 0), (5, 10, 5), (1, 10, 1)])
def test_a_limit_is_a_share_or_a_number(limit, rows, allowed):
    assert BadRows.parse(limit).allows(rows) == allowed


@pytest.mark.tried("bad_config", "bad_input")
@pytest.mark.parametrize(
    "node", [0, -1, 1.5, True, "some", [1], {"limit": None}, {"limt": 1}, {"limit": 1, "fold": "x"}, float("nan"), {}]
)
def test_a_limit_that_is_none_is_refused(node):
    with pytest.raises(ConfigError, match="data.source.bad_rows=.* must be null"):
        BadRows.parse(node)
