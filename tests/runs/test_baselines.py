"""Baselines on the test rows: the cosine is the bare backbone's, and a study computes it once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from funneltune.data import Split
from funneltune.runs import baselines
from funneltune.runs.baselines import score_baselines


@pytest.fixture
def assembly(make_data, tiny_backbone):
    baselines._COSINES.clear()
    return SimpleNamespace(backbone=tiny_backbone, data=make_data())


@pytest.fixture
def encoded(monkeypatch):
    """How often the bare backbone was asked."""
    calls, real = [], baselines._cosine
    monkeypatch.setattr(baselines, "_cosine", lambda *a: calls.append(1) or real(*a))
    return calls


def test_the_cosine_is_that_of_query_and_item_encoded_one_by_one(assembly):
    data, rows = assembly.data, np.sort(assembly.data.rows("test"))
    torch.manual_seed(0)
    scores = score_baselines(["cosine"], assembly)["cosine"]
    torch.manual_seed(0)
    encoder = assembly.backbone.encoder().eval()
    _, batch = next(iter(data.batches(rows[:5], interaction="twin")))
    with torch.inference_mode():
        vectors = encoder(batch.texts)
    wanted = torch.cosine_similarity(vectors[batch.text_of_row["query"]], vectors[batch.text_of_row["item"]])
    np.testing.assert_allclose(scores[:5], wanted.numpy(), atol=1e-5)


def test_cells_of_a_study_share_the_cosine(assembly, encoded):
    first = score_baselines(["cosine"], assembly)["cosine"]
    first += 1.0
    again = score_baselines(["cosine"], assembly)["cosine"]
    assert len(encoded) == 1
    np.testing.assert_allclose(again, first - 1.0)


def test_other_rows_and_other_texts_are_scored_anew(assembly, encoded, make_data):
    score_baselines(["cosine"], assembly)
    assembly.data = make_data(max_tokens=8)
    score_baselines(["cosine"], assembly)
    assembly.data = make_data(max_tokens=8, split=Split(by="request", validation=0.1, test=0.3))
    score_baselines(["cosine"], assembly)
    assert len(encoded) == 3
