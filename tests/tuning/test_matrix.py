"""Every way of tuning on every architecture: what moves, where it starts, what is stored, and that it learns."""

import copy

import peft
import pytest
import torch
from transformers import AutoConfig, AutoModel

from architectures import TINY, build
from funneltune.errors import TuningError
from funneltune.modules.replacing import move_state
from funneltune.tuning import IA3, AdaLoRA, BitFit, DoRA, Frozen, Full, Houlsby, LoRA, Pfeiffer, PfeifferHub, Prefix

STEPS = 12
METHODS = {
    "full": lambda **k: Full(learning_rate=1e-3, **k),
    "bitfit": lambda **k: BitFit(learning_rate=1e-2, **k),
    "houlsby": lambda **k: Houlsby(bottleneck=4, learning_rate=1e-2, **k),
    "pfeiffer": lambda **k: Pfeiffer(bottleneck=4, learning_rate=1e-2, **k),
    "pfeiffer_hub": lambda **k: PfeifferHub(bottleneck=4, learning_rate=1e-2, **k),
    "lora": lambda **k: LoRA(rank=2, learning_rate=1e-2, **k),
    "dora": lambda **k: DoRA(rank=2, learning_rate=1e-2, **k),
    "ia3": lambda **k: IA3(learning_rate=1e-1, **k),
    "prefix": lambda **k: Prefix(length=3, learning_rate=1e-1, **k),
    "adalora": lambda **k: AdaLoRA(
        target_rank=1, initial_rank=2, warmup_steps=2, final_steps=4, learning_rate=1e-2, **k
    ),
}
MARKS = {
    "full": ("",),
    "bitfit": ("bias",),
    "houlsby": (".down.", ".up.", "norm", "ln_"),
    "pfeiffer": (".down.", ".up."),
    "pfeiffer_hub": (".down.", ".up."),
    "lora": ("lora_",),
    "dora": ("lora_",),
    "ia3": ("ia3_",),
    "prefix": ("prefix.",),
    "adalora": ("lora_",),
}
"""What the names of trained parameters hold."""
START = {"houlsby": 1e-3, "pfeiffer": 1e-3, "pfeiffer_hub": 1e-3, "dora": 1e-5}
"""How far the start may be from the bare backbone: adapters are near the identity, DoRA rounds; the rest is exact."""
REFUSED = {
    **{("bitfit", t): "trains biases" for t in ("modernbert", "llama", "mistral", "qwen3")},
    **{
        ("pfeiffer_hub", t): "needs a LayerNorm after the feed-forward block"
        for t in ("modernbert", "gpt2", "qwen2", "qwen3", "llama", "mistral")
    },
    ("prefix", "deberta-v2"): "has its own",
}
PAIRS = [(method, model_type) for method in METHODS for model_type in TINY]


def tokens():
    return torch.randint(4, 99, (4, 7), generator=torch.Generator().manual_seed(0))


def states(model):
    return model(input_ids=tokens(), attention_mask=torch.ones(4, 7, dtype=torch.long)).last_hidden_state


def fit(method, model, steps=STEPS):
    method.begin(steps)
    groups = [{k: v for k, v in group.items() if k != "name"} for group in method.parameter_groups()]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    losses = []
    for step in range(steps):
        loss = (states(model) - torch.linspace(-1, 1, 32)).square().mean()
        (loss + method.penalty()).backward()
        optimizer.step()
        if change := method.after_step(step):
            move_state(change, optimizer)
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    method.finish()
    return losses


@pytest.mark.parametrize(("method", "model_type"), [pair for pair in PAIRS if pair not in REFUSED])
def test_a_method_on_an_architecture(method, model_type):
    torch.manual_seed(0)
    bare = build(model_type)
    model, tuning = copy.deepcopy(bare), METHODS[method]()
    tuning.apply(model)
    with torch.no_grad():
        start = (states(model) - states(bare)).abs().max()
    if method != "prefix":
        assert start <= START.get(method, 0.0) * 10
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = fit(tuning, model)
    assert losses[-1] < losses[0]
    moved = {
        n for n, p in model.named_parameters() if n in before and p.shape == before[n].shape and (p != before[n]).any()
    }
    assert moved
    assert all(any(mark in name.lower() for mark in MARKS[method]) for name in moved), moved
    again, other = copy.deepcopy(bare), METHODS[method]()
    other.apply(again)
    other.begin(STEPS)
    other.restore(again, {name: t.clone() for name, t in tuning.export(model).items()})
    with torch.no_grad():
        torch.testing.assert_close(states(again), states(model), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("method", "model_type"), REFUSED)
