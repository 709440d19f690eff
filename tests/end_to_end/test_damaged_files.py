"""Runs, studies, searches, logs, vectors and bundles with files cut, lost or exchanged, as the verbs meet them."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from damaging import copy_of, cut, edit, refused
from funneltune.cli import main
from funneltune.decisions.export.exported import Exported
from funneltune.files import sha256_of

QUICK = [
    *("debug=tiny", "data.source.impressions=300", "data.source.items=60", "data.source.queries=20"),
    *("data.source.shoppers=20", "trainer.enable_progress_bar=false", "trainer.precision=32-true", "baselines=[]"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "head=esmm", "objective=entire_space_bce"),
    "backbone.architecture.num_hidden_layers=1",
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder of a run, the log that it read, and its backbone as a folder of its own."""
    folder = tmp_path_factory.mktemp("kept")
    words = [f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}"]
    assert main(["train", *QUICK, "tuning=full", *words]) == 0
    made = ["to=merged", "check=false", "repeats=0", f"output={folder / 'merged'}"]
    assert main(["export", f"run={folder / 'run'}", *made]) == 0
    return folder


@pytest.fixture
def run(kept, tmp_path):
    return copy_of(kept / "run", tmp_path / "run")


def again(kept, tmp_path, *words):
    """A command that trains on the log that is kept."""
    return ["train", *QUICK, "tuning=full", f"run_dir={tmp_path / 'new'}", f"data.cache_dir={kept / 'cache'}", *words]


def exchanged(run, tensors):
    """Other weights, whose sum the manifest knows."""
    from safetensors.torch import load_file, save_file

    path = run / "weights" / "trained.safetensors"
    save_file(tensors(load_file(path)), path)
    edit(run / "weights" / "manifest.json", files={path.name: sha256_of(path)})


def strange(tensors):
    first = next(iter(tensors.values()))
    return {**tensors, "strange.weight": first.clone()}


def short(tensors):
    name = next(name for name in sorted(tensors) if name.startswith("head."))
    return {**tensors, name: tensors[name][:1].clone()}


def headless(run):
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("\nhead:", "\nhaed:"))


RUNS = {
    "record cut": (lambda run: cut(run / "record.json"), "record.json cannot be read as JSON"),
    "record a list": (lambda run: (run / "record.json").write_text("[]"), "holds list, not a mapping"),
    "data a text": (lambda run: edit(run / "record.json", data="none"), "field 'data' holds str, not dict"),
    "config cut": (lambda run: (run / "config.yaml").write_text("head: {_target_: "), "config.yaml cannot be read"),
    "config without a head": (headless, "config.yaml: head=None must be a mapping"),
    "weights cut": (lambda run: cut(run / "weights" / "trained.safetensors"), "trained.safetensors is damaged"),
    "weights gone": (lambda run: (run / "weights" / "trained.safetensors").unlink(), "the run has no weights"),
    "weights a file": (
        lambda run: (shutil.rmtree(run / "weights"), (run / "weights").write_text("x")),
        "holds unreadable weights",
    ),
    "manifest cut": (lambda run: cut(run / "weights" / "manifest.json"), "holds unreadable weights"),
    "manifest a list": (lambda run: (run / "weights" / "manifest.json").write_text("[]"), "unreadable weights"),
    "manifest no text": (lambda run: (run / "weights" / "manifest.json").write_bytes(b"\xff"), "unreadable weights"),
    "a strange part": (lambda run: exchanged(run, strange), "strange"),
    "another shape": (lambda run: exchanged(run, short), "head"),
}


