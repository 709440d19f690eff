"""Features: what the log hands over, what is made of it, and that a run without them is what it was."""

import numpy as np
import pandas as pd
import pytest
import torch

from funneltune.backbones import build_interaction
from funneltune.data import Simulated
from funneltune.data.features import FeatureColumns, training_numbers
from funneltune.errors import ConfigError
from funneltune.features import Features, HashedIds, Numbers, TargetAttention, feature_needs
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds

ALL = FeatureNeeds(
    ids=("user", "item", "item.brand", "position"), buckets=97, numbers=("price", "item.rating"), vectors=("image",)
)


@pytest.fixture(scope="module")
def log(make_data):
    return make_data(features=ALL)


def columns(log, **needs):
    return FeatureColumns(log.store, FeatureNeeds(**needs), np.ones(log.store.n_rows, dtype=bool))


# --- the log's side ------------------------------------------------------------------------------------------------


def test_equal_ids_share_a_bucket_and_names_are_part_of_the_hash(log):
    found = columns(log, ids=("item", "item.brand", "position"), buckets=1_000_003)
    rows = np.arange(log.store.n_rows)
    buckets = found.ids(rows)
    item = log.store.column("item")
    for number in np.unique(item)[:20]:
        assert len(np.unique(buckets[item == number, 0])) == 1
    assert len(np.unique(buckets[:, 0])) == len(np.unique(item))  # no clash among so many buckets
    brand = np.asarray(log.store.table("items").column("brand").to_pylist())[item]
    assert len(np.unique(buckets[:, 1])) == len(np.unique(brand))
    assert len(np.unique(buckets[:, 2])) == 5
    same = columns(log, ids=("item",), buckets=1_000_003).ids(rows)[:, 0]
    assert np.array_equal(same, buckets[:, 0])
    user = columns(log, ids=("user",), buckets=1_000_003).hashed("user", np.array(["x"]))
    assert user != columns(log, ids=("item",), buckets=1_000_003).hashed("item", np.array(["x"]))


def test_hashes_do_not_depend_on_the_process(log):
    assert columns(log, ids=("item",), buckets=1_000_003).hashed("item", np.array(["a", "b"])).tolist() == HASHED


HASHED = [32866, 139557]  # written down once: a run of today finds the buckets of a run of then


def test_numbers_and_vectors_are_the_logs_own(log):
    rows = np.array([3, 700, 41])
    found = columns(log, numbers=("price", "item.rating"), vectors=("image",))
    item = log.store.column("item")[rows]
    rating = np.asarray(log.store.table("items").column("rating").to_pylist())[item]
    np.testing.assert_allclose(found.numbers(rows), np.stack([log.store.column("price")[rows], rating], 1), rtol=1e-6)
    assert np.array_equal(found.vectors(rows), log.store.vectors("image")[item])


def test_history_holds_earlier_clicks_of_the_same_shopper_the_latest_first(log):
    store, most = log.store, 3
    found = columns(log, history=most)
    user, time, click, item = (store.column(name) for name in ("user", "time", "click", "item"))
    for request in range(0, store.n_requests, 7):
        first = store.request_offsets[request]
        past = np.flatnonzero((user == user[first]) & (time < time[first]) & (click == 1))
        wanted = item[past[np.argsort(time[past], kind="stable")]][::-1][:most]
        got = found.history(np.array([first]))[0]
        assert sorted(got[got >= 0].tolist()) == sorted(wanted.tolist())
        assert (got[len(wanted) :] == -1).all()
    assert (found.history(np.arange(store.n_rows)) >= 0).any()


@pytest.mark.parametrize("told", [True, False])
def test_what_comes_late_is_in_no_history_before_it_came(make_data, told):
    source = Simulated(
        impressions=1500, items=300, queries=60, shoppers=10, page=5, ctr=0.5, cvr=0.5, purchase_delay=5.0 * told
    )
    data = make_data(source=source, tasks=TaskFunnel.from_config({"purchase": {"window": 14}}))
    store = data.store
    user, time, bought, item = (store.column(name) for name in ("user", "time", "purchase", "item"))
    delay = store.column("delay_purchase") if told else np.full(store.n_rows, 14.0)  # untold: when it is final
    come = time + 86_400.0 * delay
    found = FeatureColumns(store, FeatureNeeds(history=5), np.ones(store.n_rows, bool))
    for request in range(0, store.n_requests, 5):
        first = store.request_offsets[request]
        past = np.flatnonzero((user == user[first]) & (bought == 1) & (come < time[first]))
        wanted = item[past[np.argsort(come[past], kind="stable")]][::-1][:5]
        got = found.history(np.array([first]))[0]
        assert sorted(got[got >= 0].tolist()) == sorted(wanted.tolist())


