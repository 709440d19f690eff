"""Rows drawn by their labels: how often, by whose decision, and that the corrections correct."""

import numpy as np
import pytest
import torch

from funneltune.data import RowSampling
from funneltune.data.sampling import Draw
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives import EntireSpaceBCE, MaskedBCE
from funneltune.schema import HeadOutput, SamplingRates

NODE = {"negatives": {"click": 0.25}, "positives": {"purchase": 3}}
FUNNEL = TaskFunnel.from_config({"click": {}, "save": {}, "purchase": {"given": ["click"]}})
LABELS = {
    "click": np.array([0, 0, 1, 1, 1]),
    "save": np.array([0, 1, 0, 1, 1]),
    "purchase": np.array([0, 1, 0, 0, 1]),  # the second is none: not clicked
}


def test_expected_copies_are_the_product_of_the_rates_that_a_row_meets():
    both = {"negatives": {"click": 0.25, "save": 0.5}, "positives": {"purchase": 3, "click": 2}}
    sampling = RowSampling.parse(both, FUNNEL)
    assert sampling.kept(LABELS).tolist() == [0.125, 0.25, 0.5, 1, 1]
    assert sampling.repeats(LABELS, FUNNEL).tolist() == [1, 1, 2, 2, 6]
    assert sampling.counted(LABELS, FUNNEL).tolist() == [1] * 5
    alike = RowSampling.parse(both | {"correction": "likelihood"}, FUNNEL)
    assert alike.counted(LABELS, FUNNEL).tolist() == [0.125, 0.25, 1, 2, 6]


def test_a_row_is_drawn_or_not_by_seed_epoch_and_number_alone():
    sampling = RowSampling.parse({"negatives": {"click": 0.5}}, FUNNEL)
    rows = np.arange(20_000)
    labels = {name: np.zeros(len(rows), np.int8) for name in FUNNEL.names}

    def drawn(rows, seed=0, epoch=0):
        few = {name: values[: len(rows)] for name, values in labels.items()}
        return set(sampling.draw(rows, few, FUNNEL, seed, epoch)[0].tolist())

    first = drawn(rows)
    assert len(first) == pytest.approx(10_000, abs=300)
    assert drawn(rows[5_000:7_000]) == first & set(range(5_000, 7_000))
    for other in (drawn(rows, seed=1), drawn(rows, epoch=1)):
        assert len(first & other) == pytest.approx(5_000, abs=300)  # independent


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("half", "must be null or a mapping of negatives, positives, correction"),
        ({"rates": {}}, "must be null or a mapping"),
        (
            {"negatives": {"purchase": 0.5}},
            "negatives.purchase names no binary task without edges; there are click, save",
        ),
        ({"negatives": {"click": 0}}, r"negatives.click=0 must lie in \(0, 1\]"),
        ({"positives": {"cart": 2}}, "positives.cart names no binary task; there are click, save, purchase"),
        ({"positives": {"purchase": 1.5}}, "positives.purchase=1.5 must be a whole number >= 1"),
        (NODE | {"correction": "luck"}, "correction='luck' must be one of weights, likelihood, none"),
        (
            {"negatives": {"click": 2}, "positives": {"click": 0}},
            "negatives.click=2 .*; data.sampling.positives.click=0",
        ),
    ],
)
def test_a_sampling_that_cannot_be_is_refused(node, message):
    with pytest.raises(ConfigError, match=message):
        RowSampling.parse(node, FUNNEL)


def test_a_likelihood_of_labels_that_may_still_come_is_refused():
    with pytest.raises(ConfigError, match="correction=likelihood takes labels to be final"):
        RowSampling.parse(NODE | {"correction": "likelihood"}, FUNNEL, final=False)


@pytest.mark.parametrize("node", [None, {}, {"negatives": {"click": 1.0}}, {"positives": {"purchase": 1}}])
def test_rates_of_one_are_no_sampling(node):
    assert RowSampling.parse(node, FUNNEL) is None


# --- batches -------------------------------------------------------------------------------------------------------


def test_a_batch_holds_the_rows_that_are_drawn_and_not_the_texts_of_others(make_data):
    data, whole = make_data(sampling=NODE), make_data()
    for drawn, every in zip(data.train_dataloader(), whole.train_dataloader(), strict=True):
        copies = dict(zip(*(found.tolist() for found in drawn.row.unique(return_counts=True)), strict=True))
        for row, click, bought in zip(
            every.row.tolist(), every.labels["click"].tolist(), every.labels["purchase"].tolist(), strict=True
        ):
            assert copies.get(row, 0) in ({0, 1} if not click else {3} if bought else {1})
        assert len(drawn.texts) < len(every.texts)
        bought = drawn.labels["purchase"] == 1
        expected = torch.where(drawn.labels["click"] == 0, 4.0, torch.where(bought, 1 / 3, 1.0))
        torch.testing.assert_close(drawn.weight, expected)
        assert drawn.rates is None
        assert (drawn.step_rows, drawn.step_observed) == (every.step_rows, every.step_observed)


def test_evaluations_draw_every_row_once(make_data):
    data = make_data(sampling=NODE)
    rows = torch.cat([batch.row for batch in data.val_dataloader()])
    assert rows.tolist() == data.rows("validation").tolist()


