"""Ranking a log's items for a query: the run's own probabilities, from vectors that are computed once."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from funneltune.cli import main
from funneltune.decisions import Ranker
from funneltune.decisions.item_side import ItemSide
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import AITM, ESM2, ESMM, PLE, STEM, CrossStitch, MMoE, OMoE, SharedBottom, Single
from funneltune.runs import predict
from funneltune.schema import SHARED

SMALL = [
    "backbone=tiny",
    "head=esmm",
    "objective=entire_space_bce",
    "data.source.impressions=600",
    "data.source.items=120",
    "data.source.queries=40",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]
QUERY = "red running shoes"


def train(folder, *more):
    assert main(["train", f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}", *SMALL, *more]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("float32"), "tuning=full", "trainer.precision=32-true")


@pytest.fixture(scope="module")
def ranker(run):
    return Ranker.of_run(run)


def predicted(run, ranker, folder):
    """What `predict` says of the query and every item."""
    pairs = pd.DataFrame({"query": QUERY, "title": ranker.titles})
    pairs.to_csv(folder / "pairs.csv", index=False)
    predict(run, folder / "pairs.csv", folder / "scores.csv")
    return pd.read_csv(folder / "scores.csv")


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_in_bfloat16_probabilities_are_those_of_predict_up_to_its_rounding(tmp_path, tuning):
    run = train(tmp_path, f"tuning={tuning}", "trainer.precision=bf16-mixed")
    ranker = Ranker.of_run(run)
    assert ranker.catalogue.multiplied_in == torch.bfloat16
    assert {p.dtype for n, p in ranker.module.encoder.named_parameters() if "dense.weight" in n} == {torch.bfloat16}
    found, wanted = ranker.probabilities(QUERY), predicted(run, ranker, tmp_path)
    np.testing.assert_allclose(found["ctr"], wanted.p_click, rtol=5e-3)
    np.testing.assert_allclose(found["ctcvr"], wanted.p_click_and_purchase, rtol=1e-2)


def test_probabilities_are_those_of_predict(run, ranker, tmp_path):
    wanted = predicted(run, ranker, tmp_path)
    found = ranker.probabilities(QUERY)
    assert ranker.catalogue.folds
    assert list(found) == ["ctr", "cvr", "ctcvr"]
    np.testing.assert_allclose(found["ctr"], wanted.p_click, rtol=1e-5)
    np.testing.assert_allclose(found["cvr"], wanted.p_purchase_given_click, rtol=1e-5)
    np.testing.assert_allclose(found["ctcvr"], wanted.p_click_and_purchase, rtol=1e-5)


def test_the_best_come_first_and_equal_ones_in_the_logs_order(ranker):
    ctcvr = ranker.probabilities(QUERY)["ctcvr"]
    found = ranker.rank(QUERY, top=10)
    assert [ranker.keys.index(one.item) for one in found] == np.argsort(-ctcvr, kind="stable")[:10].tolist()
    assert [one.p["ctcvr"] for one in found] == sorted((one.p["ctcvr"] for one in found), reverse=True)
    assert found[0].title == ranker.titles[ranker.keys.index(found[0].item)]
    twice = ranker.rank(QUERY, items=[7, 3, 7], top=3)
    assert len({one.item for one in twice}) == 2


def test_of_some_items_only_these_are_ranked(ranker):
    some = [50, 3, 20]
    found = ranker.rank(QUERY, by="ctr", items=some)
    everywhere = ranker.probabilities(QUERY)["ctr"]
    assert [one.item for one in found] == [ranker.keys[i] for i in sorted(some, key=lambda i: -everywhere[i])]
    for one in found:
        assert one.p["ctr"] == pytest.approx(everywhere[ranker.keys.index(one.item)], rel=1e-5)


def test_a_head_that_is_not_linear_on_the_features_is_scored_whole(ranker):
    class Squared(torch.nn.Module):
        views = (SHARED,)

        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, inputs):
            return self.head({name: x**2 for name, x in inputs.items()})

    module, plain = ranker.module, ranker.module.head
    module.head = Squared(plain)
    try:
        side = ItemSide(module, ranker.catalogue.vectors)
        query = torch.randn(ranker.catalogue.vectors.shape[1])
        assert not side.folds
        some = torch.tensor([4, 2])
        for task, logits in side.logits(query, some).logits.items():
            torch.testing.assert_close(logits, side.logits(query, None).logits[task][some])
    finally:
        module.head = plain


CART = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click"]}})


@pytest.mark.parametrize("head", [Single, SharedBottom, CrossStitch, OMoE, MMoE, PLE, ESMM, ESM2, AITM, STEM])
def test_every_head_is_folded_or_scored_whole_to_the_same_logits(ranker, monkeypatch, head):
    module, vectors = ranker.module, ranker.catalogue.vectors
    made = head(4 * vectors.shape[1] + 1, CART).eval()
    for p in made.parameters():
        p.data.add_(0.2 * torch.randn_like(p))  # towers start all but flat
    monkeypatch.setitem(module._modules, "head", made)
    monkeypatch.setattr(module, "funnel", CART)
    side = ItemSide(module, vectors)
    assert side.folds == (head is not STEM)
    query = torch.randn(vectors.shape[1])
    for items in (None, torch.tensor([4, 2, 99])):
        found, wanted = side.logits(query, items), side._whole(query, items)
        for task, logits in wanted.logits.items():
            assert logits.std() > 1e-2
            torch.testing.assert_close(found.logits[task], logits, rtol=1e-4, atol=1e-4)


def test_a_head_that_reads_more_than_what_is_shared_is_not_folded_even_where_a_trial_would_agree(ranker, monkeypatch):
    module, vectors = ranker.module, ranker.catalogue.vectors
    monkeypatch.setattr(module, "funnel", CART)
    monkeypatch.setitem(module._modules, "head", STEM(4 * vectors.shape[1] + 1, CART).eval())  # flat: all logits near 0
    side = ItemSide(module, vectors)
    assert side._agrees()
    assert not side.folds


def test_a_run_with_a_vector_per_task_is_refused(ranker, monkeypatch):
    monkeypatch.setattr(ranker.module.tuning, "sharing", "per_task", raising=False)
    with pytest.raises(ConfigError, match="tuning.sharing=per_task: each task has vectors of its own"):
        Ranker(ranker.assembly, ranker.catalogue.vectors)


def test_vectors_are_computed_once_and_anew_for_other_weights(run, tmp_path, monkeypatch):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = Ranker.of_run(copy).rank(QUERY)
    monkeypatch.setattr("funneltune.decisions.ranking.encode_items", lambda _: pytest.fail("encoded again"))
    assert Ranker.of_run(copy).rank(QUERY) == before
    (copy / "weights" / "manifest.json").write_text((copy / "weights" / "manifest.json").read_text() + "\n")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        Ranker.of_run(copy)


def test_vectors_that_lost_a_file_are_told(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    Ranker.of_run(copy)
    for path in next((copy / "vectors").iterdir()).iterdir():
        path.unlink()
    assert main(["rank", f"run={copy}", f"query={QUERY}"]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"query": "  "}, "query='  ' is empty"),
        ({"query": QUERY, "by": "ctvr"}, "by='ctvr' must be one of ctr, cvr, ctcvr; did you mean"),
        ({"query": QUERY, "top": 0}, "top=0 must be >= 1"),
        ({"query": QUERY, "items": [3, 120]}, "items: 120 must lie in 0 .. 119"),
    ],
)
def test_what_cannot_be_ranked_is_refused(ranker, asked, told):
    with pytest.raises(ConfigError, match=told):
        ranker.rank(**asked)


def test_pairs_that_are_read_together_have_no_item_vectors(tmp_path):
    run = train(tmp_path, "tuning=frozen", "backbone.interaction=cross")
    with pytest.raises(ConfigError, match="backbone.interaction=cross: items have no vectors"):
        Ranker.of_run(run)


def test_the_command_prints_the_order(run, ranker, capsys):
    assert main(["rank", f"run={run}", f"query={QUERY}", "by=ctr", "top=3"]) == 0
    printed = capsys.readouterr().out
    for one in ranker.rank(QUERY, by="ctr", top=3):
        assert one.item in printed
        assert f"{one.p['ctr']:.4f}" in printed
    assert main(["rank", f"run={run}", f"query={QUERY}", "top=many"]) == 2