def test_a_pair_that_cannot_be_is_refused_with_the_reason(method, model_type):
    with pytest.raises(TuningError, match=REFUSED[method, model_type]):
        METHODS[method]().apply(build(model_type))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_only_the_highest_layers_are_tuned(method, model_type):
    if (method, model_type) in REFUSED:
        return
    model, tuning = build(model_type), METHODS[method](top=1)
    tuning.apply(model)
    assert tuning.lowest_trained_layer == 2
    layer = {"bert": "encoder.layer.2.", "gpt2": "h.2."}[model_type]
    assert all(name.startswith((layer, "ln_f")) for name in tuning.trained())
    whole = METHODS[method]()
    whole.apply(build(model_type))
    assert whole.lowest_trained_layer == 0


def test_a_frozen_backbone_has_nothing_trained_and_more_layers_than_there_are_are_refused():
    tuning = Frozen()
    tuning.apply(build("gpt2"))
    assert tuning.lowest_trained_layer == 3
    with pytest.raises(TuningError, match=r"tuning\.top=4 must be <= 3"):
        LoRA(top=4).apply(build("bert"))
    with pytest.raises(TuningError, match=r"tuning\.top=0 must be >= 1"):
        Full(top=0)


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "adalora"])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "qwen2"])
@pytest.mark.filterwarnings(
    "ignore:.*rank_pattern.*", "ignore:.*is_gradient_checkpointing.*", "ignore:.*invalid shape.*"
)
def test_plain_peft_loads_what_a_run_stored(method, model_type, tmp_path):
    torch.manual_seed(0)
    bare = build(model_type)
    model, tuning = copy.deepcopy(bare), METHODS[method]()
    tuning.apply(model)
    fit(tuning, model)
    tuning.export_peft(tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(bare), str(tmp_path)).eval()
    with torch.no_grad():
        torch.testing.assert_close(states(theirs.base_model.model), states(model), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
@pytest.mark.filterwarnings("ignore:.*is_gradient_check.*")
def test_an_adapter_made_by_plain_peft_is_where_a_run_may_start(method, tmp_path):
    torch.manual_seed(0)
    bare = build("bert")
    source = METHODS[method]()
    config = source.config(bare)
    theirs = peft.get_peft_model(copy.deepcopy(bare), config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(str(tmp_path))
    ours, tuning = copy.deepcopy(bare), METHODS[method](adapter=str(tmp_path))
    tuning.apply(ours)
    with torch.no_grad():
        torch.testing.assert_close(states(ours), states(theirs.base_model.model), atol=1e-6, rtol=1e-5)
    with pytest.raises(TuningError, match="is on one side only or has another shape"):
        METHODS[method](adapter=str(tmp_path), top=1).apply(copy.deepcopy(bare))
    with pytest.raises(TuningError, match="holds no readable adapter_model.safetensors"):
        METHODS[method](adapter=str(tmp_path / "nothing")).apply(copy.deepcopy(bare))


BASE = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
LARGE = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
ALL = ["query", "key", "value", "attention_out", "feed_forward_in", "feed_forward_out"]


@pytest.mark.parametrize(
    ("model_type", "shape", "tuning", "wanted"),
    [
        ("bert", BASE, lambda: Houlsby(64, train_layer_norm=False), 2_379_264),
        ("bert", LARGE, lambda: Houlsby(64, train_layer_norm=False), 6_343_680),
        ("bert", BASE, lambda: Pfeiffer(64), 1_189_632),
        ("bert", BASE, lambda: LoRA(8), 294_912),
        ("bert", BASE, lambda: LoRA(8, parts=ALL), 1_327_104),
        # DeBERTaV3-base; the AdaLoRA paper's Table 1 prints 1.22M, 0.61M and 0.31M; 1.18M; 1.33M and 0.33M.
        ("deberta-v2", BASE, lambda: Houlsby(32, train_layer_norm=False), 1_198_848),
        ("deberta-v2", BASE, lambda: Houlsby(16, train_layer_norm=False), 608_640),
        ("deberta-v2", BASE, lambda: Houlsby(8, train_layer_norm=False), 313_536),
        ("deberta-v2", BASE, lambda: Pfeiffer(64), 1_189_632),
        ("deberta-v2", BASE, lambda: LoRA(8, parts=ALL), 1_327_104),
        ("deberta-v2", BASE, lambda: LoRA(2, parts=ALL), 331_776),
    ],
)
def test_the_papers_parameter_counts_come_from_the_config_alone(model_type, shape, tuning, wanted):
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(model_type, **TINY[model_type] | shape))
        method = tuning()
        method.apply(model)
    assert sum(p.numel() for p in method.trained().values()) == wanted
