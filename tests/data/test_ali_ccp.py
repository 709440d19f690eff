"""Ali-CCP as downloaded: two files a half, joined by the index of common features."""

import gzip

import numpy as np
import pandas as pd
import pytest

from funneltune.data import AliCCP, FeatureColumns, Split, prepare
from funneltune.data.sources import field_lists
from funneltune.data.sources.ali_ccp import sampled_digest
from funneltune.data.sources.codes import IntegerCodes
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds
from published import features, skeleton_row, write_ali_ccp


@pytest.fixture
def folder(tmp_path):
    return write_ali_ccp(tmp_path / "ccp")


def store_of(folder, funnel, tmp_path, **options):
    return prepare(AliCCP(folder, **options), funnel, tmp_path / "cache")


def words(store, name):
    return np.array(store.manifest["notes"]["categories"][name])[store.column(name)].tolist()


def test_rows_are_joined_to_the_features_of_their_index(folder, funnel, tmp_path):
    store = store_of(folder, funnel, tmp_path)
    assert store.n_rows == 32
    assert store.request_offsets.tolist() == list(range(0, 33, 4))
    assert store.column("position").tolist() == [0, 1, 2, 3] * 8
    users = store.table("users").column("key").to_pylist()
    assert [users[u] for u in store.column("user")[:5]] == ["100", "100", "100", "100", "101"]
    items = store.table("items").column("key").to_pylist()
    assert [items[i] for i in store.column("item")[:6]] == ["7000", "7001", "7002", "7003", "7004", "7000"]
    assert words(store, "121")[:12] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert words(store, "206")[:4] == ["60", "61", "60", "61"]
    assert set(words(store, "124")) == {""}  # no row has it
    assert store.column("click")[:4].tolist() == [0, 1, 0, 1]
    assert store.column("purchase")[:4].tolist() == [0, 0, 0, 1]


def test_the_published_halves_are_train_and_test(folder, funnel, tmp_path):
    store = store_of(folder, funnel, tmp_path)
    cut = Split(by="column", column="part", validation=0.34).cut(store)
    assert {name: len(requests) for name, requests in cut.items()} == {"train": 4, "validation": 2, "test": 2}
    assert cut["test"].tolist() == [6, 7]


def test_files_may_be_compressed_and_lie_in_one_folder(folder, funnel, tmp_path):
    plain = store_of(folder, funnel, tmp_path)
    packed = write_ali_ccp(tmp_path / "packed", compressed=True)
    for file in packed.glob("*/*"):
        file.rename(packed / file.name)
    assert store_of(packed, funnel, tmp_path).table("impressions").equals(plain.table("impressions"))


def test_blocks_do_not_show_in_the_log(folder, funnel, tmp_path, monkeypatch):
    whole = store_of(folder, funnel, tmp_path).table("impressions").to_pandas()
    monkeypatch.setattr(field_lists.read_lines, "__defaults__", (200,))  # a row or two
    parts = prepare(AliCCP(folder), funnel, tmp_path / "other")
    found = parts.table("impressions").to_pandas()
    same = ["request", "position", "click", "purchase", "part"]
    pd.testing.assert_frame_equal(found[same], whole[same])
    assert words(parts, "301") == words(store_of(folder, funnel, tmp_path), "301")


def test_a_request_does_not_go_on_from_half_to_half(funnel, tmp_path):
    folder = write_ali_ccp(tmp_path / "two", train=4, test=4)  # the only index of each
    store = store_of(folder, funnel, tmp_path)
    assert store.request_offsets.tolist() == [0, 4, 8]
    assert store.column("position").tolist() == [0, 1, 2, 3] * 2


def test_a_broken_row_behind_the_first_block_has_its_number_too(folder, funnel, tmp_path, monkeypatch):
    monkeypatch.setattr(field_lists.read_lines, "__defaults__", (200,))
    with (folder / "sample_train" / "sample_skeleton_train.csv").open("a") as file:
        file.write("1,0\n")
    with pytest.raises(DataError, match="row 25: '1,0'"):
        store_of(folder, funnel, tmp_path)


def test_a_field_of_several_ids_keeps_its_last_one(folder, funnel, tmp_path):
    store = store_of(folder, funnel, tmp_path, fields=["109_14", "210"])
    assert (set(words(store, "109_14")), set(words(store, "210"))) == ({"9"}, {"2"})


def test_purchases_without_a_click_are_dropped_and_counted(folder, funnel, tmp_path):
    file = folder / "sample_train" / "sample_skeleton_train.csv"
    rows = file.read_text().splitlines(keepends=True)
    rows[0] = rows[0].replace("1,0,0,", "1,0,1,", 1)
    rows[4:8] = [row.replace(",0,0,", ",0,1,").replace(",1,0,", ",0,1,").replace(",1,1,", ",0,1,") for row in rows[4:8]]
    file.write_text("".join(rows))
    store = store_of(folder, funnel, tmp_path)
    assert store.manifest["notes"]["purchase without click"] == {"rows": 5, "strict": "drop"}
    assert store.n_rows == 27
    assert store.column("request").tolist() == [0] * 3 + [n for n in range(1, 7) for _ in range(4)]
    assert store.column("position")[:3].tolist() == [0, 1, 2]
    kept = store_of(folder, funnel, tmp_path, strict="keep")
    assert (kept.n_rows, int(kept.column("purchase").sum())) == (32, 7)
    with pytest.raises(DataError, match="'purchase' holds without click in 5 row"):
        store_of(folder, funnel, tmp_path, strict="refuse")