@pytest.mark.parametrize("verb", ["evaluate", "start", pytest.param("rank", marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", RUNS)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_run_is_one_line(kept, run, tmp_path, capsys, damage, verb):
    spoil, told = RUNS[damage]
    spoil(run)
    words = {
        "evaluate": ["evaluate", f"run={run}"],
        "rank": ["rank", f"run={run}", "query=lamp"],
        "start": again(kept, tmp_path, f"start={run}"),
    }[verb]
    told = "size mismatch for" if damage == "another shape" and verb != "start" else told
    refused(capsys, words, told)


FIELDS = {"metrics": "none", "cost": [], "calibration": [1], "config": [], "funnel": 3, "comparisons": {}, "name": 7}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_record_whose_field_is_of_another_kind_is_no_record(run, capsys, field):
    edit(run / "record.json", **{field: FIELDS[field]})
    refused(capsys, ["report", run], f"record.json: field {field!r} holds ", "restore it from a copy")


BACKBONES = {
    "weights cut": (lambda home: cut(home / "model.safetensors"), "Error while deserializing"),
    "weights gone": (lambda home: (home / "model.safetensors").unlink(), "no file named model.safetensors"),
    "config cut": (lambda home: cut(home / "config.json"), "config.json cannot be read"),
    "another width": (lambda home: edit(home / "config.json", hidden_size=32), "other sizes than its config.json"),
    "a width of letters": (lambda home: edit(home / "config.json", hidden_size="big"), "expected int, got str"),
    "tokenizer cut": (lambda home: cut(home / "tokenizer.json"), "has no weights here"),
}


@pytest.mark.parametrize("damage", BACKBONES)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_backbone_folder_is_one_line(kept, tmp_path, capsys, damage):
    home = shutil.copytree(kept / "merged" / "backbone", tmp_path / "home")
    spoil, told = BACKBONES[damage]
    spoil(home)
    words = ["backbone=minilm", "backbone.revision=null", "backbone.sha256=null", "backbone.fallback=null"]
    words = [word for word in again(kept, tmp_path, *words) if "architecture" not in word]
    refused(capsys, [*words, f"backbone.name={home}"], f"backbone.name='{home}'", told)


def without_sums(spoil):
    """The damage, and the file that would tell of it lost as well."""
    return lambda folder: ((folder / "sha256.json").unlink(), spoil(folder))


LOGS = {
    "table cut": (lambda log: cut(log / "impressions.arrow"), "impressions.arrow is damaged (its sha256 differs)"),
    "sums a list": (lambda log: (log / "sha256.json").write_text("[]"), "is damaged"),
    "table cut, no sums": (without_sums(lambda log: cut(log / "items.arrow")), "items.arrow is damaged (Not an Arrow"),
    "store a list": (without_sums(lambda log: (log / "store.json").write_text("[]")), "is no log store"),
}


@pytest.mark.parametrize("damage", LOGS)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_log_store_is_one_line(kept, tmp_path, capsys, damage):
    shutil.copytree(kept / "cache", tmp_path / "cache")
    spoil, told = LOGS[damage]
    (log,) = (tmp_path / "cache").glob("log-*")
    spoil(log)
    refused(capsys, again(tmp_path, tmp_path), told, "it will be built again")


VECTORS = {
    "cut": (lambda folder: cut(folder / "values.bin"), "values.bin is damaged"),
    "lost": (lambda folder: (folder / "numbers.npy").unlink(), "is damaged"),
    "half of them": (without_sums(lambda folder: cut(folder / "values.bin")), "do not belong together"),
    "no numbers": (without_sums(lambda folder: (folder / "numbers.npy").write_bytes(b"x")), "is damaged"),
}


@pytest.mark.parametrize("damage", VECTORS)
@pytest.mark.tried("kept_file", "bad_input")
def test_damaged_item_vectors_are_one_line(run, capsys, damage):
    assert main(["rank", f"run={run}", "query=lamp"]) == 0
    (folder,) = (run / "vectors").iterdir()
    spoil, told = VECTORS[damage]
    spoil(folder)
    refused(capsys, ["rank", f"run={run}", "query=lamp"], told, "it will be built again")


STUDY = {"schema_version": 1, "study": {"name": "two"}, "runs": [], "trials": [], "comparisons": []}
STUDIES = {
    "cut": ('{"runs": [', "study.json cannot be read as JSON"),
    "a list": ("[]", "holds list, not a mapping"),
    "runs of text": (json.dumps(STUDY | {"runs": ["a"]}), "not a mapping with a list of runs"),
    "comparisons a text": (json.dumps(STUDY | {"comparisons": "x"}), "not a mapping with a list of runs"),
    "another version": (json.dumps(STUDY | {"schema_version": 9}), "schema_version=9"),
}


@pytest.mark.parametrize("damage", STUDIES)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_study_is_one_line(run, capsys, damage):
    content, told = STUDIES[damage]
    (run.parent / "study.json").write_text(content)
    refused(capsys, ["report", run.parent], told)


STATISTICS = {
    "cut": cut,
    "text": lambda path: path.write_text("x"),
    "one array": lambda path: (np.save(path.with_suffix(".npy"), np.zeros(3)), path.with_suffix(".npy").rename(path)),
    "pickled": lambda path: np.savez(path, a=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", STATISTICS)
@pytest.mark.tried("kept_file", "bad_input")
def test_damaged_statistics_are_no_evidence(run, tmp_path, capsys, damage):
    STATISTICS[damage](run / "statistics.npz")
    refused(capsys, ["report", run, f"evidence={tmp_path / 'evidence'}"], "statistics.npz cannot be read as statistics")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("record.json", "cannot be read as JSON"),
        ("history.parquet", "cannot be read"),
    ],
)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_cell_of_a_study_is_named(run, capsys, name, told):
    cut(run / name)
    refused(capsys, ["report", run.parent], f"{run / name} {told}")


DECISION = {"schema_version": 1, "verb": "rank", "run": "r", "numbers": {}, "tables": {}, "figures": []}
DECISIONS = {
    "cut": ('{"verb"', "decision.json cannot be read as JSON"),
    "a list": ("[]", "holds list, not a mapping"),
    "a bare number": (json.dumps(DECISION | {"numbers": {"a": 1}}), "'a' is neither a number nor a table"),
    "a table of nothing": (json.dumps(DECISION | {"tables": {"a": {"rows": [1]}}}), "'a' is neither a number nor"),
    "notes a text": (json.dumps(DECISION | {"notes": "x"}), "field 'notes' holds str, not list"),
    "a picture elsewhere": (json.dumps(DECISION | {"figures": ["../../secret.svg"]}), "must be a .png or .svg file"),
}


@pytest.mark.parametrize("damage", DECISIONS)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_decision_is_one_line(tmp_path, capsys, damage):
    content, told = DECISIONS[damage]
    (tmp_path / "decision.json").write_text(content)
    refused(capsys, ["report", tmp_path], told)


SEARCHES = {
    "no database": ("search.db", b"this is no database at all", "search.db cannot be used"),
    "its plan cut": ("search.yaml", b"{a: ", "search.yaml cannot be read"),
    "another plan": ("search.yaml", b"a: 1\n", "holds another search"),
    "no plan": ("search.yaml", None, "search.yaml is missing"),
}


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=[] if one == "no database" else pytest.mark.slow) for one in SEARCHES]
)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_search_is_one_line(tmp_path, capsys, damage):
    from omegaconf import OmegaConf

    from funneltune.cli import search
    from funneltune.cli.arguments import Arguments
    from funneltune.experiments.search_store import SearchStore

    name, content, told = SEARCHES[damage]
    words = ["quickstart", "debug=tiny", "search.trials=1", f"search_dir={tmp_path / 'search'}"]
    asked = search.Asked.compose(Arguments.parse(words))
    SearchStore(asked.folder, asked.checked().plan).open(OmegaConf.to_container(asked.cfg, resolve=True))
    path = tmp_path / "search" / name
    path.unlink() if content is None else path.write_bytes(content)
    refused(capsys, ["search", *words], told, "search_dir")


