"""The class that reads an export by itself: its hash, its pairs, and what it refuses."""

import json

import numpy as np
import pandas as pd
import pytest

from funneltune.data.collate import longest_first
from funneltune.decisions.export.exported import MANIFEST, Exported, siphash, text_hash

TEXTS = ["", "a", "item.brand\x1fNike", "user\x1f17", "跑步鞋" * 9, "sixteen letters!"]


def test_siphash_of_its_papers_example():
    assert siphash(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5


def test_text_is_hashed_as_pandas_does_in_training():
    wanted = pd.util.hash_array(np.array(TEXTS, dtype=object), categorize=False)
    assert [text_hash(text) for text in TEXTS] == wanted.tolist()


class Stub(Exported):
    """An export whose graphs are not opened."""

    def __init__(self, **manifest):
        usual = {"before": 1, "after": 2, "max_tokens": 9, "scalings": ["platt"], "use": "none", "width": 4}
        features = {"ids": ["user"], "buckets": 8, "numbers": ["price"], "vectors": {"image": 3}}
        features |= {"history": 2, "history_ids": False}
        self.manifest = usual | {"features": features} | manifest
        self.kind, self.outputs = "twin", {"ctr": "p_click"}

    def encode(self, texts):
        return np.array([[len(text)] * 4 for text in texts], dtype=np.float32)


@pytest.mark.parametrize("a", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("b", [0, 1, 2, 3, 4, 9])
def test_a_pair_gives_up_tokens_as_in_training(a, b):
    ids, first = Stub()._around([5] * a, [6] * b)
    kept = longest_first(np.array([a]), np.array([b]), 9 - 3)
    assert (ids.count(5), ids.count(6)) == tuple(int(k[0]) for k in kept)
    assert ids[0] == 1
    assert ids[first - 1] == ids[-1] == 2
    assert first == ids.count(5) + 2


def test_a_text_is_cut_to_its_room():
    assert Stub()._around([5] * 20) == ([1, *[5] * 7, 2], 9)
    assert Stub(before=None, after=None)._around([5] * 20) == ([5] * 9, 9)


def test_a_value_serves_all_items_and_a_list_each_one():
    found = Stub()._feature_inputs({"user": "u1", "price": [1, 2.5], "image": np.ones((2, 3))}, 2)
    assert found["ids"].tolist() == [[text_hash("user\x1fu1") % 8]] * 2
    assert found["numbers"].tolist() == [[1.0], [2.5]]
    assert found["vectors"].shape == (2, 3)


def test_the_past_is_padded_to_the_runs_history():
    found = Stub()._past_inputs(["ab", "abc", "never read"], {}, 1)
    assert found["past"][:, 0].tolist() == [2, 3]
    assert Stub()._past_inputs([], {}, 1)["past_there"].tolist() == [0, 0]
    by_id = Stub()
    by_id.manifest["features"]["history_ids"] = True
    found = by_id._past_inputs(["i7"], {"item": ["i7", "i8"]}, 2)
    assert found["past_ids"].tolist() == [found["candidate"][0], -1]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda m: m.score("q", ["t"], calibration="beta"), "calibration='beta' must be one of none, platt"),
        (lambda m: m._feature_inputs({"user": "u"}, 1), "features: 'price' is missing"),
        (lambda m: m._feature_inputs({"user": ["u"] * 3, "price": 1}, 2), "features: 'user' has 3 values for 2 items"),
        (lambda m: m._feature_inputs({"user": "u", "price": 1, "image": np.ones((1, 2))}, 1), r"shape \(1, 2\)"),
        (lambda m: m._as_vectors(np.ones((2, 5))), "vectors are 5 wide, and this run's are 4"),
        (lambda m: Exported.encode(m, ["t"]), "kind=cross: a text has no vector of its own"),
    ],
)
def test_a_wrong_question_is_told_in_a_line(call, line):
    model = Stub()
    if "kind=" in line:
        model.kind = "cross"
    with pytest.raises(ValueError, match=line):
        call(model)


def test_no_items_have_no_scores():
    assert {name: p.shape for name, p in Stub().score("q", []).items()} == {"ctr": (0,)}


def test_a_folder_that_is_none_or_damaged_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"manifest.json cannot be read"):
        Exported(tmp_path)
    told = {"kind": "none", "outputs": {}, "inputs": {}, "features": {}, "files": {"scorer.onnx": "0" * 64}}
    (tmp_path / MANIFEST).write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"scorer.onnx is missing or not what was exported"):
        Exported(tmp_path)
    (tmp_path / "scorer.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"scorer.onnx is missing or not what was exported"):
        Exported(tmp_path)
