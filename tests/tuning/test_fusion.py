"""AdapterFusion: with one adapter it is that adapter, it has 3 d^2 parameters a layer, and only they are trained."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from architectures import build
from funneltune.errors import TuningError
from funneltune.tuning import AdapterFusion, BottleneckAdapter, Fusion, Houlsby, Pfeiffer, PfeifferHub

WIDTH, LAYERS = 32, 3


def tokens():
    return torch.randint(4, 99, (4, 7), generator=torch.Generator().manual_seed(0))


def states(model):
    return model(input_ids=tokens(), attention_mask=torch.ones(4, 7, dtype=torch.long)).last_hidden_state


def stored(folder, make, backbone, seed, **more):
    """A run's folder whose adapters are far from the identity, and the backbone that holds them."""
    torch.manual_seed(seed)
    model, method = copy.deepcopy(backbone), make(bottleneck=4, init_std=0.5, **more)
    method.apply(model)
    (folder / "weights").mkdir(parents=True)
    tensors = {f"backbone.{name}": t.contiguous() for name, t in method.export(model).items()}
    save_file(tensors, folder / "weights" / "trained.safetensors")
    (folder / "weights" / "manifest.json").write_text(json.dumps({"tuning": method.name, "files": {}}))
    return str(folder), model


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return build("bert")


@pytest.mark.parametrize(("make", "activation"), [(Pfeiffer, "gelu"), (PfeifferHub, "relu")])
def test_with_one_adapter_the_fused_backbone_is_that_adapters(tmp_path, backbone, make, activation):
    run, alone = stored(tmp_path / "a", make, backbone, 1)
    fused = copy.deepcopy(backbone)
    Fusion([run], activation=activation).apply(fused)
    with torch.no_grad():
        assert torch.equal(states(fused), states(alone))
        assert not torch.allclose(states(fused), states(backbone), atol=1e-2)


def test_it_trains_three_square_matrices_a_layer_and_nothing_else(tmp_path, backbone):
    runs = [stored(tmp_path / name, Pfeiffer, backbone, seed)[0] for seed, name in enumerate("ab")]
    method = Fusion(runs)
    method.apply(backbone)
    layers = backbone.config.num_hidden_layers
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == 3 * WIDTH**2 * layers
    assert method.trained_at_end() == 3 * WIDTH**2 * layers
    assert all(".adapters." not in name for name, p in backbone.named_parameters() if p.requires_grad)
    assert method.lowest_trained_layer == 0


def test_at_its_start_all_adapters_count_alike(tmp_path, backbone):
    torch.manual_seed(0)
    adapters = [BottleneckAdapter(8, 2, 0.5) for _ in range(3)]
    fusion, h = AdapterFusion(8, adapters, 0.02), torch.randn(5, 8)
    mean = torch.stack([adapter.change(h) for adapter in adapters]).mean(0)
    torch.testing.assert_close(fusion(h), h + mean)
    torch.testing.assert_close(fusion.last, torch.full((3,), 1 / 3))


def test_the_attention_is_the_papers_equation():
    torch.manual_seed(0)
    adapters = [BottleneckAdapter(6, 2, 0.5) for _ in range(2)]
    fusion, h = AdapterFusion(6, adapters, 0.02), torch.randn(6)
    for layer in (fusion.query, fusion.key, fusion.value):
        torch.nn.init.normal_(layer.weight)
    z = torch.stack([adapter.change(h) for adapter in adapters])
    q, k, v = (layer.weight for layer in (fusion.query, fusion.key, fusion.value))
    weight = torch.softmax((z @ k.T) @ (q @ h), dim=0)
    torch.testing.assert_close(fusion(h), h + weight @ (z @ v.T))


def test_it_learns_which_adapter_serves():
    torch.manual_seed(0)
    adapters = [BottleneckAdapter(6, 2, 0.5) for _ in range(2)]
    for adapter, sign in zip(adapters, (1.0, -1.0), strict=True):
        torch.nn.init.constant_(adapter.up.bias, sign)
    fusion, h = AdapterFusion(6, adapters, 0.02), 1 + 0.3 * torch.randn(50, 6)
    fusion.value.requires_grad_(False)
    wanted, losses = adapters[1](h), []
    optimizer = torch.optim.Adam([p for p in fusion.parameters() if p.requires_grad], lr=0.03)
    for _ in range(60):
        loss = (fusion(h) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]
    assert fusion.last[1] > 0.95
    assert all(p.grad is None for p in fusion.adapters.parameters())