@pytest.mark.parametrize("correction", ["weights", "likelihood", "none"])
def test_where_no_row_is_drawn_one_stays_that_weighs_nothing(make_data, correction):
    data = make_data(sampling={"negatives": {"click": 1e-9}, "correction": correction})
    store = data.store
    clicks = np.add.reduceat(store.column("click"), store.request_offsets[:-1])
    batch = data._training(
        Draw(np.flatnonzero(clicks == 0)[:3], step_rows=15.0, step_observed={"click": 15.0, "purchase": 0.0})
    )
    assert len(batch) == 1
    assert batch.weight.tolist() == [0]
    parameter = torch.zeros(4, requires_grad=True)
    loss = MaskedBCE(data.funnel)(batch, output(batch, parameter)).total()
    loss.backward()
    assert float(loss.detach()) == float(parameter.grad.abs().sum()) == 0


@pytest.mark.parametrize("correction", ["likelihood", "none"])
def test_without_weights_the_drawn_rows_are_counted_as_expected(make_data, correction):
    data = make_data(sampling=NODE | {"correction": correction}, rows_per_batch=100_000)
    (batch,) = data.train_dataloader()
    rows = data.rows("train")
    click, bought = (data.store.column(name)[rows] for name in ("click", "purchase"))
    expected = np.where(click == 0, 0.25, np.where(bought == 1, 3.0, 1.0))
    assert batch.step_rows == pytest.approx(expected.sum())
    assert batch.step_observed["purchase"] == pytest.approx(expected[click == 1].sum())
    assert batch.weight is None
    assert batch.rates == (SamplingRates({"click": 0.25}, {"purchase": 3}) if correction == "likelihood" else None)
    drawn = [float(len(next(data._training(d) for d in data.plan(epoch).draws()))) for epoch in range(30)]
    assert np.mean(drawn) == pytest.approx(batch.step_rows, rel=0.03)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_those_of_one_process_and_a_resumed_loader_goes_on(make_data, workers):
    def taken(loader):
        return [(batch.row.tolist(), batch.weight.tolist()) for batch in loader]

    alone = make_data(sampling=NODE, rows_per_batch=300).train_dataloader()
    epochs = [taken(alone) for _ in range(2)]
    assert epochs[0] != epochs[1]
    data = make_data(sampling=NODE, rows_per_batch=300, workers=workers)
    resumed = data.train_dataloader()
    resumed.load_state_dict({"epoch": 1, "handed_out": 2})
    assert taken(resumed) == epochs[1][2:]


def test_two_ranks_draw_the_rows_of_one(make_data, monkeypatch):
    data = make_data(sampling=NODE)
    alone = [data._training(draw) for draw in data.plan().draws()]
    monkeypatch.setattr(type(data), "world_size", 2)
    plan = data.plan()
    ranks = [[data._training(draw) for draw in plan.draws(rank)] for rank in (0, 1)]
    for one, *parts in zip(alone, *ranks, strict=True):
        some = [part for part in parts if float(part.weight.sum())]  # a rank of which no row is drawn keeps one
        assert one.row.tolist() == [row for part in some for row in part.row.tolist()]
        assert {part.step_rows for part in parts} == {one.step_rows}


# --- what the corrections are for ------------------------------------------------------------------------------------


def output(batch, parameter):
    """Two logistic regressions: p(click) and p(purchase | click) by the row's number, which tells nothing."""
    x = (batch.row % 2).float()
    logits = {"click": parameter[0] + parameter[1] * x, "purchase": parameter[2] + parameter[3] * x}
    return HeadOutput(logits=logits, spaces=dict.fromkeys(logits, "conditional"))


@pytest.mark.parametrize("objective", [MaskedBCE, EntireSpaceBCE])
def test_weighted_gradients_are_those_of_all_rows_in_expectation(make_data, objective):
    def gradient(data, epoch):
        (batch,) = [data._training(draw) for draw in data.plan(epoch).draws()]
        parameter = torch.tensor([-1.0, 0.2, -0.5, 0.1], requires_grad=True)
        objective(data.funnel)(batch, output(batch, parameter)).total().backward()
        return parameter.grad.numpy()

    whole = gradient(make_data(rows_per_batch=100_000), 0)
    data = make_data(rows_per_batch=100_000, sampling=NODE)
    found = np.stack([gradient(data, epoch) for epoch in range(200)])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    # p(purchase | click) is told by the clicked rows, all of which are drawn: no error at all in the click space
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - whole), 3.5 * error + 1e-6)
    control = make_data(rows_per_batch=100_000, sampling=NODE | {"correction": "none"})
    assert np.abs(gradient(control, 0) - whole)[:2].max() > 20 * error[:2].max()


@pytest.mark.parametrize(("correction", "calibrated"), [("weights", True), ("likelihood", True), ("none", False)])
def test_corrected_fits_keep_their_predictions_on_the_level_of_the_log(make_data, correction, calibrated):
    data = make_data(rows_per_batch=100_000, sampling=NODE | {"correction": correction})
    parameter = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    objective = MaskedBCE(data.funnel)
    for epoch in range(150):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * (1 - epoch / 150)
        (batch,) = [data._training(draw) for draw in data.plan(epoch).draws()]
        optimizer.zero_grad()
        objective(batch, output(batch, parameter)).total().backward()
        optimizer.step()
    rows = data.collator().rows(data.rows("train"))
    predicted = {name: torch.sigmoid(logit.detach()) for name, logit in output(rows, parameter).logits.items()}
    click = float(predicted["click"].mean() / rows.labels["click"].mean())
    clicked = rows.labels["click"] == 1
    bought = float(predicted["purchase"][clicked].mean() / rows.labels["purchase"][clicked].mean())
    if calibrated:
        assert click == pytest.approx(1, abs=0.05)
        assert bought == pytest.approx(1, abs=0.05)
    else:
        assert click > 1.5
        assert bought > 1.5
