"""A stranger's log, in every form that is read: no code in it runs."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from funneltune.cli import main
from runs.trust_payloads import LOG, code, edit, pickled, refuses, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


def validate(shop, path):
    return main(["data", "validate", "data=shop", "--config-dir", str(shop / "groups"), f"data.path='{path}'"])


@pytest.mark.parametrize(
    "name", ["a.csv", "a.csv.gz", "a.tsv", "a.parquet", "a.arrow", "a.feather", "a.pkl", "a.npy", "a.npz", "a.joblib"]
)
@pytest.mark.tried("dataset_script", "payload")
def test_a_pickle_by_any_name_is_no_log(name, shop, tmp_path, mark, capsys):
    (tmp_path / name).write_bytes(pickled(mark))
    refuses(capsys, validate(shop, tmp_path / name), mark)


@pytest.mark.tried("dataset_script", "payload")
def test_a_log_by_url_is_refused(shop, mark, capsys):
    assert "is not there" in refuses(capsys, validate(shop, "https://evil.example/log.csv"), mark)


@pytest.mark.parametrize("form", ["parquet", "arrow", "feather"])
@pytest.mark.tried("dataset_script", "payload")
def test_metadata_of_a_table_is_harmless(form, shop, tmp_path, mark, capsys):
    """Arrow's extension types were once unpickled from a field's metadata; pandas' own names types."""
    table = pa.Table.from_pandas(LOG, preserve_index=False)
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickled(mark)}
    odd = [item.with_metadata(extension) for item in table.schema]
    pandas = {"index_columns": [], "columns": [{"name": "item", "numpy_type": "os.system", "pandas_type": "object"}]}
    told = {b"pandas": json.dumps(pandas).encode(), b"huggingface": pickled(mark)}
    table = pa.table([c.combine_chunks() for c in table.columns], schema=pa.schema(odd, metadata=told))
    path = tmp_path / f"log.{form}"
    if form == "parquet":
        pq.write_table(table, path, store_schema=True)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    assert validate(shop, path) == 0
    assert not mark.exists()


@pytest.mark.tried("dataset_script", "payload")
def test_a_folder_of_datasets_with_a_script_or_odd_features_runs_nothing(shop, tmp_path, mark, capsys, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    datasets.Dataset.from_pandas(LOG).save_to_disk(str(tmp_path / "saved"))
    for name in ("saved.py", "dataset.py", "__init__.py"):
        (tmp_path / "saved" / name).write_text(code(mark))
    assert validate(shop, tmp_path / "saved") == 0  # a script beside it is not looked at
    assert not mark.exists()
    capsys.readouterr()
    told = json.loads((tmp_path / "saved" / "dataset_info.json").read_text())
    for odd in ({"_type": "os.system", "x": 1}, {"_type": "Value", "dtype": "__import__('os').system('x')"}):
        edit(tmp_path / "saved" / "dataset_info.json", features=told["features"] | {"item": odd})
        refuses(capsys, validate(shop, tmp_path / "saved"), mark)
    (tmp_path / "saved" / "state.json").write_bytes(pickled(mark))
    refuses(capsys, validate(shop, tmp_path / "saved"), mark)


@pytest.mark.tried("dataset_script", "payload")
def test_a_data_set_of_the_hub_with_a_script_or_a_foreign_format_is_refused(shop, tmp_path, mark, capsys, monkeypatch):
    pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    monkeypatch.chdir(tmp_path)  # a folder of the hub id's name is taken for it
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "evil" / "scripted").mkdir(parents=True)
    (tmp_path / "evil" / "scripted" / "scripted.py").write_text(code(mark))
    refuses(capsys, validate(shop, "hub:evil/scripted"), mark)
    (tmp_path / "evil" / "xml").mkdir()
    (tmp_path / "evil" / "xml" / "train.xml").write_text("<a/>")
    assert "it is read as xml" in refuses(capsys, validate(shop, "hub:evil/xml"), mark)
