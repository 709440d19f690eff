"""A shop's rules, on a catalogue of five items; and the catalogue with new items."""

import numpy as np
import pandas as pd
import pytest

from funneltune.decisions.assortment import Assortment
from funneltune.decisions.rules import Rules
from funneltune.errors import ConfigError, DataError

ALL = np.arange(5)


class Five:
    """A log's items."""

    keys = tuple(f"item-{n}" for n in range(5))
    titles = tuple(f"title {n}" for n in range(5))
    columns = ("key", "brand", "category", "left")
    price = np.array([5.0, 10.0, 20.0, np.nan, 40.0])

    def column(self, name):
        return np.array(
            {
                "key": self.keys,
                "brand": ["Acme", "Acme", "Zen", "Zen", None],
                "category": ["sofa", "lamp", "sofa", "lamp", "lamp"],
                "left": [3, 0, 1, None, 2],
            }[name],
            dtype=object,
        )


class Unpriced(Five):
    price = None


def allowed(rules, items=None):
    return np.flatnonzero(rules.on(items or Assortment(Five())).allowed(ALL)).tolist()


def test_prices_and_values_of_columns_decide_what_may_be_shown():
    assert allowed(Rules()) == [0, 1, 2, 3, 4]
    assert allowed(Rules(price=[10, None])) == [1, 2, 4]
    assert allowed(Rules(price=[None, 20.0])) == [0, 1, 2]
    assert allowed(Rules(only={"brand": ["Zen", "Acme"], "category": ["lamp"]})) == [1, 3]
    assert allowed(Rules(without={"brand": ["Acme"]})) == [2, 3, 4]


def test_stock_comes_from_a_column_or_a_file_and_what_the_file_leaves_out_is_out(tmp_path):
    assert allowed(Rules(stock="left")) == [0, 2, 4]
    frame = pd.DataFrame({"item": ["item-0", "item-4", "item-9", "item-1"], "stock": [0, 2, 7, None]})
    frame.to_csv(tmp_path / "stock.csv", index=False)
    frame.to_parquet(tmp_path / "stock.parquet")
    for name in ("stock.csv", "stock.parquet"):
        assert allowed(Rules(stock=str(tmp_path / name))) == [4]
    (tmp_path / "words.csv").write_text("item,stock\nitem-0,3\nitem-1,plenty\n")
    with pytest.raises(DataError, match="'plenty' is no count"):
        Rules(stock=str(tmp_path / "words.csv")).on(Assortment(Five()))


def test_boosts_multiply():
    rules = Rules(boost={"brand": {"Acme": 2.0}, "category": {"sofa": 1.5, "lamp": 0.5}}).on(Assortment(Five()))
    assert rules.factor.tolist() == [3, 1, 1.5, 0.5, 0.5]


def test_limits_are_by_value_for_the_candidates_at_hand():
    (limit,) = Rules(at_most={"brand": 2}).on(Assortment(Five())).limits(np.array([4, 0, 1]))
    assert limit.most == 2
    assert limit.kind[1] == limit.kind[2] != limit.kind[0]


def test_a_pinned_item_yields_to_stock_and_to_nothing_else():
    pinned = ["item-0", "item-1"]
    rules = Rules(pinned=pinned, only={"brand": ["Zen"]}, stock="left").on(Assortment(Five()))
    assert rules.pins == {1: 0, 2: 1}
    assert np.flatnonzero(rules.allowed(ALL)).tolist() == [0, 2]
    assert Rules(pinned={7: "item-3"}).on(Assortment(Five())).pins == {7: 3}


def test_what_each_rule_drops_is_counted():
    rules = Rules(stock="left", price=[None, 20]).on(Assortment(Five()))
    assert rules.told(ALL) == "stock drops 2, price drops 2"
    assert Rules().on(Assortment(Five())).told(ALL) == "nothing is dropped"


def test_rules_that_leave_nothing_say_which_dropped_how_many():
    with pytest.raises(ConfigError, match="rules leave none of the 5 items: price drops 5, only brand drops 3") as told:
        Rules(only={"brand": ["Zen"]}, price=[100, None]).on(Assortment(Five()))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"price": [5]}, "must be two numbers >= 0 or null"),
        ({"price": [-1, None]}, "must be two numbers >= 0 or null"),
        ({"price": [9, 3]}, "the lowest is above the highest"),
        ({"boost": {"brand": {"Acme": -1}}}, "rules.boost.brand.Acme=-1 must be a number >= 0"),
        ({"at_most": {"brand": 0}}, "rules.at_most.brand=0 must be a whole number >= 1"),
        ({"pinned": {0: "item-1"}}, "places must be whole numbers >= 1"),
        ({"pinned": ["item-1", "item-1"]}, "names an item twice"),
    ],
)
def test_rules_out_of_range_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        Rules(**given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"only": {"brnd": ["Zen"]}}, "rules.only: the items have no column 'brnd'; did you mean 'brand'"),
        ({"at_most": {"xyz": 1}}, "no column 'xyz'; they have key, brand"),
        ({"without": {"brand": ["Zenn"]}}, "rules.without.brand: no item has 'Zenn'; did you mean 'Zen'"),
        ({"boost": {"category": {"qqqq": 2}}}, "rules.boost.category: no item has 'qqqq'."),
        ({"pinned": ["item-8"]}, "rules.pinned: 'item-8' is none of the 5 items; did you mean"),
        ({"stock": "category"}, None),
    ],
)
def test_what_the_items_do_not_have_is_told(given, told):
    with pytest.raises((ConfigError, DataError), match=told or "rules.stock=category: 'lamp' is no count"):
        Rules(**given).on(Assortment(Five()))


def test_a_price_range_without_prices_is_refused():
    with pytest.raises(ConfigError, match=r"rules.price=\[1, 2\] needs prices, and the log has none"):
        Rules(price=[1, 2]).on(Assortment(Unpriced()))


def test_a_stock_file_that_is_none_is_told(tmp_path):
    (tmp_path / "bare.csv").write_text("item,count\nitem-0,1\n")
    with pytest.raises(DataError, match="has no column stock"):
        Rules(stock=str(tmp_path / "bare.csv")).on(Assortment(Five()))
    with pytest.raises(DataError, match="cannot be read"):
        Rules(stock=str(tmp_path / "gone.csv")).on(Assortment(Five()))


def test_new_items_come_behind_the_logs_with_their_own_fields():
    new = [{"item": "n-1", "title": "New lamp", "brand": "Zen", "price": 7}, {"item": "n-2"}]
    items = Assortment(Five(), new)
    assert (len(items), items.known) == (7, 5)
    assert items.titles[-2:] == ["New lamp", "n-2"]
    assert items.price[-2] == 7
    assert np.isnan(items.price[-1])
    names, codes = items.codes("brand", "here")
    assert [names[code] for code in codes] == ["Acme", "Acme", "Zen", "Zen", "", "Zen", ""]
    assert items.number("n-2", "here") == 6
    assert Assortment(Unpriced(), new).price[5] == 7
    assert Assortment(Unpriced(), new[1:]).price is None


@pytest.mark.parametrize("new", [[{"title": "no name"}], [{"item": "item-3"}], [{"item": "a"}, {"item": "a"}]])
def test_new_items_without_an_identifier_of_their_own_are_refused(new):
    with pytest.raises(ConfigError, match="must be an identifier that no other item has"):
        Assortment(Five(), new)
