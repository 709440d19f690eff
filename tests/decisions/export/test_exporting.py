"""A run exported, end to end: each form says what the run says, and what cannot be is told."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from exports import differences, loaded_data
from funneltune.decisions.export import Exported, export, latency, read_whole
from funneltune.decisions.export.checking import TestRows
from funneltune.errors import ConfigError, RunError
from funneltune.files import sha256_of
from funneltune.runs import load, scalings_of

DECODER = (
    "{model_type: gpt2, n_layer: 2, n_embd: 32, n_head: 2, vocab_size: 30522, bos_token_id: 101, eos_token_id: 102}"
)
DEBERTA = (
    "{model_type: deberta-v2, num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, "
    "vocab_size: 30522, relative_attention: true, position_buckets: 16, pos_att_type: [p2c, c2p], "
    "share_att_key: true, type_vocab_size: 2}"
)


@pytest.fixture(scope="module")
def run(train):
    """AdaLoRA with pruned ranks, every feature, calibrated."""
    return train("tuning=adalora", "tuning.target_rank=2", "tuning.initial_rank=4", "features=all")


@pytest.fixture(scope="module")
def told(run):
    return export(run, repeats=0)


@pytest.fixture(scope="module")
def output(run, told):
    return run / "export"


def test_every_form_says_what_the_run_says(told):
    found = differences(told)
    assert list(found) == ["run", "merged", "safetensors", "onnx", "int8"]
    assert found.pop("int8") > 1e-6  # seven bits are not thirty-two
    assert max(found.values()) < 1e-5
    assert told.numbers["int8/rank_correlation/ctr"]["value"] > 0.9


def test_latency_is_told_of_each_engine_and_question(run, output, monkeypatch):
    monkeypatch.setattr(latency, "THREADS", (1,))
    torch.set_num_threads(2)
    rows = TestRows.of(loaded_data(run))
    folders = {"onnx float32": output / "onnx", "onnx int8": output / "int8"}
    table = pd.DataFrame(latency.latencies(rows, folders, repeats=2), columns=latency.COLUMNS)
    assert torch.get_num_threads() == 2
    assert {"torch float32", "onnx float32", "onnx int8"} <= set(table.engine)
    assert set(table.what) == {"a query", "a page of 20 new items", "1,000 items with kept vectors"}
    assert (table["p50 ms"] > 0).all()
    assert (table["p50 ms"] <= table["p99 ms"]).all()
    assert (table[table.engine == "torch float32"]["x torch float32"] == 1).all()


def test_manifests_have_every_file_and_what_a_stranger_needs(output, run):
    for folder in (output, output / "model", output / "onnx", output / "int8"):
        content = json.loads((folder / "manifest.json").read_text())
        for name, digest in content["files"].items():
            assert sha256_of(folder / name) == digest
        for key in ("config", "funnel", "texts", "calibration", "max_tokens", "git_commit", "versions"):
            assert key in content
    own = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    assert set(json.loads((output / "manifest.json").read_text())["files"]) == own - {"manifest.json"}
    assert json.loads((output / "int8" / "manifest.json").read_text())["largest_difference"] < 0.05
    assert all(path.stat().st_mode & 0o044 for path in output.rglob("*"))


def test_a_merged_backbone_opens_without_peft_and_is_a_runs_backbone(output, run, train):
    texts = "trail running shoes"
    tokens = AutoTokenizer.from_pretrained(output / "backbone")(texts, return_tensors="pt")
    model = AutoModel.from_pretrained(output / "backbone").eval()
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state.mean(1)
    vector = Exported(output / "onnx").encode([texts])
    np.testing.assert_allclose(states.numpy(), vector, atol=1e-5)
    later = train("backbone=minilm", f"backbone.name={output / 'backbone'}", "tuning=frozen", "test=false")
    own = load(later).module.encoder.backbone.state_dict()
    for name, tensor in model.state_dict().items():
        assert "pooler" in name or torch.equal(own[name], tensor)


def test_probabilities_are_calibrated_as_predict_does_it(output, run):
    model, rows = Exported(output / "onnx"), TestRows.of(loaded_data(run))
    assert model.manifest["scalings"], "this run fits some"
    given = rows.repeated(20)
    titles = rows.data.store.text("items", rows.data.texts["item"])[:20]
    raw = model.score("shoes", titles, calibration="none", **given)
    for method in model.manifest["scalings"]:
        found = model.score("shoes", titles, calibration=method, **given)
        for rate, scaling in scalings_of(run, method).items():
            np.testing.assert_allclose(found[rate], scaling.apply(raw[rate]), atol=2e-6)
        np.testing.assert_allclose(found["ctcvr"], found["ctr"] * found["cvr"], atol=1e-6)
    assert model.score("shoes", titles, **given)["ctr"].tolist() == raw["ctr"].tolist()  # calibration.use=none


def test_a_rows_features_and_past_matter(output, run):
    model, rows = Exported(output / "int8"), TestRows.of(loaded_data(run))
    given, titles = rows.repeated(3), ["red shoes", "oak table", "lamp"]
    before = model.score("shoes", titles, **given)["ctr"]
    for name in ("user", "item.brand", "price"):
        changed = {**given["features"], name: 9 if name == "price" else "someone else"}
        assert np.abs(model.score("shoes", titles, **{**given, "features": changed})["ctr"] - before).max() > 0
    assert np.abs(model.score("shoes", titles, **{**given, "past": ["red shoes"]})["ctr"] - before).max() > 0
    vectors = model.encode(titles)
    np.testing.assert_allclose(model.score("shoes", vectors, **given)["ctr"], before, atol=1e-6)


def test_the_whole_model_is_built_from_its_folder_and_checked(output, run, tmp_path):
    module = read_whole(output / "model").module
    assert module.tuning.name == "frozen"
    assert not [name for name in module.state_dict() if "lora" in name]
    copy = tmp_path / "model"
    copy.mkdir()
    for path in (output / "model").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "config.yaml").write_text((copy / "config.yaml").read_text() + "\n")
    with pytest.raises(RunError, match=r"config.yaml is damaged: its sha256 is not the manifest's"):
        read_whole(copy)
    with pytest.raises(RunError, match=r"holds no whole model .*; give the folder `model` of an export"):
        read_whole(tmp_path)
    content = json.loads((copy / "manifest.json").read_text())
    (copy / "config.yaml").write_text((copy / "config.yaml").read_text().replace("- 128", "- 64"))
    content["files"]["config.yaml"] = sha256_of(copy / "config.yaml")
    (copy / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"does not fit its config"):
        read_whole(copy)


@pytest.fixture(scope="module")
def cross(train):
    """Houlsby adapters over pairs."""
    return train("tuning=houlsby", "tuning.bottleneck=4", "backbone.interaction=cross")


def test_adapters_are_written_as_they_are_and_pairs_have_graphs(cross):
    told = export(cross, repeats=0)
    found = differences(told)
    assert list(found) == ["run", "merged", "safetensors", "onnx", "int8"]
    assert max(value for name, value in found.items() if name != "int8") < 1e-5
    assert "cannot be merged; they lie beside the backbone" in told.notes[0]
    assert (cross / "export" / "backbone" / "adapters.safetensors").is_file()
    assert "latency" not in told.tables
    model = Exported(cross / "export" / "onnx")
    with pytest.raises(ValueError, match="kind=cross"):
        model.encode(["shoes"])
    assert model.score("shoes", ["red shoes", "lamp"])["ctr"].shape == (2,)


@pytest.mark.parametrize(
    ("words", "refused", "line"),
    [
        (("tuning=prefix",), "merged", "tuning=prefix has no place in the backbone's own weights"),
        (("tuning=lora", "tuning.sharing=mixture"), "merged", "a text's vector is a mixture of several sets"),
        (("tuning=pfeiffer", "tuning.sharing=per_task"), "merged", "sets of tuning=pfeiffer adapters are not merged"),
        (("tuning=lora", "tuning.sharing=per_task"), "onnx", "a text has a vector for each task"),
        (("backbone=none", "tuning=frozen", "features=all"), "int8", "there are no matrices of an encoder"),
    ],
)
@pytest.mark.slow
def test_a_form_that_a_run_has_not_is_refused_or_left_out(train, tmp_path, words, refused, line):
    run = train(*words)
    with pytest.raises(ConfigError, match=rf"to={refused}: .*{line}"):
        export(run, tmp_path / "out", to=refused)
    told = export(run, repeats=0)
    assert any(f"to={refused} was left out" in note and line in note for note in told.notes)
    found = differences(told)
    assert max(value for name, value in found.items() if name != "int8") < 1e-5
    if words[0] == "tuning=lora" and refused == "onnx":
        assert (run / "export" / "backbone" / "click" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ("tuning=frozen",),
        ("tuning=lora",),
        ("tuning=dora",),
        ("tuning=ia3",),
        ("tuning=bitfit",),
        ("tuning=bitfit", "tuning.sharing=per_task"),
        ("tuning=pfeiffer_hub", "backbone.pooling=cls"),
        ("tuning=lora", "head=aitm"),
        ("tuning=adalora", f"++backbone.architecture={DECODER}", "backbone.pooling=last"),
        ("tuning=lora", f"++backbone.architecture={DEBERTA}", "backbone.interaction=cross"),
    ],
    ids=lambda words: " ".join(words)[:60],
)
@pytest.mark.slow
def test_every_method_and_architecture_is_exported_as_it_is(train, words):
    told = export(train(*words), repeats=0)
    assert max(value for name, value in differences(told).items() if name != "int8") < 1e-5


@pytest.mark.slow
def test_a_run_in_bfloat16_is_exported_in_float32(train, tmp_path):
    run = train("tuning=lora", precision="bf16-mixed")
    told = export(run, tmp_path / "out", to="safetensors")
    assert told.numbers["run/largest_difference"]["protocol"]["tolerance"] is None
    assert 1e-7 < differences(told)["run"] < 0.01
    assert differences(told)["safetensors"] < 1e-5