BUNDLE = {
    "kind": "none",
    "outputs": {"ctr": "p_click"},
    "inputs": {"scorer": ["ids"]},
    "features": {},
    "files": {"scorer.onnx": hashlib.sha256(b"\x08\x01 no graph").hexdigest()},
}
BUNDLES = {
    "no manifest": ({}, None, "manifest.json cannot be read"),
    "manifest cut": ({}, b'{"kind": ', "manifest.json cannot be read"),
    "manifest a list": ({}, b"[]", "it has no kind, one of twin, cross, none"),
    "another kind": ({"kind": "triple"}, b"", "it has no kind, one of twin, cross, none"),
    "no sums": ({"files": None}, b"", "it has no files"),
    "no outputs": ({"outputs": []}, b"", "it has no outputs"),
    "a lost file": ({"files": {"encoder.onnx": "0"}}, b"", "encoder.onnx is missing or not what was exported"),
    "another file": ({"files": {"scorer.onnx": "0"}}, b"", "scorer.onnx is missing or not what was exported"),
    "no graph": ({}, b"", "scorer.onnx cannot be read"),
}


@pytest.mark.parametrize("damage", BUNDLES)
@pytest.mark.tried("kept_file", "bad_input")
def test_a_damaged_bundle_is_one_value_error(tmp_path, damage):
    pytest.importorskip("onnxruntime")
    changes, manifest, told = BUNDLES[damage]
    (tmp_path / "scorer.onnx").write_bytes(b"\x08\x01 no graph")
    if manifest is not None:
        (tmp_path / "manifest.json").write_bytes(manifest or json.dumps(BUNDLE | changes).encode())
    with pytest.raises(ValueError, match="export the run again") as caught:
        Exported(tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
