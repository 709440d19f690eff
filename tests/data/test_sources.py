"""Every way a table can lie on disk, and what becomes of its rows, labels and judgments."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from funneltune.data import Split, Table, prepare, validate
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds
from tables import GOOD, ROLES

FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}})


def as_feather(path):
    pyarrow.feather.write_feather(GOOD, str(path / "log.feather"))
    return path / "log.feather"


def as_stream(path):
    table = pa.Table.from_pandas(GOOD)
    with pa.OSFile(str(path / "log.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return path / "log.arrow"


def as_folder(path):
    (path / "shards").mkdir()
    for number, part in enumerate((GOOD.iloc[:3], GOOD.iloc[3:])):
        part.to_csv(path / "shards" / f"part-{number}.csv.gz", index=False)
    return path / "shards"


def as_pattern(path):
    for number, part in enumerate((GOOD.iloc[:1], GOOD.iloc[1:])):
        part.to_parquet(path / f"day-{number}.parquet")
    (path / "other.parquet").write_bytes(b"not read")
    return path / "day-*.parquet"


def as_dataset(path):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    datasets.Dataset.from_pandas(GOOD).save_to_disk(str(path / "saved"))
    return path / "saved"


def as_text(path):
    GOOD.to_csv(path / "log.data", index=False, sep="|")
    return path / "log.data"


@pytest.mark.parametrize("form", [as_feather, as_stream, as_folder, as_pattern, as_dataset, as_text])
def test_every_form_gives_the_log_of_the_plain_csv(tmp_path, form):
    GOOD.to_csv(tmp_path / "plain.csv", index=False)
    plain = prepare(Table(tmp_path / "plain.csv", **ROLES), FUNNEL, tmp_path / "cache")
    more = {"separator": "|"} if form is as_text else {}
    store = prepare(Table(form(tmp_path), **ROLES, **more), FUNNEL, tmp_path / "cache")
    for side in ("impressions", "queries", "items", "users"):
        assert store.table(side).equals(plain.table(side))


def test_shards_with_other_columns_are_named(tmp_path):
    folder = as_folder(tmp_path)
    GOOD.rename(columns={"sku": "skus"}).to_csv(folder / "part-2.csv.gz", index=False)
    with pytest.raises(DataError, match=r"part-2.csv.gz has not the columns of part-0.csv.gz \('sku' is missing\)"):
        validate(Table(folder, **ROLES), FUNNEL)


def test_a_data_set_of_several_splits_asks_for_one(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    whole = datasets.Dataset.from_pandas(GOOD)
    datasets.DatasetDict({"train": whole, "test": whole}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(DataError, match="holds several splits; name one of them: .*both/train"):
        validate(Table(tmp_path / "both", **ROLES), FUNNEL)
    assert validate(Table(tmp_path / "both" / "train", **ROLES), FUNNEL).counts["impressions"] == 5


def test_a_hub_id_goes_to_the_hub_and_its_failure_is_one_line():
    pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    with pytest.raises(DataError, match="hub:nobody/nothing cannot be read") as error:
        validate(Table("hub:nobody/nothing", **ROLES), FUNNEL)
    assert "\n" not in str(error.value)


def test_a_hub_id_reads_the_split_that_it_names(monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    asked = []
    found = datasets.Dataset.from_pandas(GOOD)
    reader = type("Csv", (), {"__module__": "datasets.packaged_modules.csv.csv"})
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *a, **k: asked.append((a, k)) or reader())
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or found)
    assert validate(Table("hub:shop/logs/may", **ROLES), FUNNEL).counts["impressions"] == 5
    assert asked[:2] == [(("shop/logs",), {}), (("shop/logs",), {"split": "may"})]
    asked.clear()
    pin = {"revision": "0123456789" * 4}
    assert validate(Table(f"hub:shop/logs:big@{pin['revision']}/may", **ROLES), FUNNEL).counts["impressions"] == 5
    assert asked[:2] == [(("shop/logs", "big"), pin), (("shop/logs", "big"), {"split": "may", **pin})]


@pytest.mark.tried("hub_model", "bad_input")
def test_a_branch_is_no_commit_of_the_hub(monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(DataError, match="@main is no commit of the hub, which has 40 letters"):
        validate(Table("hub:shop/logs@main", **ROLES), FUNNEL)


def test_a_file_without_a_header_gets_one(tmp_path):
    GOOD.to_csv(tmp_path / "bare.csv.gz", index=False, header=False)
    names = list(GOOD.columns)
    store = prepare(Table(tmp_path / "bare.csv.gz", columns=names, **ROLES), FUNNEL, tmp_path / "cache")
    assert store.n_rows == 5
    with pytest.raises(DataError, match="names 3 columns, bare.csv.gz has 11"):
        validate(Table(tmp_path / "bare.csv.gz", columns=names[:3], **ROLES), FUNNEL)


def table(tmp_path, frame=GOOD, **changes):
    frame.to_csv(tmp_path / "log.csv", index=False)
    return Table(tmp_path / "log.csv", **{**ROLES, **changes})


def test_rows_outside_where_are_left_out_and_counted(tmp_path):
    store = prepare(table(tmp_path, where={"colour": "red"}), FUNNEL, tmp_path / "cache")
    assert store.column("item").tolist() == [0, 1, 0]
    assert store.manifest["notes"]["rows outside where"] == {"colour": 2}
    with pytest.raises(DataError, match="no rows of 5 that data.source.where keeps"):
        validate(table(tmp_path, where={"colour": "green"}), FUNNEL)


def test_faults_name_the_row_of_the_file_not_of_what_where_keeps(tmp_path):
    with pytest.raises(DataError, match="holds '7' in row 4 "):
        validate(table(tmp_path, GOOD.assign(clicked=[1, 0, 1, 7, 0]), where={"colour": "red"}), FUNNEL)


def test_missing_values_are_filled_where_asked_and_counted(tmp_path):
    frame = GOOD.assign(price=[1, None, 2, None, 4], name=["Sofa", "", "Lamp", "Sofa", "Shade"])
    with pytest.raises(DataError, match=r"fill: {name: TEXT} under source; .*fill: {price: NUMBER} under source"):
        validate(table(tmp_path, frame), FUNNEL)
    store = prepare(table(tmp_path, frame, fill={"price": -1, "name": "thing"}), FUNNEL, tmp_path / "cache")
    assert store.column("price").tolist() == [1, -1, 2, -1, 4]
    assert store.text("items", "{title}") == ["Sofa", "thing", "Lamp", "Shade"]
    assert store.manifest["notes"]["filled"] == {"price": 2, "name": 1}


def test_text_that_is_written_after_an_outcome_cannot_predict_it(tmp_path):
    after = {"name": "purchase"}
    with pytest.raises(DataError, match="column 'name' is written after 'purchase'.*would tell it"):
        validate(table(tmp_path, after=after), FUNNEL)
    clicks = TaskFunnel.from_config({"click": {}})
    store = prepare(table(tmp_path, after=after), clicks, tmp_path / "cache")
    assert store.manifest["notes"]["written after the outcome"] == after


LONG = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["cart"]}})


def long_table(tmp_path, strict):
    frame = GOOD.assign(clicked=[1, 0, 1, 1, 0], carted=[1, 1, 0, 1, 0], bought=[1, 0, 1, 1, 0])
    labels = {"click": "clicked", "cart": "carted", "purchase": "bought"}
    return table(tmp_path, frame, labels=labels, strict=strict)


def test_each_edge_has_its_own_strictness(tmp_path):
    strict = {"cart": "drop", "purchase": {"cart": "keep"}}
    store = prepare(long_table(tmp_path, strict), LONG, tmp_path / "cache")
    notes = store.manifest["notes"]
    assert notes["cart without click"] == {"rows": 1, "strict": "drop"}  # row 2
    assert notes["purchase without cart"] == {"rows": 1, "strict": "keep"}  # row 3
    assert store.column("purchase").tolist() == [1, 0, 1, 0]
    with pytest.raises(DataError, match="'purchase' holds without cart in 1 row.*strict: {purchase: drop}"):
        validate(long_table(tmp_path, {"cart": "drop"}), LONG)


@pytest.mark.parametrize(
    ("strict", "message"),
    [
        ({"cartt": "drop"}, "names no task"),
        ({"purchase": {"click": "drop"}}, "names no edge of the task; .* cart"),
    ],
)
def test_strictness_of_what_is_not_there_is_refused(tmp_path, strict, message):
    with pytest.raises(ConfigError, match=message):
        validate(long_table(tmp_path, strict), LONG)


KINDS = TaskFunnel.from_config(
    {
        "stars": {"kind": "ordinal", "levels": [1, 2, 3]},
        "colour": {"kind": "multiclass", "levels": ["red", "blue"]},
        "spend": {"kind": "regression"},
        "member": {},
    }
)


def test_labels_of_every_kind(tmp_path):
    frame = GOOD.assign(stars=[1.0, 2.0, 3.0, 3.0, 1.0], tier=["gold", "none", "silver", "none", "gold"])
    labels = {
        "stars": "stars",
        "colour": "colour",
        "spend": {"column": "price", "transform": "log1p"},
        "member": {"column": "tier", "equals": ["gold", "silver"]},
    }
    changes = {"labels": labels, "categorical": [], "price": None}
    store = prepare(table(tmp_path, frame, **changes), KINDS, tmp_path / "cache")
    assert store.column("stars").tolist() == [0, 1, 2, 2, 0]
    assert store.column("colour").tolist() == [0, 1, 0, 0, 1]
    assert store.column("member").tolist() == [1, 0, 1, 0, 1]
    np.testing.assert_allclose(store.column("spend"), np.log1p([10.5, 20, 5, 10.5, 2]), rtol=1e-6)
    with pytest.raises(DataError, match="label 'stars', column 'stars', holds '4.0' in row 2 .*one of 1, 2, 3"):
        validate(table(tmp_path, frame.assign(stars=[1.0, 4.0, 3.0, 3.0, 1.0]), **changes), KINDS)
    with pytest.raises(DataError, match="label 'spend'.*a finite number above -1"):
        validate(table(tmp_path, frame.assign(price=[1, 2, -3, 4, 5]), **changes), KINDS)


def test_vectors_of_items_from_lists_and_from_text(tmp_path):
    frame = GOOD.assign(image=["1 2", "[3, 4]", "5,6", "1 2", ""])
    store = prepare(table(tmp_path, frame, vectors={"photo": "image"}), FUNNEL, tmp_path / "cache")
    assert store.vectors("photo").tolist() == [[1, 2], [3, 4], [5, 6], [0, 0]]
    GOOD.assign(image=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [1.0, 2.0], None]).to_parquet(tmp_path / "log.parquet")
    again = Table(tmp_path / "log.parquet", **ROLES, vectors={"photo": "image"})
    assert prepare(again, FUNNEL, tmp_path / "cache").vectors("photo").tolist() == store.vectors("photo").tolist()
    with pytest.raises(ConfigError, match="no vectors 'foto'; it has photo"):
        store.vectors("foto")


@pytest.mark.parametrize(
    ("bad", "message"), [("1 2 3", "equally long"), ("1 x", "must be numbers"), ("1 inf", "not finite")]
)
@pytest.mark.tried("bad_table", "bad_input")
def test_vectors_of_another_length_or_of_no_numbers_are_refused(tmp_path, bad, message):
    frame = GOOD.assign(image=["1 2", bad, "5,6", "1 2", ""])
    with pytest.raises(DataError, match=message):
        validate(table(tmp_path, frame, vectors={"p": "image"}), FUNNEL)


def test_without_a_query_each_row_is_a_request(tmp_path):
    store = prepare(table(tmp_path, request=None, query_text=None), FUNNEL, tmp_path / "cache")
    assert store.n_requests == 5
    both = prepare(table(tmp_path, request=None, one_row_requests=True), FUNNEL, tmp_path / "cache")
    assert (both.n_requests, both.table("queries").num_rows) == (5, 2)


def test_several_query_texts_tell_queries_apart_together(tmp_path):
    store = prepare(table(tmp_path, query_text={"query": "q", "hue": "colour"}), FUNNEL, tmp_path / "cache")
    assert store.text("queries", "{hue} {query}") == ["red red couch", "blue red couch", "red lamp", "blue lamp"]


def test_a_column_can_say_which_rows_test(tmp_path):
    frame = pd.concat([GOOD, GOOD.assign(session="s3", shopper="u3")])
    frame["fold"] = ["train"] * 2 + ["validation"] * 3 + ["test"] * 5
    source = table(tmp_path, frame, categorical=["fold"])
    cut = Split(by="column", column="fold").cut(prepare(source, FUNNEL, tmp_path / "cache"))
    assert {name: rows.tolist() for name, rows in cut.items()} == {"train": [0], "validation": [1], "test": [2]}
    store = prepare(
        table(tmp_path, frame.assign(fold=["train", "test"] * 5), categorical=["fold"]), FUNNEL, tmp_path / "c"
    )
    with pytest.raises(DataError, match="changes within a request"):
        Split(by="column", column="fold").cut(store)
    with pytest.raises(DataError, match="is no categorical column"):
        Split(by="column", column="fould").cut(store)
    with pytest.raises(ConfigError, match="do not fit"):
        Split(by="column")


def test_validation_tells_what_is_wrong_with_split_texts_and_features_together(tmp_path):
    needs = FeatureNeeds(ids=("color",), numbers=("price",))
    split, texts = Split(by="column", column="fold"), {"query": "{query}", "item": "{name}"}
    with pytest.raises(ConfigError, match=r"no categorical column.*names 'name'.*no 'color'; did you mean 'colour'"):
        validate(table(tmp_path), FUNNEL, split, texts, needs)
    texts["item"] = "{title}"
    found = validate(table(tmp_path, where={"colour": "red"}, fill={"price": 1}), FUNNEL, None, texts, FeatureNeeds())
    assert found.in_words().splitlines() == [
        "the log can be used: 2 queries, 2 items, 2 users, 3 impressions",
        "  rows outside where: colour: 2",
    ]


def test_validation_says_what_was_dropped_in_words(tmp_path):
    found = validate(long_table(tmp_path, {"cart": "drop", "purchase": "keep"}), LONG)
    assert "  cart without click: 1 row(s), dropped" in found.in_words()
    assert "  purchase without cart: 1 row(s), kept, the label set to 0" in found.in_words()


def test_a_wrong_separator_is_told_as_such(tmp_path):
    GOOD.to_csv(tmp_path / "log.csv", index=False, sep=";")
    with pytest.raises(DataError, match="header reads as one column.*write separator: ';' under source") as error:
        validate(Table(tmp_path / "log.csv", **ROLES), FUNNEL)
    assert str(error.value).count("missing") == 0


def test_missing_columns_are_told_with_the_header_once(tmp_path):
    with pytest.raises(
        DataError, match="column 'artikel' is missing; column 'nme' is missing.*there are session"
    ) as error:
        validate(table(tmp_path, item="artikel", item_text={"title": "nme"}), FUNNEL)
    assert str(error.value).count("there are") == 1


def test_a_template_with_an_open_brace_is_told(tmp_path):
    with pytest.raises(ConfigError, match="'{query' cannot be read"):
        prepare(table(tmp_path), FUNNEL, tmp_path / "cache").text("queries", "{query")
