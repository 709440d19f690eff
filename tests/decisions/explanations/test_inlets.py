"""Word embeddings put into every architecture are those that it would look up itself."""

from types import SimpleNamespace

import pytest
import torch

from architectures import TINY, build
from funneltune.backbones import Encoder, TwinInteraction
from funneltune.decisions.explanations.gradients import integrate
from funneltune.decisions.explanations.inlets import Inlets, in_the_open, neutral_token
from funneltune.schema import SHARED, Batch, HeadOutput, Texts

TOKENIZER = SimpleNamespace(
    cls_token_id=4, bos_token_id=None, sep_token_id=5, eos_token_id=None, pad_token="[PAD]", pad_token_id=0
)


def row(first, second):
    ids = [torch.tensor([4, *words, 5]) for words in (first, second)]
    lengths = torch.tensor([len(one) for one in ids])
    one = torch.zeros(1)
    return Batch(
        texts=Texts(torch.cat(ids), lengths, lengths),
        text_of_row={"query": torch.tensor([0]), "item": torch.tensor([1])},
        labels={"click": one},
        observed={"click": one},
        request=torch.zeros(1, dtype=torch.long),
        row=torch.zeros(1, dtype=torch.long),
    )


def module_of(model_type):
    """A backbone whose lowest two layers are frozen, under a linear head on the twin features."""
    encoder = Encoder(build(model_type), pooling="mean", remember=100).eval()
    encoder.boundary = 2
    pairs, weight = TwinInteraction(32), torch.randn(129) / 3

    def score(batch, vectors):
        return HeadOutput({"click": pairs(batch, vectors[SHARED]) @ weight}, {"click": "conditional"})

    return SimpleNamespace(encoder=encoder, features={}, score=score)


@pytest.mark.parametrize("model_type", TINY)
def test_put_in_they_give_the_same_logit_and_their_pushes_add_up(model_type, funnel):
    module, batch = module_of(model_type), row([11, 12], [13, 14, 15, 16])
    inlets = Inlets(module, in_the_open(module.encoder), batch, TOKENIZER)
    assert [(one.role, one.start, one.stop) for one in inlets.segments] == [("query", 1, 3), ("item", 5, 9)]
    with torch.no_grad():
        wanted = module.score(batch, module.encoder.views(batch.texts)).logits["click"]
        (tokens,) = (one.value for one in inlets.inlets)
        found = inlets.forward([torch.cat([tokens, tokens])]).logits["click"]
    torch.testing.assert_close(found, wanted.expand(2), rtol=1e-4, atol=1e-5)
    clicks = type(funnel)((funnel["click"],))
    attributed = integrate(inlets, clicks, "ctr")
    assert attributed.complete
    assert attributed.parts[0][[0, 3, 4, 9]].tolist() == [0.0] * 4  # special tokens are never absent
    assert abs(attributed.parts[0]).max() > 1e-4


def test_what_stands_for_an_absent_token_is_the_first_that_there_is():
    assert neutral_token(TOKENIZER) == ("[PAD]", 0)
    assert neutral_token(SimpleNamespace(mask_token="[MASK]", mask_token_id=3)) == ("[MASK]", 3)
    assert neutral_token(SimpleNamespace(pad_token=None, eos_token="</s>", eos_token_id=2)) == ("</s>", 2)
    assert neutral_token(SimpleNamespace()) == ("", 0)