def test_without_labels_one_half_is_enough(folder, funnel, tmp_path):
    for file in (folder / "sample_train").glob("*"):
        file.unlink()
    store = prepare(AliCCP(folder).unlabelled(folder), funnel, tmp_path / "cache")
    assert (store.n_rows, int(store.column("click").sum())) == (8, 0)
    with pytest.raises(DataError, match="holds no sample_skeleton_train.csv"):
        store_of(folder, funnel, tmp_path)


def test_ids_are_hashed_by_their_text(folder, funnel, tmp_path):
    store = store_of(folder, funnel, tmp_path)
    needs = FeatureNeeds(ids=("user", "item", "121"), buckets=1000)
    ids = FeatureColumns(store, needs, np.ones(store.n_rows, bool)).ids(np.arange(12))
    hashed = pd.util.hash_array(np.array(["121\x1f0", "121\x1f1", "121\x1f2"], dtype=object), categorize=False) % 1000
    assert ids[[0, 4, 8], 2].tolist() == hashed.tolist()


GOOD = features(f205=1)
FAULTS = {
    "too few columns": ("sample_skeleton", "1,0,0,tr00\n", r"row 25: '1,0,0,tr00'; it must have 6 columns"),
    "no separator": ("sample_skeleton", "9,0,0,x,1,205:1\n", r"row 25: '205:1'; its features must read FIELD"),
    "an id that is a word": ("sample_skeleton", "9,0,0,x,1,205\x02sofa\x031.0\n", r"row 25: .*ids that are whole"),
    "an id too large": ("sample_skeleton", "9,0,0,x,1,205\x029876543210\x031\n", r"row 25: .*up to 2147483647"),
    "an empty line": ("sample_skeleton", "\n", r"row 25: ''; it must have 6 columns"),
    "a label that is none": ("sample_skeleton", skeleton_row(9, 2, 0, f"tr{0:014x}", GOOD), r"row 25: click is '2'"),
    "an unknown index": ("sample_skeleton", skeleton_row(9, 0, 0, "nobody", GOOD), r"row 25: .*index 'nobody' is not"),
    "an index twice": ("common_features", f"tr{0:014x},1,{GOOD}\n", r"has the index 'tr0+' twice"),
    "broken common features": (
        "common_features",
        "abc,1\n",
        r"common_features_train.csv, row 7: 'abc,1'; it must have 3",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_broken_row_is_named_by_its_number_and_nothing_is_left_behind(folder, funnel, tmp_path, case):
    kind, row, message = FAULTS[case]
    with (folder / "sample_train" / f"{kind}_train.csv").open("a") as file:
        file.write(row)
    with pytest.raises(DataError, match=message) as error:
        store_of(folder, funnel, tmp_path)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_files_that_are_missing_empty_or_cut_off_are_named(folder, funnel, tmp_path):
    with pytest.raises(ConfigError, match="data.path=null"):
        AliCCP(None)
    common = folder / "sample_test" / "common_features_test.csv"
    text = common.read_text()
    common.unlink()
    with pytest.raises(DataError, match="holds no common_features_test.csv"):
        store_of(folder, funnel, tmp_path)
    common.write_text("")
    with pytest.raises(DataError, match="common_features_test.csv has no rows"):
        store_of(folder, funnel, tmp_path)
    common.unlink()
    common.with_name("common_features_test.csv.gz").write_bytes(gzip.compress(text.encode())[:-12])
    with pytest.raises(DataError, match="cannot be read"):
        store_of(folder, funnel, tmp_path)


def test_fields_tasks_and_words_that_do_not_fit_are_refused(folder, funnel, tmp_path):
    with pytest.raises(ConfigError, match="data.source.fields names 205 twice, or 101 or 205"):
        AliCCP(folder, fields=["205", "206"])
    with pytest.raises(DataError, match="data.tasks.cart: Ali-CCP has no such label"):
        store_of(folder, TaskFunnel.from_config({"cart": {}}), tmp_path)
    with pytest.raises(ConfigError, match="data.source.strict.cart names no task"):
        store_of(folder, funnel, tmp_path, strict={"cart": "drop"})


def test_another_file_or_field_is_another_log(folder):
    before = AliCCP(folder).describe()
    assert AliCCP(folder).describe() == before
    assert AliCCP(folder, fields=["121"]).describe() != before
    with (folder / "sample_test" / "sample_skeleton_test.csv").open("a") as file:
        file.write("x")
    assert AliCCP(folder).describe() != before


def test_the_digest_of_a_large_file_reads_its_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("funneltune.data.sources.ali_ccp.MEBIBYTE", 16)
    content, file, found = bytearray(range(256)) * 256, tmp_path / "large", set()
    for place in (None, 0, len(content) - 1, len(content) - 16):
        changed = bytearray(content)
        if place is not None:
            changed[place] ^= 1
        file.write_bytes(changed)
        found.add(sampled_digest(file))
    assert len(found) == 4


def test_integer_codes_agree_with_a_dictionary():
    rng, codes, spelt = np.random.default_rng(0), IntegerCodes(), {}
    for _ in range(20):
        values = rng.integers(-1, 60, 30).astype(np.int32)
        for value, code in zip(values.tolist(), codes.encode(values).tolist(), strict=True):
            assert spelt.setdefault(value, code) == code
    assert sorted(spelt.values()) == list(range(len(codes)))
    assert [spelt[value] for value in codes.keys.tolist()] == list(range(len(codes)))
