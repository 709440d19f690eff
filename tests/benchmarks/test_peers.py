"""The peers do our work: one batch, the same loss, the same gradients."""

import pytest
import torch
from benchmarks.auc import Reached, Watch
from benchmarks.ours import Ours
from benchmarks.peers.hf import HFTrainer
from benchmarks.peers.rows import collate, pad, pieces
from benchmarks.peers.st import SentenceTransformers
from benchmarks.tokens import token_ratio

SMALL = (
    "experiment=quickstart",
    "backbone=tiny",
    "backbone.dropout=0",
    "tuning=lora",
    "trainer.precision=32-true",
    "data.source.impressions=2000",
    "data.source.items=200",
    "data.source.queries=60",
    "data.source.shoppers=100",
    "data.rows_per_batch=128",
)


@pytest.fixture(params=["twin", "cross"])
def both(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = Ours(*SMALL, f"backbone.interaction={request.param}")
    peer = HFTrainer(ours, batches=1)
    theirs = trained(peer.model.backbone)
    torch.manual_seed(1)
    for name, parameter in trained(ours.assembly.module.encoder.backbone).items():
        parameter.data.normal_(std=0.1)  # B starts at zero, and would hide A's gradient
        theirs[name].data.copy_(parameter.data)
    # `tiny` draws its weights: the peer takes ours over
    mine = dict(ours.assembly.module.encoder.backbone.named_parameters())
    for name, parameter in peer.model.backbone.base_model.model.named_parameters():
        parameter.data.copy_(mine[name.replace(".default", ".funneltune")].data)
    return ours, peer


def trained(backbone):
    named = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
    return {
        n.removeprefix("base_model.model.").replace(".default", "").replace(".funneltune", ""): p
        for n, p in named.items()
    }


def test_the_peers_loss_and_gradients_are_ours(both):
    ours, peer = both
    module, data = ours.assembly.module.train(), ours.assembly.data
    batch = data.collator()(next(iter(data.plan(0).draws())))
    assert len(batch.texts) < 2 * len(batch)
    mine = module.objective(batch, module(batch)).total()
    mine.backward()
    peer.model.train()
    theirs = peer.model(**collate([peer.examples[row] for row in range(len(batch))]))["loss"]
    theirs.backward()
    torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=0.0)
    pairs = [
        (parameter.grad, trained(peer.model.backbone)[name].grad)
        for name, parameter in trained(module.encoder.backbone).items()
    ]
    pairs += [
        (a.grad, b.grad)
        for task, tower in (("click", peer.model.click), ("purchase", peer.model.purchase))
        for a, b in zip(module.head.towers[task].parameters(), tower.parameters(), strict=True)
    ]
    assert len(pairs) == 2 * 2 * 2 + 8
    for a, b in pairs:
        assert a.abs().max() > 0
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4 * float(a.abs().max()))


@pytest.mark.slow
def test_sentence_transformers_loss_is_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = Ours(*SMALL)
    peer = SentenceTransformers(ours, batches=1)
    mine = dict(ours.assembly.module.encoder.backbone.named_parameters())
    for name, parameter in peer.model[0].auto_model.named_parameters():
        if name.startswith("pooler"):
            continue  # not read
        parameter.data.copy_(mine[name.replace(".default", ".funneltune")].data)
    module, data = ours.assembly.module.eval(), ours.assembly.data
    batch = data.collator()(next(iter(data.plan(0).draws())))
    rows = peer.rows[: len(batch)]
    features = [peer.model.tokenize(rows[name]) for name in ("query", "title")]
    theirs = peer.loss(features, torch.tensor(rows["label"]))
    torch.testing.assert_close(theirs, module.objective(batch, module(batch)).total(), rtol=1e-5, atol=0.0)
    assert len([p for p in peer.model.parameters() if p.requires_grad]) == 2 * 2 * 2


def test_seconds_to_an_auc_leave_evaluations_out():
    found = iter([0.5, 0.7, 0.9])
    clock = iter(range(100))
    watch = Watch(lambda: (next(clock), next(found))[1], 0.8, now=lambda: float(next(clock)))
    watch.begin()
    for _ in range(5):
        watch.step(1024)
    with pytest.raises(Reached):
        watch.step(1024)
    assert watch.seen == [(2048, 2.0, 0.5), (4096, 4.0, 0.7), (6144, 6.0, 0.9)]  # a second each, evaluations none


def test_unique_tokens_are_those_of_the_batch(both):
    ours, peer = both
    found = token_ratio(ours, 1)
    texts = [row for name in ("query", "title", "pair") if name in peer.examples.columns for row in [name]]
    every = sum(len(peer.examples.columns[name][row]) for name in texts for row in range(int(found["rows"])))
    distinct = sum(
        len(t)
        for t in {(n, tuple(t)) for n in texts for t in peer.examples.columns[n][: int(found["rows"])]}
        for t in [t[1]]
    )
    assert (found["all_tokens"], found["unique_tokens"]) == (every, distinct)


def test_micro_batches_are_equal_where_they_can_be():
    assert [pieces(4080, 128), pieces(4080, 512), pieces(120, 128), pieces(997, 128), pieces(50, None)] == [
        34,
        8,
        1,
        8,
        1,
    ]


def test_padding_is_masked():
    ids, mask = pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
