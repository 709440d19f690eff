"""Tables beside the log, labels that are there or not, grades in words."""

import pandas as pd
import pytest

from funneltune.data import Table, prepare
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

FUNNEL = TaskFunnel.from_config({"good": {}})
JOIN = {"path": "products.tsv", "by": ["sku", "shop"], "columns": ["title", "brand"]}
MAP = {
    "query_text": {"query": "q"},
    "item": "sku",
    "item_text": {"title": "title"},
    "labels": {"good": "good"},
    "joins": [JOIN],
}
LOG = pd.DataFrame(
    {
        "q": ["lamp", "lamp", "sofa", "sofa"],
        "sku": ["a", "b", "a", "c"],
        "shop": ["us", "us", "us", "jp"],
        "good": [1, 0, 1, 0],
    }
)
PRODUCTS = pd.DataFrame(
    {
        "sku": ["c", "b", "a", "a"],
        "shop": ["jp", "us", "us", "jp"],
        "title": ["Couch", "Shade", "Lamp", "ランプ"],
        "brand": ["Acme", None, "Bolt", "Bolt"],
        "weight": [1, 2, 3, 4],
    }
)


def log(tmp_path, frame=LOG, products=PRODUCTS):
    frame.to_csv(tmp_path / "log.tsv", sep="\t", index=False)
    if products is not None:
        products.to_csv(tmp_path / "products.tsv", sep="\t", index=False)
    return tmp_path / "log.tsv"


def store_of(path, tmp_path, **changes):
    return prepare(Table(path, **{**MAP, **changes}), FUNNEL, tmp_path / "cache")


def titles(store):
    texts = store.text("items", "{title}")
    return [texts[item] for item in store.column("item")]


def test_each_row_finds_the_columns_of_its_key(tmp_path):
    store = store_of(log(tmp_path), tmp_path, categorical=["brand"])
    assert titles(store) == ["Lamp", "Shade", "Lamp", "Couch"]
    words = store.manifest["notes"]["categories"]["brand"]
    assert [words[code] for code in store.column("brand")] == ["Bolt", "", "Bolt", "Acme"]


def test_chunks_and_order_do_not_show(tmp_path, monkeypatch):
    whole = titles(store_of(log(tmp_path), tmp_path))
    monkeypatch.setattr("funneltune.data.sources.reading.CHUNK", 1)
    monkeypatch.setattr("funneltune.data.sources.collected.AT_ONCE", 1)
    assert titles(prepare(Table(log(tmp_path), **MAP), FUNNEL, tmp_path / "other")) == whole


def test_a_second_join_may_use_a_column_of_the_first(tmp_path):
    pd.DataFrame({"brand": ["Acme", "Bolt"], "land": ["FR", "DE"]}).to_csv(tmp_path / "brands.tsv", sep="\t")
    more = {"path": "brands.tsv", "by": "brand", "columns": "land"}
    frame = LOG[LOG.sku != "b"]
    store = store_of(log(tmp_path, frame), tmp_path, joins=[JOIN, more], categorical=["land"])
    words = store.manifest["notes"]["categories"]["land"]
    assert [words[code] for code in store.column("land")] == ["DE", "DE", "FR"]


def test_a_side_table_may_call_a_column_otherwise(tmp_path):
    products = PRODUCTS.rename(columns={"sku": "product"})
    path = log(tmp_path, products=products)
    assert titles(store_of(path, tmp_path, joins=[{**JOIN, "rename": {"product": "sku"}}]))[3] == "Couch"


def test_rows_outside_the_log_are_not_looked_up(tmp_path):
    path = log(tmp_path, products=PRODUCTS[PRODUCTS.shop == "us"])
    assert titles(store_of(path, tmp_path, where={"shop": "us"})) == ["Lamp", "Shade", "Lamp"]
    assert titles(store_of(log(tmp_path), tmp_path, where={"shop": "jp"})) == ["Couch"]


def test_what_is_covered_by_fill_may_be_without_a_match_and_is_counted(tmp_path):
    path = log(tmp_path, products=PRODUCTS[PRODUCTS.shop == "us"])
    store = store_of(path, tmp_path, fill={"title": "unknown", "brand": "none"})
    assert titles(store) == ["Lamp", "Shade", "Lamp", "unknown"]
    assert store.manifest["notes"]["rows without a match"] == {"products.tsv": 1}
    assert store.manifest["notes"]["filled"] == {"title": 1, "brand": 2}


