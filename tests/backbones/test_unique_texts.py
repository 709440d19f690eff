"""Unique-text batches give the loss and the gradients of encoding every row."""

import pytest
import torch

from funneltune.backbones import build_interaction
from funneltune.heads import ESMM
from funneltune.objectives import EntireSpaceBCE


@pytest.mark.parametrize("interaction", ["twin", "cross"])
def test_unique_texts_give_the_loss_and_gradients_of_every_row(make_data, tiny_backbone, funnel, interaction):
    torch.manual_seed(1)
    encoder = tiny_backbone.encoder().double().float()
    pair = build_interaction(interaction, encoder.width)
    head = ESMM(pair.width, funnel, hidden=(8,))
    objective = EntireSpaceBCE(funnel)
    found = {}
    for unique in (True, False):
        data = make_data(interaction=interaction, unique=unique)
        rows = data.rows("train")[:60]
        batch = data.collator().rows(rows)
        encoder.zero_grad()
        head.zero_grad()
        loss = objective(batch, head(dict.fromkeys(funnel.names, pair(batch, encoder(batch.texts))))).total()
        loss.backward()
        found[unique] = (len(batch.texts), loss.detach(), [p.grad.clone() for p in encoder.parameters()])
    assert found[True][0] < found[False][0]
    torch.testing.assert_close(found[True][1], found[False][1], atol=1e-6, rtol=0)
    for a, b in zip(found[True][2], found[False][2], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