def test_a_random_split_lets_no_clicked_test_row_into_a_history(make_data):
    data = make_data(features=FeatureNeeds(history=5))
    features = data.collator().features
    store, tested = data.store, set(data.rows("test").tolist())
    assert not features.known[list(tested)].any()
    by_time = make_data(features=FeatureNeeds(history=5), split=type(data.split)(by="time", validation=0.1, test=0.2))
    assert by_time.collator().features.known.all()
    assert store.n_rows == len(features.known)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"ids": ("item.brnd",)}, "no 'item.brnd'; did you mean 'item.brand'"),
        ({"ids": ("colour",)}, "features.ids: the log has no 'colour'"),
        ({"numbers": ("prices",)}, "did you mean 'price'"),
        ({"numbers": ("item.brand",)}, "is not a number everywhere; use it as an id"),
        ({"vectors": ("foto",)}, "no vectors 'foto'; it has image"),
    ],
)
def test_names_that_the_log_does_not_have_are_told(log, needs, message):
    with pytest.raises(ConfigError, match=message):
        columns(log, **needs)


def test_trees_read_categories_and_numbers(log):
    frame = columns(log, ids=("item.brand",), numbers=("price",)).raw(np.array([0, 9]))
    brands = log.store.table("items").column("brand").to_pylist()
    assert frame["item.brand"].tolist() == [brands[log.store.column("item")[row]] for row in (0, 9)]
    assert isinstance(frame["item.brand"].dtype, pd.CategoricalDtype)


# --- the batch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unique", [True, False])
def test_past_items_are_texts_of_the_batch(make_data, unique):
    data = make_data(features=FeatureNeeds(history=4), unique=unique)
    rows = data.rows("train")[:200]
    batch = data.collator().rows(rows)
    past = data.collator().features.history(rows)
    assert (batch.history.numpy() >= 0).tolist() == (past >= 0).tolist()
    store = data.store
    tokens = torch.split(batch.texts.token_ids, batch.texts.lengths.tolist())
    ids = data.tokenizer(store.text("items", "{title}"))["input_ids"]
    for row, event in np.argwhere(past >= 0)[::17]:
        assert tokens[int(batch.history[row, event])].tolist() == ids[past[row, event]]
    for row in range(0, 200, 19):
        assert tokens[int(batch.text_of_row["item"][row])].tolist() == ids[store.column("item")[rows[row]]]


def test_a_batch_without_needs_is_what_it_was(make_data):
    batch = make_data().collator().rows(np.arange(10))
    assert (batch.ids, batch.numbers, batch.vectors, batch.history, batch.candidate) == (None,) * 5


def test_history_needs_items_that_are_read_alone(make_data):
    with pytest.raises(ConfigError, match="interaction=twin, or history=0"):
        make_data(features=FeatureNeeds(history=2), interaction="cross")


# --- what is made of it ----------------------------------------------------------------------------------------------


def test_the_features_width_is_what_it_says_and_every_part_learns(log):
    batch = log.collator().rows(np.arange(30))
    built = Features(
        8,
        log.vector_widths(),
        ids=ALL.ids,
        buckets=97,
        numbers={"price": "log", "item.rating": "quantile"},
        vectors=["image"],
    )
    built.fit(training_numbers(log.collator().features, log.rows("train")))
    out = built(batch, torch.randn(len(batch.texts), 8))
    assert out.shape == (30, built.width)
    out.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in built.parameters())


def fitted(transform, encoding="plain", **more):
    values = np.random.default_rng(0).lognormal(3, 1, 4000).astype(np.float32)
    numbers = Numbers({"x": transform}, encoding, width=3, bins=more.get("bins", 8))
    numbers.fit({"x": values})
    return numbers, torch.from_numpy(values).unsqueeze(1)