def test_rows_to_predict_are_joined_to_the_same_table_wherever_they_lie(tmp_path):
    source = Table(log(tmp_path), **{**MAP, "where": {"shop": "us"}})
    (tmp_path / "new").mkdir()
    rows = LOG.iloc[[3]].drop(columns="good")
    rows.to_csv(tmp_path / "new" / "rows.tsv", sep="\t", index=False)
    assert titles(prepare(source.unlabelled(tmp_path / "new" / "rows.tsv"), FUNNEL, tmp_path / "cache")) == ["Couch"]


def test_another_side_table_is_another_log(tmp_path):
    before = Table(log(tmp_path), **MAP).describe()
    assert Table(log(tmp_path), **MAP).describe() == before
    assert Table(log(tmp_path, products=PRODUCTS.assign(title="x")), **MAP).describe() != before


FAULTS = {
    "no file": ({}, {"products": None}, r"data.source.joins\[0\].path=.*products.tsv is not there"),
    "no match": (
        {},
        {"products": PRODUCTS.iloc[1:]},
        r"row 4: sku='c' with its shop has no match in products.tsv \(1 such\)",
    ),
    "no match, half covered": ({"fill": {"brand": ""}}, {"products": PRODUCTS.iloc[1:]}, r"fill: \{title: VALUE\}"),
    "a key twice": ({}, {"products": pd.concat([PRODUCTS, PRODUCTS])}, "sku, shop = 'c, jp' in two rows"),
    "no rows": ({}, {"products": PRODUCTS.iloc[:0]}, "products.tsv has no rows to join"),
    "no key": ({}, {"frame": LOG.drop(columns="shop")}, r"joins\[0\]: the log has no column 'shop'"),
    "no column": ({"joins": [{**JOIN, "columns": ["titel"]}]}, {}, "no column 'titel'; did you mean 'title'"),
    "a column of both": ({}, {"frame": LOG.assign(brand="x")}, r"column 'brand' is in the log too; .*rename"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_joins_that_fail_are_told_in_one_line_and_leave_nothing(tmp_path, case):
    changes, files, message = FAULTS[case]
    path = log(tmp_path, **files)
    with pytest.raises(DataError, match=message) as error:
        store_of(path, tmp_path, **changes)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache").iterdir() if (tmp_path / "cache").exists() else []) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joins": [{"path": "x.tsv", "by": ["sku"]}]}, r"joins\[0\]=.* must be \{path: FILE"),
        ({"joins": [{**JOIN, "how": "left"}]}, r"joins\[0\]=.* must be \{path: FILE"),
        ({"joins": [{**JOIN, "by": []}]}, "must name a column each"),
        ({"joins": [{**JOIN, "columns": ["sku"]}]}, "none in both"),
        ({"joins": JOIN}, "must be a list"),
        ({"where": {"brand": "Acme"}}, "where.brand: rows are selected before"),
        ({"grades": {"E": 1}}, "data.source.grades says what words of data.source.grade are worth"),
        ({"labels": {"good": {"column": "good", "present": "yes"}}}, "present='yes' must be true"),
        ({"labels": {"good": {"column": "good", "present": True, "equals": "1"}}}, "leave the other rules out"),
    ],
)
def test_column_maps_that_cannot_work_are_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        Table(tmp_path / "log.tsv", **{**MAP, **changes})


def test_a_label_may_be_that_the_column_holds_anything(tmp_path):
    log(tmp_path)
    path = tmp_path / "log.parquet"
    LOG.assign(good=["2024-01-01", None, "0", " "]).to_parquet(path)
    here = {"labels": {"good": {"column": "good", "present": True}}}
    store = store_of(path, tmp_path, **here)
    assert store.column("good").tolist() == [1, 0, 1, 0]
    assert Table(path, **{**MAP, **here}).describe() != Table(path, **MAP).describe()
    with pytest.raises(DataError, match="task 'good' is no yes or no, which data.source.labels.good.present tells"):
        prepare(
            Table(path, **{**MAP, **here}), TaskFunnel.from_config({"good": {"kind": "regression"}}), tmp_path / "c"
        )


def test_grades_may_be_words(tmp_path):
    path = log(tmp_path, LOG.assign(judged=["E", "I", "E", "S"]))
    store = store_of(path, tmp_path, grade="judged", grades={"E": 2, "S": 0.5, "I": 0})
    assert store.column("grade").tolist() == [2, 0, 2, 0.5]
    with pytest.raises(DataError, match="column 'judged' .grade. holds 'S' in row 4"):
        store_of(path, tmp_path, grade="judged", grades={"E": 2, "I": 0})