def test_the_penalty_is_the_values_squared_distance_from_the_identity(tmp_path, backbone):
    run, _ = stored(tmp_path / "a", Pfeiffer, backbone, 1)
    method = Fusion([run], regularisation=0.5)
    method.apply(backbone)
    assert float(method.penalty().detach()) == 0.0
    with torch.no_grad():
        method._places()["encoder.layer.0.output.dropout.1"].value.weight[0, 1] = 2.0
    assert float(method.penalty().detach()) == pytest.approx(0.5 * 4)


def test_what_is_stored_holds_the_adapters_too(tmp_path, backbone):
    runs = [stored(tmp_path / name, Pfeiffer, backbone, seed)[0] for seed, name in enumerate("ab")]
    again = copy.deepcopy(backbone)
    method, other = Fusion(runs), Fusion(runs)
    method.apply(backbone)
    with torch.no_grad():
        for parameter in method.parameter_groups()[0]["params"]:
            parameter.add_(0.1 * torch.randn_like(parameter))
    kept = {name: t.clone() for name, t in method.export(backbone).items()}
    stored(tmp_path / "moved", Pfeiffer, again, 9)
    (tmp_path / "moved" / "weights").rename(tmp_path / "old")
    other.apply(again)
    with torch.no_grad():
        for adapter in other._places().values():
            adapter.adapters[0].up.weight.zero_()  # the run was trained anew meanwhile
    other.restore(again, kept)
    with torch.no_grad():
        assert torch.equal(states(again), states(backbone))
    with pytest.raises(TuningError, match="stored weights do not fit, 'odd' is missing"):
        other.restore(again, {**kept, "odd": torch.zeros(1)})


def test_it_goes_on_from_a_fusion_and_leaves_adapters_where_they_are(tmp_path, backbone):
    run, alone = stored(tmp_path / "a", Pfeiffer, backbone, 1)
    method = Fusion([run])
    method.apply(backbone)
    method.take_up("pfeiffer", {"whatever": torch.zeros(1)})
    with torch.no_grad():
        assert torch.equal(states(backbone), states(alone))
    other = {name: torch.full_like(t, 0.1) for name, t in method.export(backbone).items()}
    method.take_up("fusion", other)
    assert all(bool((t == 0.1).all()) for t in method.export(backbone).values())
    with pytest.raises(TuningError, match="was tuned by tuning=lora, and this is tuning=fusion"):
        method.take_up("lora", other)


def test_what_cannot_be_fused_is_told(tmp_path, backbone):
    first, _ = stored(tmp_path / "a", Pfeiffer, backbone, 1)
    norms, _ = stored(tmp_path / "b", Houlsby, backbone, 1)
    places, _ = stored(tmp_path / "c", PfeifferHub, backbone, 1)
    for runs, told in (
        ([], "tuning.runs=.. names no adapters"),
        ([str(tmp_path / "nowhere")], "holds no weights of a finished run"),
        ([norms], "trained '.*LayerNorm.*' beside its adapters"),
        ([first, places], "has its adapters in other places than"),
    ):
        with pytest.raises(TuningError, match=told):
            Fusion(runs).apply(copy.deepcopy(backbone))
    (tmp_path / "a" / "weights" / "manifest.json").write_text(json.dumps({"tuning": "lora"}))
    with pytest.raises(TuningError, match="was tuned by tuning=lora, which has no bottleneck adapters"):
        Fusion([first]).apply(copy.deepcopy(backbone))


def test_a_backbone_of_another_shape_is_refused(tmp_path, backbone):
    run, _ = stored(tmp_path / "a", Pfeiffer, backbone, 1)
    with pytest.raises(TuningError, match="the backbone has no 'encoder.layer.0.output.dropout'"):
        Fusion([run]).apply(build("gpt2"))
    wide = copy.deepcopy(backbone)
    wide.config.hidden_size = 64
    with pytest.raises(TuningError, match="adapted a backbone of width 32, and this one's is 64"):
        Fusion([run]).apply(wide)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"activation": "tanh"}, "tuning.activation='tanh' must be one of"),
        ({"regularisation": -1.0}, "tuning.regularisation=-1.0 must be >= 0"),
        ({"init_std": 0.0}, "tuning.init_std=0.0 must be above 0"),
        ({"sharing": "per_task"}, "tuning.sharing=per_task does not go with tuning=fusion"),
    ],
)
def test_values_out_of_range_are_told(values, told):
    with pytest.raises(TuningError, match=told):
        Fusion(["a"], **values)
