"""A log whose parts are files: GLUE's train and dev, a published test split."""

import gzip

import numpy as np
import pytest

from funneltune.data import Split, Table, prepare, validate
from funneltune.data.collate import checked_texts, make_collator
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

FUNNEL = TaskFunnel.from_config({"alike": {}})
MAP = {
    "parts": {"train": "train", "dev": "test", "validation": "test"},
    "one_row_requests": True,
    "quotes": False,
    "rename": {"#1": "first", "score": "label"},
    "query_text": {"first": "first"},
    "labels": {"alike": "label"},
}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "glue"
    made.mkdir()
    rows = "".join(f'red "sofa {i}\t{i % 2}\n' for i in range(10))
    (made / "train.tsv").write_text("#1\tscore\n" + rows)
    (made / "dev.tsv").write_text("#1\tscore\nlamp\t1\nchair\t0\n")
    (made / "test.tsv").write_text("#1\tscore\nsecret\t0\n")
    return made


def store_of(folder, tmp_path, **changes):
    return prepare(Table(folder, **{**MAP, **changes}), FUNNEL, tmp_path / "cache")


def test_each_file_is_a_part_and_files_that_are_not_named_are_left_out(folder, tmp_path):
    store = store_of(folder, tmp_path)
    assert store.n_requests == 12
    assert "secret" not in store.text("queries", "{first}")
    cut = Split(by="column", column="part", validation=0.2).cut(store)
    assert {name: len(requests) for name, requests in cut.items()} == {"train": 8, "validation": 2, "test": 2}
    words = np.array(store.manifest["notes"]["categories"]["part"])[store.column("part")]
    assert set(words[cut["test"]]) == {"test"}
    assert set(words[[*cut["train"], *cut["validation"]]]) == {"train"}
    assert not set(cut["train"]) & set(cut["validation"])


def test_validation_is_drawn_by_the_seed_alone(folder, tmp_path):
    store = store_of(folder, tmp_path)
    drawn = [Split(by="column", column="part", validation=0.3, seed=s).cut(store)["validation"] for s in (0, 0, 1)]
    assert drawn[0].tolist() == drawn[1].tolist()
    assert drawn[0].tolist() != drawn[2].tolist()


def test_a_quotation_mark_is_a_letter_and_a_renamed_column_is_found(folder, tmp_path):
    assert 'red "sofa 3' in store_of(folder, tmp_path).text("queries", "{first}")


def test_other_parts_are_another_log(folder, tmp_path):
    one, other = store_of(folder, tmp_path), store_of(folder, tmp_path, parts={"train": "test", "dev": "train"})
    assert one.fingerprint != other.fingerprint


def test_a_part_without_a_file_is_named(folder, tmp_path):
    (folder / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"holds test, train, but no dev or validation, the rows of part 'test'"):
        store_of(folder, tmp_path)


def test_rows_to_predict_need_no_part(folder, tmp_path):
    other = Table(folder, **MAP).unlabelled(folder / "test.tsv")
    store = prepare(other, FUNNEL, tmp_path / "cache")
    assert store.text("queries", "{first}") == ["secret"]


def test_a_lone_sentence_is_read_without_a_second_one(folder, tmp_path, tokenizer):
    store = store_of(folder, tmp_path)

    def collator(texts, interaction="cross"):
        return make_collator(
            store, texts, tokenizer, interaction, max_tokens=8, unique=True, max_unknown=1.0, features=None
        )

    alone = collator({"query": "{first}"})
    batch = alone.rows(np.array([0, 1, 11]))
    ids = {tuple(part.tolist()) for part in batch.texts.token_ids.split(batch.texts.lengths.tolist())}
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    lamp = (cls, *tokenizer("lamp", add_special_tokens=False)["input_ids"], sep)
    assert lamp in ids
    assert all(text.count(sep) == 1 for text in ids)
    numbers = alone.catalogue().numbers
    assert alone.token_lengths(numbers).tolist() == sorted_lengths(alone, numbers)

    with pytest.raises(ConfigError, match="'item' is wrong or missing; set backbone.interaction=cross"):
        checked_texts({"query": "{first}"}, "twin")


def test_parts_of_a_hubs_data_set_are_its_splits(monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    split = datasets.Dataset.from_dict({"#1": ["red", "blue"], "label": [0, 1]})
    found = datasets.DatasetDict({"train": split, "validation": split, "test": split})
    asked = []
    reader = type("Parquet", (), {"__module__": "datasets.packaged_modules.parquet.parquet"})
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *name: reader())
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or found)
    assert validate(Table("hub:nyu-mll/glue:cola", **MAP), FUNNEL).counts["impressions"] == 4
    assert asked[0] == (("nyu-mll/glue", "cola"), {"split": None})


def sorted_lengths(collator, numbers):
    texts = collator.catalogue().read(numbers)
    length = dict(zip(texts.numbers.tolist(), texts.lengths.tolist(), strict=True))
    return [length[number] for number in numbers.tolist()]


def test_a_file_may_be_named_in_full_whatever_its_ending(tmp_path):
    made = tmp_path / "halves"
    made.mkdir()
    for name in ("log.data", "log.test"):
        (made / name).write_text("sofa,1\nlamp,0\n")
    changes = {"parts": {"log.data": "train", "log.test": "test"}, "separator": ",", "columns": ["first", "label"]}
    store = store_of(made, tmp_path, rename={}, **changes)
    assert store.manifest["notes"]["categories"]["part"] == ["train", "test"]
    assert store.n_requests == 4


def test_a_file_beside_its_compressed_copy_is_refused(folder, tmp_path):
    (folder / "train.tsv.gz").write_bytes(gzip.compress((folder / "train.tsv").read_bytes()))
    with pytest.raises(DataError, match=r"holds train.tsv and train.tsv.gz, rows twice; remove one"):
        store_of(folder, tmp_path)


def test_a_request_lies_in_one_part(tmp_path):
    made = tmp_path / "searches"
    made.mkdir()
    for name in ("train", "dev"):
        (made / f"{name}.tsv").write_text("page\t#1\tscore\n0\tsofa\t1\n0\tlamp\t0\n")
    store = store_of(made, tmp_path, one_row_requests=False, request="page")
    assert store.request_offsets.tolist() == [0, 2, 4]
    assert store.column("part").tolist() == [0, 0, 1, 1]
