"""Whom the tuned weights serve: every method that can give each task its own, or a mixture."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, BertConfig

from funneltune.backbones import Encoder
from funneltune.errors import TuningError
from funneltune.schema import SHARED, Texts
from funneltune.tuning import IA3, AdaLoRA, BitFit, DoRA, Frozen, Full, Houlsby, LoRA, Pfeiffer, PfeifferHub, Prefix

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

METHODS = {
    "bitfit": lambda **k: BitFit(learning_rate=1e-2, **k),
    "houlsby": lambda **k: Houlsby(bottleneck=4, learning_rate=1e-2, **k),
    "pfeiffer": lambda **k: Pfeiffer(bottleneck=4, learning_rate=1e-2, **k),
    "pfeiffer_hub": lambda **k: PfeifferHub(bottleneck=4, learning_rate=1e-2, **k),
    "lora": lambda **k: LoRA(rank=2, learning_rate=1e-2, **k),
    "dora": lambda **k: DoRA(rank=2, learning_rate=1e-2, **k),
    "ia3": lambda **k: IA3(learning_rate=1e-1, **k),
    "prefix": lambda **k: Prefix(length=3, learning_rate=1e-1, **k),
}
VIEWS = ("click", "purchase")
BOTH = pytest.mark.parametrize("sharing", ["per_task", "mixture"])
EACH = pytest.mark.parametrize("name", METHODS)


def bare():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return AutoModel.from_config(config, add_pooling_layer=False)


def texts():
    sizes = torch.tensor([3, 5, 6])
    return Texts(torch.randint(0, 200, (14,), generator=torch.Generator().manual_seed(1)), sizes, sizes)


def shared_out(method, views=VIEWS):
    encoder = Encoder(bare()).eval()
    torch.manual_seed(5)
    method.apply(encoder.backbone)
    encoder.sets = method.share(views)
    encoder.boundary = method.lowest_trained_layer
    return encoder


def fit(method, encoder, steps=6):
    groups = [{k: v for k, v in group.items() if k != "name"} for group in method.parameter_groups()]
    optimizer = torch.optim.AdamW(groups)
    losses = []
    for _ in range(steps):
        found = encoder.views(texts())
        loss = (found["click"] - torch.linspace(-1, 1, 16)).square().mean() + found["purchase"].square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@BOTH
@EACH
def test_every_method_learns_and_comes_back_from_what_is_stored(name, sharing):
    method = METHODS[name](sharing=sharing)
    encoder = shared_out(method)
    frozen = {n: p.clone() for n, p in encoder.backbone.named_parameters()}
    assert not any(p.requires_grad for p in encoder.backbone.parameters())
    trained = [id(p) for group in method.parameter_groups() for p in group["params"]]
    assert sorted(trained) == sorted(map(id, encoder.sets.parameters()))
    losses = fit(method, encoder)
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in encoder.backbone.named_parameters())
    found = encoder.views(texts())
    assert not torch.equal(found["click"], found["purchase"])
    first, second, *_ = method.copies()
    assert max(float((p - second[n]).detach().abs().max()) for n, p in first.items()) > 1e-2
    tensors = {n: t.clone() for n, t in method.export(encoder.backbone).items()}
    assert all(n.startswith("sets.") for n in tensors)
    again = METHODS[name](sharing=sharing)
    other = shared_out(again)
    again.restore(other.backbone, tensors)
    assert all(torch.equal(vectors, found[view]) for view, vectors in other.views(texts()).items())
    with pytest.raises(TuningError, match="stored weights do not fit, 'sets"):
        again.restore(other.backbone, dict(list(tensors.items())[1:]))


@EACH
def test_sets_of_a_mixture_start_apart_and_the_first_as_the_shared_run(name):
    one = METHODS[name]()
    plain = shared_out(one)
    method = METHODS[name](sharing="mixture", adapters=3)
    encoder = shared_out(method)
    first, *others = method.copies()
    assert len(others) == 2
    assert all(torch.equal(p, first[n]) for n, p in one.copies()[0].items())
    for other in others:
        assert any(not torch.equal(p, first[n]) for n, p in other.items())
        assert all((p - first[n]).abs().max() < 2 for n, p in other.items())
    with torch.no_grad():
        (wanted,) = plain.views(texts()).values()
        found = encoder.views(texts())
    torch.testing.assert_close(found["click"], wanted, atol=0.2, rtol=0)
    assert torch.equal(found["click"], found["purchase"])


@EACH
def test_each_set_counts_and_where_the_lowest_lies_is_the_methods_own(name):
    one, apart, mixed = (
        METHODS[name](top=1),
        METHODS[name](top=1, sharing="per_task"),
        METHODS[name](top=1, sharing="mixture"),
    )
    for method in (one, apart, mixed):
        shared_out(method, (*VIEWS, SHARED))
    assert one.lowest_trained_layer == apart.lowest_trained_layer == mixed.lowest_trained_layer == 1
    own = one.trained_at_end()
    assert apart.trained_at_end() == 3 * own  # the head reads what is shared beside them
    assert mixed.trained_at_end() == 2 * own + 3 * 2 * 16  # as many sets as tasks, and three gates
    assert one.rank_pattern() == apart.rank_pattern() == mixed.rank_pattern()


def test_the_adapters_norm_is_that_of_every_set():
    one, apart = METHODS["houlsby"](), METHODS["houlsby"](sharing="per_task")
    shared_out(one)
    shared_out(apart)
    assert apart.weight_norm() == pytest.approx(one.weight_norm() * 2**0.5)
    assert apart.adapter_parameters() == 2 * one.adapter_parameters()


@pytest.mark.parametrize("name", ["lora", "dora", "ia3"])
def test_pefts_own_files_hold_each_tasks_set(name, tmp_path):
    method = METHODS[name](sharing="per_task")
    encoder = shared_out(method)
    fit(method, encoder)
    method.export_peft(tmp_path, write=False)
    assert not list(tmp_path.iterdir())
    method.export_peft(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["click", "purchase"]
    found = encoder.views(texts())
    for task in VIEWS:
        theirs = Encoder(PeftModel.from_pretrained(bare(), str(tmp_path / task)).base_model.model).eval()
        torch.testing.assert_close(theirs(texts()), found[task], atol=1e-5, rtol=1e-5)
    assert json.loads((tmp_path / "click" / "adapter_config.json").read_text())["inference_mode"]


def test_a_stored_adapter_is_where_every_set_of_a_mixture_starts_near(tmp_path):
    first = METHODS["lora"]()
    fit_me = Encoder(bare())
    first.apply(fit_me.backbone)
    first.export_peft(tmp_path)
    method = METHODS["lora"](adapter=str(tmp_path), sharing="mixture")
    shared_out(method)
    one, other = method.copies()
    spread = max(float((p - other[n]).abs().max().detach()) for n, p in one.items())
    assert 0 < spread < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRA(sharing="each"), "tuning.sharing='each' must be one of shared, per_task, mixture"),
        (
            lambda: Full(sharing="per_task"),
            "sharing=per_task does not go with tuning=full: every task would have a model",
        ),
        (lambda: Frozen(sharing="mixture"), "sharing=mixture does not go with tuning=frozen: it tunes nothing"),
        (lambda: AdaLoRA(sharing="per_task"), "sharing=per_task does not go with tuning=adalora: one allocator"),
        (lambda: LoRA(adapters=2), "tuning.adapters=2 is the number of sets that a mixture mixes"),
        (lambda: LoRA(sharing="per_task", adapters=2), "and tuning.sharing=per_task; set tuning.sharing=mixture"),
        (lambda: IA3(sharing="mixture", adapters=1), "tuning.adapters=1 must be a whole number >= 2"),
        (
            lambda: shared_out(BitFit(sharing="mixture"), ("click",)),
            "as many sets as there are tasks, and there is one",
        ),
    ],
)
def test_what_cannot_be_shared_out_is_refused(make, message):
    with pytest.raises(TuningError, match=message):
        make()
