"""All items of a log for a query: the run's own probabilities, from vectors that are computed once."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from funneltune.cli import main
from funneltune.data import Asked
from funneltune.decisions import Scorer
from funneltune.decisions.item_side import ItemSide
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
def scorer(run):
    return Scorer.of_run(run)


def everything(scorer):
    return scorer.score([Asked(QUERY)], [None])[0]


def predicted(run, scorer, folder):
    """What `predict` says of the query and every item."""
    pairs = pd.DataFrame({"query": QUERY, "title": scorer.catalogue.titles})
    pairs.to_csv(folder / "pairs.csv", index=False)
    predict(run, folder / "pairs.csv", folder / "scores.csv")
    return pd.read_csv(folder / "scores.csv")


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_in_bfloat16_probabilities_are_those_of_predict_up_to_its_rounding(tmp_path, tuning):
    run = train(tmp_path, f"tuning={tuning}", "trainer.precision=bf16-mixed")
    scorer = Scorer.of_run(run)
    assert scorer.item_side.multiplied_in == torch.bfloat16
    assert {p.dtype for n, p in scorer.module.encoder.named_parameters() if "dense.weight" in n} == {torch.bfloat16}
    found, wanted = everything(scorer), predicted(run, scorer, tmp_path)
    np.testing.assert_allclose(found["ctr"], wanted.p_click, rtol=5e-3)
    np.testing.assert_allclose(found["ctcvr"], wanted.p_click_and_purchase, rtol=1e-2)


def test_probabilities_are_those_of_predict(run, scorer, tmp_path):
    wanted = predicted(run, scorer, tmp_path)
    found = everything(scorer)
    assert scorer.item_side.folds
    assert list(found) == ["ctr", "cvr", "ctcvr"]
    np.testing.assert_allclose(found["ctr"], wanted.p_click, rtol=1e-5)
    np.testing.assert_allclose(found["cvr"], wanted.p_purchase_given_click, rtol=1e-5)
    np.testing.assert_allclose(found["ctcvr"], wanted.p_click_and_purchase, rtol=1e-5)


def test_some_items_have_the_probabilities_that_they_have_among_all(scorer):
    some = np.array([50, 3, 20])
    found = scorer.score([Asked(QUERY)], [some])[0]
    np.testing.assert_allclose(found["ctr"], everything(scorer)["ctr"][some], rtol=1e-5)


def test_a_head_that_is_not_linear_on_the_features_is_scored_whole(scorer):
    class Squared(torch.nn.Module):
        views = (SHARED,)

        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, inputs):
            return self.head({name: x**2 for name, x in inputs.items()})

    module, plain = scorer.module, scorer.module.head
    module.head = Squared(plain)
    try:
        side = ItemSide(module, scorer.item_side.vectors)
        query = torch.randn(scorer.item_side.vectors.shape[1])
        assert not side.folds
        some = torch.tensor([4, 2])
        for task, logits in side.logits(query, some).logits.items():
            torch.testing.assert_close(logits, side.logits(query, None).logits[task][some])
    finally:
        module.head = plain


CART = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click"]}})


@pytest.mark.parametrize("head", [Single, SharedBottom, CrossStitch, OMoE, MMoE, PLE, ESMM, ESM2, AITM, STEM])
def test_every_head_is_folded_or_scored_whole_to_the_same_logits(scorer, monkeypatch, head):
    module, vectors = scorer.module, scorer.item_side.vectors
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


def test_a_head_that_reads_more_than_what_is_shared_is_not_folded_even_where_a_trial_would_agree(scorer, monkeypatch):
    module, vectors = scorer.module, scorer.item_side.vectors
    monkeypatch.setattr(module, "funnel", CART)
    monkeypatch.setitem(module._modules, "head", STEM(4 * vectors.shape[1] + 1, CART).eval())  # flat: all logits near 0
    side = ItemSide(module, vectors)
    assert side._agrees()
    assert not side.folds


def test_vectors_are_computed_once_and_anew_for_other_weights(run, tmp_path, monkeypatch):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = everything(Scorer.of_run(copy))
    monkeypatch.setattr(Scorer, "encoded_items", lambda _: pytest.fail("encoded again"))
    np.testing.assert_array_equal(everything(Scorer.of_run(copy))["ctcvr"], before["ctcvr"])
    (copy / "weights" / "manifest.json").write_text((copy / "weights" / "manifest.json").read_text() + "\n")
    with pytest.raises(pytest.fail.Exception, match="encoded again"):
        everything(Scorer.of_run(copy))


def test_vectors_that_lost_a_file_are_told(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    everything(Scorer.of_run(copy))
    for path in next((copy / "vectors").iterdir()).iterdir():
        path.unlink()
    assert main(["rank", f"run={copy}", f"query={QUERY}"]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["query= "], "query= is empty"),
        ([f"query={QUERY}", "by=ctvr"], "by='ctvr' must be one of ctr, cvr, ctcvr"),
        ([f"query={QUERY}", "top=0"], "top=0 must be"),
        ([f"query={QUERY}", "top=many"], "top=many must be"),
    ],
)
def test_what_cannot_be_ranked_is_refused(run, words, told, capsys):
    assert main(["rank", f"run={run}", *words]) == 2
    assert told in capsys.readouterr().err


def test_the_command_prints_the_order(run, scorer, capsys):
    assert main(["rank", f"run={run}", f"query={QUERY}", "by=ctr", "top=3"]) == 0
    printed = capsys.readouterr().out
    ctr = everything(scorer)["ctr"]
    for number in np.argsort(-ctr, kind="stable")[:3]:
        assert scorer.catalogue.keys[number] in printed
        assert f"{ctr[number]:.4f}" in printed
