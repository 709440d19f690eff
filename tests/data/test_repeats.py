"""Rows that repeat another: kept and counted, dropped, refused or listed, the first of them staying."""

import pandas as pd
import pytest

from funneltune.data import Table, prepare
from funneltune.errors import ConfigError, DataError
from tables import GOOD, ROLES

TWICE = pd.concat([GOOD.iloc[:2], GOOD.iloc[[0]].assign(clicked=0, bought=0), GOOD.iloc[2:]], ignore_index=True)
"""Row 3 is row 1 again, with other labels."""


def read(tmp_path, funnel, frame=TWICE, **changes):
    frame.to_csv(tmp_path / "log.csv", index=False)
    return prepare(Table(tmp_path / "log.csv", **{**ROLES, **changes}), funnel, tmp_path / "cache")


def test_copies_are_not_looked_for_unless_asked(tmp_path, funnel):
    store = read(tmp_path, funnel)
    assert store.n_rows == 6
    assert "repeated rows" not in store.manifest["notes"]


@pytest.mark.parametrize(("word", "rows", "clicks"), [("keep", 6, 3), ("drop", 5, 3)])
def test_copies_are_counted_and_the_first_stays(tmp_path, funnel, word, rows, clicks):
    store = read(tmp_path, funnel, duplicates=word)
    assert (store.n_rows, int(store.column("click").sum())) == (rows, clicks)
    assert store.manifest["notes"]["repeated rows"] == {"kept" if word == "keep" else "dropped": 1}


@pytest.mark.tried("bad_table", "bad_input")
def test_copies_are_refused_with_their_row_or_listed(tmp_path, funnel):
    with pytest.raises(
        DataError, match=r"1 row\(s\) repeat item and request and position of an earlier row, first row 3"
    ):
        read(tmp_path, funnel, duplicates="refuse")
    store = read(tmp_path, funnel, duplicates="refuse", bad_rows=1)
    assert store.n_rows == 5
    (path,) = (tmp_path / "cache").glob("quarantine-*.csv")
    assert (
        path.read_text().splitlines()[1].startswith("log.csv,3,sku,repeats row 1,it must not repeat item and request")
    )


def test_each_copy_names_the_first_of_its_kind(tmp_path, funnel):
    frame = TWICE.iloc[[0, 3, 1, 3, 0, 0]]
    with pytest.raises(DataError, match=r"3 row\(s\) repeat .*, first row 4 \(it repeats row 2\); remove them"):
        read(tmp_path, funnel, frame, duplicates="refuse")
    read(tmp_path, funnel, frame, duplicates="refuse", bad_rows=3)
    (path,) = (tmp_path / "cache").glob("quarantine-*.csv")
    told = [line.split(",")[1:4] for line in path.read_text().splitlines()[1:]]
    assert told == [["4", "sku", "repeats row 2"], ["5", "sku", "repeats row 1"], ["6", "sku", "repeats row 1"]]


def test_the_same_item_at_another_position_is_no_copy(tmp_path, funnel):
    frame = TWICE.assign(rank=[0, 1, 2, 0, 1, 2])
    assert read(tmp_path, funnel, frame, duplicates="drop").n_rows == 6
    assert read(tmp_path, funnel, frame, duplicates="drop", position=None).n_rows == 5, "without positions it is"


def test_rows_that_are_requests_of_their_own_are_told_apart_by_shopper_query_item_and_time(tmp_path, funnel):
    alone = {"request": None, "one_row_requests": True, "position": None}
    assert read(tmp_path, funnel, duplicates="drop", **alone).n_rows == 5
    later = TWICE.assign(at=["2025-01-01", "2025-01-01", "2025-01-02", "2025-01-02", "2025-01-02", "2025-01-02"])
    assert read(tmp_path, funnel, later, duplicates="drop", **alone).n_rows == 6


def test_a_row_that_its_labels_leave_out_is_no_first(tmp_path, funnel):
    frame = TWICE.assign(clicked=[0, 0, 0, 1, 1, 0], bought=[1, 0, 0, 0, 1, 0])  # row 1 is bought and not clicked
    store = read(tmp_path, funnel, frame, duplicates="drop", strict="drop")
    assert store.n_rows == 5
    assert store.manifest["notes"]["purchase without click"] == {"rows": 1, "strict": "drop"}
    assert "repeated rows" not in store.manifest["notes"]


@pytest.mark.tried("bad_config", "bad_input")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duplicates": "forget"}, "data.source.duplicates='forget' must be null, refuse, drop or keep"),
        ({"duplicates": "drop", "item": None, "item_text": {}}, "rows are about no item, so none repeats"),
    ],
)
def test_words_that_cannot_be_followed_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Table("log.csv", **{**ROLES, **changes})
