"""Bad input: one clear line, and nothing left behind."""

import gzip

import numpy as np
import pytest

from funneltune.data import FeatureColumns, Table, prepare, validate
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds
from tables import GOOD, ROLES


def write(tmp_path, frame=GOOD, name="log.csv"):
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet"])
def test_a_table_becomes_a_store(tmp_path, funnel, name):
    store = prepare(Table(write(tmp_path, name=name), **ROLES), funnel, tmp_path / "cache")
    assert store.column("request").tolist() == [0, 0, 1, 1, 1]
    assert store.column("item").tolist() == [0, 1, 2, 0, 3]
    assert store.column("purchase").tolist() == [1, 0, 0, 1, 0]
    assert store.text("items", "{title}") == ["Sofa", "Chair", "Lamp", "Shade"]
    assert store.text("queries", "for {query}") == ["for red couch", "for lamp"]
    assert store.column("time")[2] - store.column("time")[0] == 14 * 3600
    assert store.manifest["notes"]["categories"] == {"colour": ["red", "blue"]}


def test_rows_of_a_request_need_not_lie_together(tmp_path, funnel):
    mixed = GOOD.iloc[[0, 2, 1, 3, 4]]
    store = prepare(Table(write(tmp_path, mixed), **ROLES), funnel, tmp_path / "cache")
    assert store.column("request").tolist() == [0, 0, 1, 1, 1]
    assert store.column("click").tolist() == [1, 0, 1, 1, 0]


def test_without_a_request_column_each_query_is_one(tmp_path, funnel):
    roles = {**ROLES, "request": None, "user": None}
    store = prepare(Table(write(tmp_path), **roles), funnel, tmp_path / "cache")
    assert store.request_offsets.tolist() == [0, 2, 5]


def test_a_label_may_be_a_threshold(tmp_path):
    roles = {**ROLES, "labels": {"dear": {"column": "rank", "at_least": 1}}, "position": None}
    store = prepare(Table(write(tmp_path), **roles), TaskFunnel.from_config({"dear": {}}), tmp_path / "cache")
    assert store.column("dear").tolist() == [0, 1, 0, 1, 1]


def test_a_store_is_found_again_and_a_changed_file_is_another(tmp_path, funnel):
    cache = tmp_path / "cache"
    first = prepare(Table(write(tmp_path), **ROLES), funnel, cache)
    assert prepare(Table(write(tmp_path), **ROLES), funnel, cache).folder == first.folder
    assert prepare(Table(write(tmp_path, GOOD.iloc[:4]), **ROLES), funnel, cache).folder != first.folder


@pytest.mark.parametrize(("strict", "rows", "purchases"), [("drop", 4, 1), ("keep", 5, 1)])
def test_a_purchase_without_a_click_is_dropped_or_kept_and_counted(tmp_path, funnel, strict, rows, purchases):
    frame = GOOD.assign(clicked=[1, 0, 1, 0, 0])
    store = prepare(Table(write(tmp_path, frame), **ROLES, strict=strict), funnel, tmp_path / "cache")
    assert (store.n_rows, int(store.column("purchase").sum())) == (rows, purchases)
    assert store.manifest["notes"]["purchase without click"] == {"rows": 1, "strict": strict}


def test_an_item_with_several_texts_is_counted_and_keeps_the_first(tmp_path, funnel, monkeypatch):
    monkeypatch.setattr("funneltune.data.sources.reading.CHUNK", 2)
    frame = GOOD.assign(name=["Sofa", "Chair", "Lamp", "Divan", "Shade"], brand=["A", "B", "A", "A", "B"])
    roles = {**ROLES, "item_text": {"title": "name", "brand": "brand"}}
    found = validate(Table(write(tmp_path, frame), **roles), funnel)
    assert "items with more than one text, of which the first is taken: title: 1" in found.in_words()
    store = prepare(Table(write(tmp_path, frame), **roles), funnel, tmp_path / "cache")
    assert store.table("items").column("title").to_pylist()[0] == "Sofa"
    plain = validate(Table(write(tmp_path), **ROLES), funnel)
    assert "more than one text" not in plain.in_words()


def test_a_query_with_an_identifier_may_have_several_texts_too(tmp_path, funnel):
    found = validate(Table(write(tmp_path), **{**ROLES, "query": "colour"}), funnel)
    assert found.notes["queries with more than one text, of which the first is taken"] == {"query": 2}


@pytest.mark.parametrize(
    ("labels", "never"),
    [({"clicked": 0, "bought": 0}, "no row has click or purchase, and"), ({"bought": 0}, "no row has purchase, and")],
)
def test_an_event_that_never_happens_is_warned_of(tmp_path, funnel, labels, never):
    assert f"  warning: {never}" in validate(Table(write(tmp_path, GOOD.assign(**labels)), **ROLES), funnel).in_words()
    assert "warning" not in validate(Table(write(tmp_path), **ROLES), funnel).in_words()


def test_unlabelled_rows_can_be_read_for_prediction(tmp_path, funnel):
    bare = GOOD.drop(columns=["clicked", "bought"])
    store = prepare(Table(write(tmp_path), **ROLES).unlabelled(write(tmp_path, bare)), funnel, tmp_path / "cache")
    assert store.n_rows == 5


