"""Sets of tuned weights that take turns in one backbone, and the gates that mix what they give."""

import numpy as np
import pytest
import torch
from torch import nn

from funneltune.backbones import BoundaryCache, Encoder, WeightSets
from funneltune.errors import ConfigError
from funneltune.schema import SHARED, Texts
from funneltune.tuning import BitFit, Houlsby, LoRA


def texts(*lengths, seed=0):
    sizes = torch.tensor(lengths)
    ids = torch.randint(1000, 5000, (int(sizes.sum()),), generator=torch.Generator().manual_seed(seed))
    return Texts(ids, sizes, sizes, torch.arange(len(sizes)))


BATCH = texts(3, 4, 7, 9)


def encoder_of(backbone, tuning, views=("click", "purchase"), **more):
    torch.manual_seed(0)
    encoder = Encoder(backbone.model(), **more).eval()
    tuning.apply(encoder.backbone)
    encoder.sets = tuning.share(views)
    encoder.boundary = tuning.lowest_trained_layer
    return encoder


def stir(encoder, seed=3):
    """Sets that differ, as after training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.sets.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return encoder


def lora(**more):
    return LoRA(rank=2, **({"sharing": "per_task"} | more))


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = type("config", (), {"hidden_size": 3})
        self.linear = nn.Linear(3, 3)
        self.linear.weight.requires_grad_(False)


def test_a_set_is_in_its_place_only_while_it_is_used():
    backbone = Tiny()
    sets = WeightSets(backbone, ["a", "b"])
    assert sets.names == ("linear.bias",)
    assert backbone.linear.bias is None
    with sets.placed("b"):
        assert backbone.linear.bias is sets.of("b")["linear.bias"]
    with pytest.raises(ZeroDivisionError), sets.placed("a"):
        _ = 1 / 0
    assert backbone.linear.bias is None
    assert sum(p.numel() for p in sets.parameters()) == 2 * 3


def test_a_parameter_in_two_places_is_swapped_in_both():
    backbone = Tiny()
    backbone.other = nn.Linear(3, 3)
    backbone.other.weight.requires_grad_(False)
    backbone.other.bias = backbone.linear.bias
    sets = WeightSets(backbone, ["a", "b"])
    with sets.placed("b"):
        assert backbone.other.bias is backbone.linear.bias is sets.of("b")["linear.bias"]
    assert len(list(sets.parameters())) == 2


def test_a_task_may_be_called_what_a_module_has_already():
    labels = ["train", "forward", "keys", "点击", "gate_0", "0"]
    sets = WeightSets(Tiny(), labels, mixed_for=labels)
    assert len(list(sets.parameters())) == 2 * len(labels)
    other = WeightSets(Tiny(), labels, mixed_for=labels)
    other.load_state_dict(sets.state_dict())
    assert torch.equal(other.of("点击")["linear.bias"], sets.of("点击")["linear.bias"])


def test_a_mixture_is_the_equations_in_numpy():
    torch.manual_seed(1)
    sets = WeightSets(Tiny(), ["0", "1", "2"], mixed_for=["click", "purchase"])
    each = torch.randn(3, 5, 3)  # sets, texts, width
    started = sets.views(list(each))
    torch.testing.assert_close(started["click"], each.mean(0))
    assert torch.equal(started["click"], started["purchase"])
    with torch.no_grad():
        for gate in sets.gate_parameters():
            gate.normal_()
    found = sets.views(list(each))
    v = each.numpy()
    for view in ("click", "purchase"):
        weight = sets.get_submodule(f"gate_{view}").weight.detach().numpy()
        raw = np.exp(v.mean(axis=0) @ weight.T)
        gates = raw / raw.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(sets.last_gates[f"adapters_{view}"], gates, rtol=1e-5)
        np.testing.assert_allclose(found[view].detach(), np.einsum("uk,kuw->uw", gates, v), rtol=1e-5, atol=1e-6)
    assert not any(weights.requires_grad for weights in sets.last_gates.values())


def test_a_mixture_is_computed_in_whole_precision():
    sets = WeightSets(Tiny(), ["0", "1"], mixed_for=["click"])
    with torch.autocast("cpu", torch.bfloat16):
        assert sets.views([torch.randn(2, 3), torch.randn(2, 3)])["click"].dtype == torch.float32


@pytest.mark.parametrize("tuning", [lambda **k: LoRA(rank=2, **k), lambda **k: Houlsby(bottleneck=4, **k), BitFit])
def test_at_its_start_every_task_reads_what_the_shared_run_reads(tiny_backbone, tuning):
    shared = encoder_of(tiny_backbone, tuning())
    apart = encoder_of(tiny_backbone, tuning(sharing="per_task"))
    with torch.no_grad():
        (wanted,) = shared.views(BATCH).values()
        found = apart.views(BATCH)
    assert set(found) == {"click", "purchase"}
    assert all(torch.equal(vectors, wanted) for vectors in found.values())


@pytest.mark.parametrize(("tuning", "times"), [(lora(), 1), (BitFit(sharing="per_task"), 2)])
def test_what_no_set_changes_is_computed_once(tiny_backbone, monkeypatch, tuning, times):
    encoder = stir(encoder_of(tiny_backbone, tuning))
    asked = []
    lower = encoder.lower
    monkeypatch.setattr(encoder, "lower", lambda batch: asked.append(len(batch)) or lower(batch))
    found = encoder.views(BATCH)
    assert asked == [4] * times  # biases of the embeddings, too, are a task's own
    assert encoder.shares_lower == (times == 1)
    assert not torch.allclose(found["click"], found["purchase"])


def test_each_set_gives_the_vectors_of_a_backbone_with_these_weights(tiny_backbone):
    encoder = stir(encoder_of(tiny_backbone, lora()))
    found = encoder.views(BATCH)
    for label in ("click", "purchase"):
        alone = Encoder(tiny_backbone.model()).eval()
        torch.manual_seed(0)
        LoRA(rank=2).apply(alone.backbone)
        alone.backbone.load_state_dict(
            encoder.backbone.state_dict() | {name: p.detach() for name, p in encoder.sets.of(label).items()}
        )
        torch.testing.assert_close(found[label], alone(BATCH))


def test_a_tasks_loss_reaches_its_own_set_alone(tiny_backbone):
    encoder = stir(encoder_of(tiny_backbone, lora(), views=("click", "purchase", SHARED)))
    encoder.views(BATCH)["purchase"].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.sets.of("purchase").values())
    assert all(p.grad is None for other in ("click", SHARED) for p in encoder.sets.of(other).values())


def test_vectors_that_are_kept_between_batches_are_each_sets_own(tiny_backbone):
    encoder = stir(encoder_of(tiny_backbone, LoRA(rank=2, sharing="mixture"), remember=100))
    with torch.no_grad():
        for gate in encoder.sets.gate_parameters():
            gate.normal_()
        plain = encoder.views(BATCH)
        encoder.reuse(True)
        first = encoder.views(BATCH)
        encoder.upper = None  # nothing is encoded again
        again = encoder.views(BATCH)
    assert len(encoder.memory) == 4
    for view, vectors in plain.items():
        torch.testing.assert_close(first[view], vectors)
        assert torch.equal(again[view], first[view])
    encoder.reuse(False)
    assert len(encoder.memory) == 0


def test_sets_start_from_the_boundarys_cache(tiny_backbone, tmp_path):
    encoder = stir(encoder_of(tiny_backbone, lora(top=1)))
    assert encoder.boundary == 1
    with torch.no_grad():
        plain = encoder.views(BATCH)
        BoundaryCache.write(tmp_path, [(BATCH, encoder.below(BATCH))], pooled=False)
        encoder.cache = BoundaryCache.read(tmp_path, encoder.width, pooled=False)
        encoder.backbone.embeddings = None
        again = encoder.views(BATCH)
    for view, vectors in plain.items():
        torch.testing.assert_close(again[view], vectors, atol=3e-3, rtol=0)


def test_views_go_on_from_states_at_the_boundary(tiny_backbone):
    encoder = stir(encoder_of(tiny_backbone, lora(top=1)))
    found, wanted = encoder.views_above(encoder.lower(BATCH)), encoder.views(BATCH)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[view], wanted[view]) for view in wanted)


def test_frozen_matrices_are_rounded_and_no_set_is(tiny_backbone):
    encoder = encoder_of(tiny_backbone, BitFit(sharing="per_task"))
    wanted = encoder.views(BATCH)
    encoder.keep_frozen_in(torch.bfloat16)
    assert {p.dtype for p in encoder.sets.parameters()} == {torch.float32}
    torch.testing.assert_close(encoder.views(BATCH)["click"], wanted["click"], atol=0.1, rtol=0.1)


def test_there_is_no_one_vector_of_a_text(tiny_backbone):
    with pytest.raises(ConfigError, match="a text has a vector for each task here; Encoder.views has them"):
        encoder_of(tiny_backbone, lora())(BATCH)


def test_an_architecture_that_is_not_cut_into_layers_has_sets_too():
    from architectures import build

    torch.manual_seed(0)
    encoder = Encoder(build("gpt2"), pooling="last").eval()
    tuning = Houlsby(bottleneck=4, sharing="per_task")
    tuning.apply(encoder.backbone)
    encoder.sets = tuning.share(("click", "purchase"))
    encoder.boundary = tuning.lowest_trained_layer
    sizes = torch.tensor([3, 5])
    batch = Texts(torch.randint(4, 99, (8,)), sizes, sizes)
    started = encoder.views(batch)
    assert torch.equal(started["click"], started["purchase"])
    found = stir(encoder).views(batch)
    assert not torch.allclose(found["click"], found["purchase"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of its own doings, inside its compiler
def test_compiled_layers_see_the_set_that_is_in_place(tiny_backbone):
    plain, compiled = (stir(encoder_of(tiny_backbone, lora())) for _ in range(2))
    compiled.compile_layers()
    for seed in range(2):
        batch = texts(3, 4, 7, 9, seed=seed)
        found, wanted = compiled.views(batch), plain.views(batch)
        for view in wanted:
            torch.testing.assert_close(found[view], wanted[view], atol=1e-5, rtol=1e-5)
    for encoder, views in ((plain, wanted), (compiled, found)):
        (views["click"].sum() + 2 * views["purchase"].sum()).backward()
        assert all(p.grad is not None for p in encoder.sets.parameters())
    for one, other in zip(compiled.sets.parameters(), plain.sets.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)
