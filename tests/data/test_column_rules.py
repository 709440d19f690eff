"""A declared schema: each rule holds for what it says, empty cells are counted, and what is wrong with it is told."""

import pandas as pd
import pytest

from funneltune.data import Table, prepare
from funneltune.data.sources.column_rules import ColumnRule, Schema
from funneltune.data.sources.lateness import MOMENT
from funneltune.errors import ConfigError, DataError
from tables import GOOD, ROLES


def broken(rule, values):
    """Rule in words -> places that break it."""
    raw = pd.Series(values, dtype="string")
    found = {said: [i for i, wrong in enumerate(mask) if wrong] for said, mask in rule.broken(raw)}
    return {said: places for said, places in found.items() if places}


CASES = {
    "numbers": (ColumnRule("number"), ["1", "-2.5e3", "x", "inf", "nan?", None, " "], {"a finite number": [2, 3, 4]}),
    "whole numbers": (ColumnRule("whole"), ["1", "1.0", "1.5", None, "x"], {"a whole number": [2, 4]}),
    "bounds hold": (ColumnRule("number", 0, 10), ["0", "10", "5"], {}),
    "bounds": (ColumnRule("number", 0, 10), ["-0.1", "10.1", None], {"at least 0": [0], "at most 10": [1]}),
    "what is no number is out of no range": (ColumnRule("number", 0, 10), ["x"], {"a finite number": [0]}),
    "times": (ColumnRule("time"), ["2024-05-01", "1700000000", "2024-05-01T10:00:00Z", "soon", "1700000000000"], {
        MOMENT: [3, 4]
    }),
    "time bounds": (ColumnRule("time", 1704067200.0), ["2023-12-31T23:59:59", "2024-01-01"], {
        "at least 2024-01-01T00:00:00": [0]
    }),
    "a list of words": (ColumnRule(one_of=("red", "blue")), ["red", "Red", None, "blue"], {"one of red, blue": [1]}),
    "a list of numbers": (ColumnRule("number", one_of=("1", "2")), ["1.0", "2", "3"], {"one of 1, 2": [2]}),
    "a pattern is of the whole text": (ColumnRule(pattern="[A-Z]{2}[0-9]+"), ["AB12", "AB12x", "xAB1", None], {
        "a text of the pattern [A-Z]{2}[0-9]+": [1, 2]
    }),
    "a pattern of Python's own": (ColumnRule(pattern="(?!bad).*"), ["good", "bad1"], {
        "a text of the pattern (?!bad).*": [1]
    }),
    "no empty cell": (ColumnRule(null_rate=0), ["a", None, " ", ""], {"a value": [1, 2, 3]}),
    "a share of empty cells is no cell's fault": (ColumnRule(null_rate=0.1), [None, None], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_rule_finds_its_cells(case):
    rule, values, expected = CASES[case]
    assert broken(rule, values) == expected


def read(tmp_path, funnel, frame=GOOD, **more):
    frame.to_csv(tmp_path / "log.csv", index=False)
    return prepare(Table(tmp_path / "log.csv", **ROLES, **more), funnel, tmp_path / "cache")


@pytest.mark.tried("bad_table", "bad_input")
def test_a_broken_rule_is_told_with_row_column_value_rule_and_remedy(tmp_path, funnel):
    schema = {"price": {"most": 15}, "colour": {"one_of": ["red"]}, "rank": {"type": "whole", "least": 1}}
    with pytest.raises(DataError) as told:
        read(tmp_path, funnel, schema=schema)
    for part in (
        "log.csv (rows count from 1, a header does not): column 'price' holds '20.0' in row 2 (1 such); it must be at "
        "most 15 (data.source.schema.price): mend the file, or leave such rows out, bad_rows: 0.01 under source",
        "column 'colour' holds 'blue' in row 2 (2 such); it must be one of red (data.source.schema.colour)",
        "column 'rank' holds '0' in row 1 (2 such); it must be at least 1",
    ):
        assert part in str(told.value)


@pytest.mark.tried("bad_table", "bad_input")
def test_columns_that_are_empty_too_often_refuse_the_log_and_no_list_helps(tmp_path, funnel):
    frame = GOOD.assign(colour=["red", None, " ", "red", "red"])
    for limit in (None, 0.9):
        with pytest.raises(
            DataError, match=r"column 'colour' is empty in 2 of 5 rows \(40\.0%\); at most 30\.0% may be"
        ):
            read(tmp_path, funnel, frame, schema={"colour": {"null_rate": 0.3}}, bad_rows=limit)
    store = read(tmp_path, funnel, frame, schema={"colour": {"null_rate": 0.4}})
    assert store.manifest["notes"]["empty cells"] == {"colour": 2}


def test_rules_are_about_the_file_and_before_what_is_filled(tmp_path, funnel):
    frame = GOOD.assign(colour=["red", None, "red", "red", "red"])
    with pytest.raises(DataError, match="column 'colour' holds nothing in row 2"):
        read(tmp_path, funnel, frame, fill={"colour": "red"}, schema={"colour": {"null_rate": 0}})


def test_columns_that_nothing_else_reads_may_have_rules(tmp_path, funnel):
    frame = GOOD.assign(currency=["EUR", "EUR", "USD", "EUR", "EUR"])
    with pytest.raises(DataError, match="column 'currency' holds 'USD' in row 3"):
        read(tmp_path, funnel, frame, schema={"currency": {"one_of": ["EUR"]}})
    with pytest.raises(DataError, match="column 'currncy' is missing; did you mean 'currency'"):
        read(tmp_path, funnel, frame, schema={"currncy": {"one_of": ["EUR"]}})


def test_a_schema_that_holds_changes_no_column(tmp_path, funnel):
    plain = read(tmp_path, funnel)
    ruled = read(tmp_path, funnel, schema={"price": {"least": 0}, "colour": {"null_rate": 0.1}, "at": {"type": "time"}})
    assert ruled.folder != plain.folder
    assert ruled.table("impressions").equals(plain.table("impressions"))


def test_rows_to_predict_keep_to_the_rules_of_inputs_alone(tmp_path, funnel):
    schema = {"price": {"most": 15}, "bought": {"one_of": [0]}, "colour": {"null_rate": 0.1}}
    table = Table(tmp_path / "log.csv", **ROLES, schema=schema)
    bare = GOOD.drop(columns=["clicked", "bought"]).assign(price=1, colour="")
    bare.to_csv(tmp_path / "new.csv", index=False)
    assert prepare(table.unlabelled(tmp_path / "new.csv"), funnel, tmp_path / "cache").n_rows == 5
    bare.assign(price=16).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match="column 'price' holds '16' in row 1"):
        prepare(table.unlabelled(tmp_path / "new.csv"), funnel, tmp_path / "cache")


@pytest.mark.tried("bad_config", "bad_input")
@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("price", "data.source.schema='price' must be null, or {COLUMN: {type, least,"),
        ({"price": 3}, "data.source.schema.price=3 must be a mapping with some of type, least"),
        ({"price": {"leest": 0}}, r"data.source.schema.price.leest is no rule \(nearest: least\)"),
        (
            {"price": {"type": "float"}},
            "data.source.schema.price.type='float' must be one of number, whole, text, time",
        ),
        ({"price": {"type": "text", "least": 0}}, "least and most are of numbers and times"),
        ({"price": {"least": "cheap"}}, "data.source.schema.price.least='cheap' must be a finite number"),
        ({"price": {"least": 5, "most": 1}}, "least=5 is above most=1"),
        ({"at": {"type": "time", "most": "later"}}, "most='later' must be unix seconds or ISO 8601"),
        ({"colour": {"one_of": "red"}}, "one_of='red' must be a list of values"),
        ({"colour": {"one_of": []}}, "must be a list of values"),
        ({"rank": {"type": "whole", "one_of": ["a"]}}, "must be a list of numbers, as its type is whole"),
        ({"sku": {"pattern": "("}}, r"pattern='\(' is no regular expression"),
        ({"sku": {"null_rate": 1}}, r"null_rate=1 must be a share in \[0, 1\)"),
        ({"sku": {"null_rate": True}}, "null_rate=True must be a share"),
    ],
)
def test_rules_that_say_nothing_are_refused(node, message):
    with pytest.raises(ConfigError, match=message):
        Schema.parse(node)


def test_all_faults_of_a_schema_come_together():
    with pytest.raises(ConfigError, match=r"schema\.price\.leest .*; data\.source\.schema\.sku\.null_rate=2"):
        Schema.parse({"price": {"leest": 0}, "sku": {"null_rate": 2}})