def test_numbers_and_categories_that_rows_to_predict_do_not_have_are_unknown(tmp_path, funnel):
    bare = GOOD[["session", "shopper", "q", "sku", "name"]]
    table = Table(write(tmp_path), **ROLES, fill={"colour": "none"}, schema={"price": {"least": 0}})
    store = prepare(table.unlabelled(write(tmp_path, bare)), funnel, tmp_path / "cache")
    assert not any(store.has(name) for name in ("price", "time", "colour"))
    for needs in ({"numbers": ["price"]}, {"numbers": ["position"]}, {"ids": ["colour"]}):
        with pytest.raises(ConfigError, match=f"the log has no {next(iter(needs.values()))[0]!r}"):
            FeatureColumns(store, FeatureNeeds.offered(needs), np.ones(5, bool))


CASES = {
    "missing column": (GOOD.rename(columns={"sku": "skus"}), {}, "column 'sku' is missing; did you mean 'skus'"),
    "label 2": (GOOD.assign(clicked=[1, 0, 2, 1, 0]), {}, r"label 'click', column 'clicked', holds '2' in row 3"),
    "label missing": (GOOD.assign(clicked=[1, 0, None, 1, 0]), {}, "holds nothing in row 3"),
    "label a word": (GOOD.assign(clicked=list("10yes")), {}, "it must be 0 or 1"),
    "purchase without click": (
        GOOD.assign(clicked=0),
        {},
        r"'purchase' holds without click in 2 row\(s\), first row 1",
    ),
    "NaN price": (GOOD.assign(price=[1, None, 2, 3, 4]), {}, r"column 'price' \(price\) holds nothing in row 2"),
    "infinite price": (GOOD.assign(price=[1, 2, float("inf"), 3, 4]), {}, "must be a finite number"),
    "position a word": (GOOD.assign(rank=list("01x12")), {}, r"column 'rank' \(position\) holds 'x' in row 3"),
    "time no time": (
        GOOD.assign(at=["soon"] * 5),
        {},
        r"'at' \(time\) holds 'soon' .* must be unix seconds or ISO 8601",
    ),
    "milliseconds": (GOOD.assign(at=1735732800000), {}, r"row 1 \(5 such\); .* \(milliseconds are divided by 1,000\)"),
    "empty query": (GOOD.assign(q=["red couch", " ", "lamp", "lamp", "lamp"]), {}, r"column 'q' .* is empty in 1 row"),
    "empty title": (GOOD.assign(name=["", "Chair", "Lamp", "Sofa", "Shade"]), {}, r"item_text\.title\) is empty"),
    "no rows": (GOOD.iloc[:0], {}, "has a header but no rows"),
    "no label": (GOOD, {"labels": {"click": "clicked"}}, "task 'purchase' has no label"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_tables_are_refused_in_one_line_and_leave_nothing(tmp_path, funnel, case):
    frame, changes, message = CASES[case]
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=message) as error:
        prepare(Table(write(tmp_path, frame), **{**ROLES, **changes}), funnel, cache)
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


def test_all_faults_come_together(tmp_path, funnel):
    frame = GOOD.assign(clicked=[1, 0, 2, 1, 0], price=[1, None, 2, 3, 4])
    with pytest.raises(DataError, match=r"label 'click'.*") as error:
        prepare(Table(write(tmp_path, frame), **ROLES), funnel, tmp_path / "cache")
    assert "column 'price'" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "is not there"),
        ("log.csv", b"", "is empty; a log needs a header"),
        ("log.xlsx", b"x", "must be one of .csv"),
        ("log.csv", GOOD.assign(q="caf\xe9").to_csv(index=False).encode("latin-1"), "is not utf-8"),
        (
            "log.csv",
            GOOD.to_csv(index=False).encode("utf-16"),
            "mark of UTF-16.; save it as UTF-8, or set data.source.enc",
        ),
        ("log.csv", b"q,sku\n1,2\n1,2,3,4\n", "cannot be read|is missing"),
        ("log.parquet", b"PAR1 but not really", "cannot be read"),
        ("log.csv.gz", gzip.compress(b"q,sku\n1,2\n", mtime=0)[:12], "cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, funnel, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        validate(Table(path, **ROLES), funnel)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"one_row_requests": True}, "exclude one another"),
        ({"labels": {"click": {"column": "x", "transform": "exp"}}}, "must be log1p"),
        ({"strict": 3}, "or a mapping of tasks"),
        ({"strict": {"purchase": {"click": "maybe"}}}, r"strict\.purchase\.click='maybe' must be"),
        ({"labels": {"click": "colour"}}, "column 'colour' is also an input"),
        ({"labels": {"click": {"colum": "x"}}}, "must be a column name, or"),
        ({"strict": "maybe"}, "strict='maybe' must be"),
    ],
)
def test_column_maps_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Table("log.csv", **{**ROLES, **changes})


def test_a_path_that_was_not_given_is_asked_for():
    with pytest.raises(ConfigError, match="data.path=null"):
        Table(None, **ROLES)


def test_templates_name_the_nearest_field(tmp_path, funnel):
    store = prepare(Table(write(tmp_path), **ROLES), funnel, tmp_path / "cache")
    with pytest.raises(ConfigError, match="did you mean 'title'"):
        store.text("items", "{titel}")
    with pytest.raises(ConfigError, match="names no field"):
        store.text("items", "title")


def test_tokens_are_computed_once_and_without_specials(tmp_path, funnel, tokenizer):
    store = prepare(Table(write(tmp_path), **ROLES), funnel, tmp_path / "cache")
    table = store.tokens("queries", "{query}", tokenizer, 64)
    assert len(table) == 2
    assert table.ids[table.offsets[0] : table.offsets[1]].tolist() == tokenizer("red couch")["input_ids"][1:-1]
    again = store.tokens("queries", "{query}", tokenizer, 64)
    assert np.array_equal(again.ids, table.ids)
    assert len(list(store.folder.glob("tokens-*"))) == 1
