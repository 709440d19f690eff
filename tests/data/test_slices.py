"""What an evaluation is cut by, on small logs whose every value is known."""

import numpy as np
import pandas as pd
import pytest

from funneltune.data import Table, prepare
from funneltune.data.slices import Slices, length_band
from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel

CLICKS = TaskFunnel.from_config({"click": {}})
ROLES = {
    "request": "request",
    "user": "user",
    "item": "item",
    "item_text": {"title": "title", "category": "category"},
    "query_text": {"query": "query"},
    "price": "price",
    "labels": {"click": "click"},
    "categorical": ["device"],
    "numeric": ["size"],
}


def frame(requests=12, page=3):
    """Ten training requests of five users and items 0 to 9, then two of a new user and a new item."""
    request = np.repeat(np.arange(requests), page)
    item = np.arange(requests * page) % 10
    item[-page:] = 10
    return pd.DataFrame(
        {
            "request": request,
            "user": np.where(request < 10, request % 5, 9),
            "query": np.array(["lamp", "red lamp", "big red lamp", "a very big red lamp"])[request % 4],
            "item": item,
            "title": [f"thing {number}" for number in item],
            "category": np.array(["light", "rug"])[item % 2],
            "price": 1.0 + item,
            "click": request % 2,
            "device": np.array(["phone", "desk"])[request % 2],
            "size": request.astype(float),
        }
    )


@pytest.fixture
def make(tmp_path):
    def build(rows=None, named=(), train=10, query_text="{query}", **changes):
        (rows if rows is not None else frame()).to_csv(tmp_path / "log.csv", index=False)
        roles = {role: column for role, column in (ROLES | changes).items() if column is not None}
        store = prepare(Table(tmp_path / "log.csv", **roles), CLICKS, tmp_path / "cache")
        return Slices(store, tuple(named), query_text, np.arange(train) if train is not None else None)

    return build


def values(slices, name, rows=None):
    rows = np.arange(slices.store.n_rows) if rows is None else rows
    return slices.columns(rows)[name].tolist()


def test_a_log_gets_every_slice_that_it_has_what_it_needs_for(make):
    assert make().names == ("item_cold", "user_cold", "query_length", "price_band", "item.category")
    plain = make(price=None, item_text={"title": "title"}, query_text=None)
    assert plain.names == ("item_cold", "user_cold")
    assert make(train=None).names == ()


def test_what_no_training_row_shows_is_cold(make):
    slices = make()
    assert values(slices, "item_cold") == [0] * 33 + [1] * 3
    assert values(slices, "user_cold") == [0] * 30 + [1] * 6


def test_query_lengths_are_told_in_bands(make):
    assert values(make(), "query_length")[::3] == ["1", "2", "3-4", "5+"] * 3


@pytest.mark.parametrize(
    ("text", "band"),
    [("", "0"), ("沙发", "2"), ("北欧沙发", "3-4"), ("ipad 保护套", "3-4"), ("赤いソファー", "5+"), (" a  b ", "2")],
)
def test_characters_count_where_no_space_parts_words(text, band):
    assert length_band(text) == band


def test_prices_are_cut_at_the_quartiles_of_the_training_rows(make):
    rows = frame()
    train = rows["price"][:30].to_numpy()
    low, middle, high = np.quantile(train, [0.25, 0.5, 0.75])
    wanted = np.select(
        [rows["price"] <= low, rows["price"] <= middle, rows["price"] <= high],
        ["low", "middle-low", "middle-high"],
        "high",
    )
    assert values(make(), "price_band") == wanted.tolist()
    rows.loc[30:, "price"] = 1000.0  # other rows than those of training move no quartile
    assert values(make(rows), "price_band")[:30] == wanted[:30].tolist()


def test_categories_are_called_by_their_names_and_the_rare_ones_other(make):
    rows = frame()
    assert values(make(named=["device"]), "device")[:6] == ["phone"] * 3 + ["desk"] * 3
    rows["device"] = [f"d{number:02}" for number in range(36)]
    rows.loc[:9, "device"] = "d35"  # the most frequent of the training rows
    found = values(make(rows, named=["device"]), "device")
    assert len(set(found)) == 21
    assert found[0] == found[35] == "d35"
    assert found[10] == "d10"
    assert found[29] == found[30] == "other"


def test_one_value_more_than_are_kept_needs_no_other(make):
    rows = frame()
    rows["device"] = [f"d{number % 21:02}" for number in range(36)]
    assert "other" not in values(make(rows, named=["device"]), "device")


def test_a_column_of_an_entity_is_a_slice(make):
    assert values(make(named=["item.title"], train=12), "item.title")[:3] == ["thing 0", "thing 1", "thing 2"]
    rows = frame()
    rows["category"] = "bed [double]"
    assert set(values(make(rows), "item.category")) == {"bed (double)"}


def test_other_columns_are_taken_as_they_are(make):
    assert values(make(named=["size", "position"]), "size")[::3] == list(range(12))


def test_a_column_that_is_named_goes_before_an_automatic_slice(make):
    rows = frame().rename(columns={"device": "price_band"})
    assert values(make(rows, named=["price_band"], categorical=["price_band"]), "price_band")[0] == "phone"
    assert values(make(rows, categorical=["price_band"]), "price_band")[0] == "low"


def test_automatic_slices_of_one_value_are_not_worth_measuring(make):
    slices = make(named=["device"])
    assert slices.telling(slices.columns(np.arange(3))) == ["item.category", "device"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"named": ["colour"]}, "the log has no column 'colour'"),
        ({"named": ["item.categry"]}, "did you mean 'item.category'"),
        ({"named": ["price_band"], "price": None}, "'price_band' and nothing to make it of"),
        ({"named": ["query_length"], "query_text": None}, "'query_length' and nothing to make it of"),
    ],
)
def test_a_named_slice_that_is_not_there_is_refused(make, changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_an_evaluation_of_the_test_split_is_cut(make_data):
    data = make_data(slices=["user.segment"])
    columns = data.columns("test")
    assert {"item_cold", "user_cold", "query_length", "price_band", "item.category", "user.segment"} <= set(columns)
    assert set(columns["price_band"]) == {"low", "middle-low", "middle-high", "high"}
    with pytest.raises(DataError, match="no column 'user.segmnt'"):
        make_data(slices=["user.segmnt"])