@pytest.mark.parametrize("transform", ["standard", "log", "quantile"])
def test_transforms_standardise_the_training_rows_and_keep_their_order(transform):
    numbers, values = fitted(transform)
    scaled = numbers.scaled(values).squeeze(1)
    assert scaled.mean().abs() < 0.01
    assert scaled.std() == pytest.approx(1.0, abs=0.02)
    order = values.squeeze(1).argsort()
    assert (scaled[order].diff() >= -1e-6).all()
    assert torch.isfinite(numbers.scaled(torch.tensor([[-5.0], [1e9]]))).all()


def test_quantiles_put_a_repeated_value_in_the_middle_of_its_run():
    numbers = Numbers({"x": "quantile"}, "plain", 3, 4)
    numbers.fit({"x": np.array([0.0] * 50 + [1.0] * 50)})
    low, high = numbers.scaled(torch.tensor([[0.0], [1.0]])).squeeze(1).tolist()
    assert low == pytest.approx(-high, abs=0.02)
    assert low == pytest.approx(-0.25 * np.sqrt(12), abs=0.02)


def test_piecewise_linear_encoding_is_equation_1():
    numbers, values = fitted("standard", "piecewise_linear", bins=4)
    x = numbers.scaled(values)[:200]
    edges = numbers.edges[0]
    inner = numbers._filled(x)[:, 0]
    for t in range(4):
        e = (x[:, 0] - edges[t]) / (edges[t + 1] - edges[t])
        wanted = e if t == 0 else torch.where(x[:, 0] < edges[t], torch.zeros(()), e)
        wanted = wanted if t == 3 else torch.where(x[:, 0] >= edges[t + 1], torch.ones(()), wanted)
        torch.testing.assert_close(inner[:, t], wanted, atol=1e-4, rtol=1e-4)
    counts = torch.histogram(numbers.scaled(values)[:, 0], edges).hist
    assert counts.max() / counts.min() < 1.1  # bins of equal mass


def test_periodic_encoding_is_equation_2():
    numbers, values = fitted("standard", "periodic")
    x = numbers.scaled(values[:5])
    angle = 2 * np.pi * x * numbers.frequencies[0]
    inner = torch.cat([angle.sin(), angle.cos()], dim=1)
    wanted = torch.relu(inner @ numbers.weight[0] + numbers.bias[0])
    torch.testing.assert_close(numbers(values[:5]), wanted)


def test_target_attention_is_the_papers_sum_and_ignores_what_is_not_there():
    torch.manual_seed(0)
    attention = TargetAttention(6)
    now, past = torch.randn(2, 6), torch.randn(2, 3, 6)
    there = torch.tensor([[True, True, False], [False, False, False]])
    out = attention(now, past, there)
    weights = [attention.unit(torch.cat([h, now[0], h - now[0], h * now[0]])) for h in past[0]]
    torch.testing.assert_close(out[0], (weights[0] * past[0, 0] + weights[1] * past[0, 1]) / 3)
    assert out[1].abs().sum() == 0
    past[0, 2] = 1e3
    torch.testing.assert_close(attention(now, past, there), out)


def test_without_texts_past_items_are_told_by_their_ids(make_data):
    needs = feature_needs(False, ["user", "item"], 997, {}, [], 4)
    assert needs.history_ids
    data = make_data(features=needs, interaction="none", texts=None, tokenizer=None)
    rows = data.rows("train")[:300]
    batch = data.collator().rows(rows)
    assert len(batch.texts) == 0
    assert torch.equal(batch.candidate, batch.ids[:, 1])
    built = Features(0, {}, ids=["user", "item"], buckets=997, history=4)
    assert built(batch, torch.zeros(0, 0)).shape == (300, built.width)
    pairs = build_interaction("none", 0)(batch, torch.zeros(0, 0))
    assert pairs.shape == (300, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": ["item", "item"]}, "names 'item' twice"),
        ({"history": -1}, "history=-1 must be >= 0"),
        ({"numbers": {"x": "cube"}}, "numbers.x='cube' must be one of standard, log, quantile"),
        ({"numbers": {"x": "log"}, "number_encoding": "spline"}, "number_encoding='spline' must be"),
        ({"numbers": {"x": "log"}, "number_bins": 1}, "number_bins=1"),
        ({"ids": ["item"], "buckets": 0}, "buckets=0"),
        ({"ids": ["item"], "dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Features(8, {}, **arguments)


def test_one_table_serves_all_ids():
    ids = HashedIds(2, 10, 4)
    out = ids(torch.tensor([[3, 7], [7, 3]]))
    assert out.shape == (2, 8)
    assert torch.equal(out[0, :4], out[1, 4:])
