"""The language model's loss is transformers' own, and what it trains is what the tuning method says."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers import DataCollatorForLanguageModeling as Collator

from architectures import TINY
from funneltune.errors import FailedRunError
from funneltune.modules import LanguageModule, warmup_linear
from funneltune.schema import NOT_ASKED, LanguageBatch, Texts
from funneltune.tuning import AdaLoRA, BitFit, Frozen, Full, LoRA

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
MASKED = ("bert", "roberta", "xlm-roberta", "camembert", "deberta-v2", "distilbert", "modernbert")
CAUSAL = ("gpt2", "qwen2", "qwen3", "llama", "mistral")
LENGTHS = (4, 7, 9)


def model(kind):
    torch.manual_seed(0)
    factory = AutoModelForCausalLM if kind in CAUSAL else AutoModelForMaskedLM
    return factory.from_config(AutoConfig.for_model(kind, **TINY[kind])).eval()


def module(kind="bert", tuning=None):
    built = model(kind)
    tuning = tuning or Full()
    tuning.apply(built.base_model)
    return LanguageModule(built, tuning, lambda groups: torch.optim.AdamW(groups, lr=3e-3), warmup_linear)


def batch(causal):
    generator = torch.Generator().manual_seed(1)
    tokens = [torch.randint(5, 99, (n,), generator=generator) for n in LENGTHS]
    if causal:
        targets = [torch.cat([ids[1:], torch.tensor([NOT_ASKED])]) for ids in tokens]
    else:
        targets = [torch.where(torch.rand(len(ids), generator=generator) < 0.4, ids, NOT_ASKED) for ids in tokens]
    lengths = torch.tensor(LENGTHS)
    return LanguageBatch(Texts(torch.cat(tokens), lengths, lengths), torch.cat(targets))


@pytest.mark.parametrize("kind", [*MASKED, *CAUSAL])
def test_the_loss_is_transformers_own(kind):
    ours = module(kind).eval()
    found = batch(kind in CAUSAL)
    longest = max(LENGTHS)
    padding = ours.model.config.pad_token_id or 0
    ids = torch.full((3, longest), padding)
    mask, labels = torch.zeros(3, longest, dtype=torch.long), torch.full((3, longest), NOT_ASKED)
    pieces = zip(found.texts.token_ids.split(LENGTHS), found.targets.split(LENGTHS), strict=True)
    for row, (tokens, targets) in enumerate(pieces):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        labels[row, : len(tokens)] = tokens if kind in CAUSAL else targets  # transformers shifts a causal model's
    with torch.no_grad():
        expected = ours.model(input_ids=ids, attention_mask=mask, labels=labels).loss
        losses = ours.losses(found)
    assert len(losses) == int((found.targets != NOT_ASKED).sum())
    torch.testing.assert_close(losses.mean(), expected, atol=1e-5, rtol=1e-5)


def test_the_forward_that_narrows_leaves_no_hook_behind():
    ours = module()
    ours.losses(batch(causal=False))
    assert not ours.model.base_model._forward_hooks


@pytest.mark.parametrize(
    ("tuning", "moves"),
    [
        (Full(), {"encoder.layer.0.attention.self.query.weight", "embeddings.word_embeddings.weight"}),
        (BitFit(), {"encoder.layer.0.attention.self.query.bias"}),
        (Frozen(), set()),
        (LoRA(), {"encoder.layer.0.attention.self.query.lora_A.funneltune.weight"}),
    ],
)
def test_the_head_is_trained_and_of_the_backbone_what_the_method_says(tuning, moves):
    ours = module(tuning=tuning)
    trained = {name for name, p in ours.model.base_model.named_parameters() if p.requires_grad}
    assert moves <= trained
    assert bool(trained) == bool(moves)
    assert all(p.requires_grad for p in ours.head)
    assert {p.shape[-1] for p in ours.head} == {32, 99}  # transform and LayerNorm, and the bias over the vocabulary
    words = ours.model.get_input_embeddings().weight
    assert ours.model.get_output_embeddings().weight is words
    assert words.requires_grad == isinstance(tuning, Full)


def test_a_gradient_that_is_not_finite_stops_the_run():
    ours = module()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1)
    next(iter(ours.parameters())).grad = torch.full_like(next(iter(ours.parameters())), torch.nan)
    ours.trainer = type("Trainer", (), {"global_step": 7})()
    with pytest.raises(FailedRunError, match="not finite at step 7; lower pretraining"):
        ours.configure_gradient_clipping(optimizer, 1.0)


def test_masking_rates_are_those_of_transformers_collator():
    from funneltune.data.language import AS_MASK, AS_OTHER

    defaults = Collator.__dataclass_fields__
    assert (defaults["mask_replace_prob"].default, defaults["random_replace_prob"].default) == (AS_MASK, AS_OTHER)
    assert defaults["mlm_probability"].default == 0.15


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("make", [lambda: LoRA(rank=2), lambda: AdaLoRA(target_rank=1, initial_rank=2), BitFit, Full])
def test_a_merged_backbone_computes_what_the_tuned_one_did(kind, make):
    ours = module(kind, make())
    tuning, found = ours.tuning, batch(kind in CAUSAL)
    before = ours.losses(found).detach()
    tuning.begin(10)
    optimizer = torch.optim.AdamW([p for p in ours.parameters() if p.requires_grad], lr=3e-2)
    for step in range(10):
        (ours.losses(found).mean() + tuning.penalty()).backward()
        optimizer.step()
        if change := tuning.after_step(step):
            from funneltune.modules.replacing import move_state

            move_state(change, optimizer)
        optimizer.zero_grad()
    tuning.finish()
    tuned = ours.losses(found).detach()
    assert (tuned - before).abs().max() > 0.1
    tuning.merge()
    torch.testing.assert_close(ours.losses(found).detach(), tuned, atol=1e-4, rtol=1e-4)
    plain = set(model(kind).state_dict())
    assert set(ours.model.state_dict()) == plain
