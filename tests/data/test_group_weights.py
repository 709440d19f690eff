"""Rows that count by their group: each group alike at power 1, a mean of 1, and what is refused."""

import numpy as np
import pytest
import torch

from funneltune.data import RowSampling
from funneltune.data.group_weights import GroupWeights
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel

FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}})
SELLERS = {"groups": {"column": "item.seller", "power": 1, "most": 1000}}


def sums(data, weights):
    """What the training rows of each seller count together, and all rows on average."""
    store, rows = data.store, data.rows("train")
    words = np.asarray(store.table("items").column("seller").to_pylist())
    counted = weights.rows(store, rows)
    _, group = np.unique(words[store.column("item")[rows]], return_inverse=True)
    return np.bincount(group, counted), float(counted.mean())


def test_at_power_one_every_group_counts_alike_and_a_row_counts_one_on_average(make_data):
    data = make_data()
    train = data.requests("train")
    whole, mean = sums(data, GroupWeights("item.seller", 1.0, 1e6).of(data.store, train))
    assert len(whole) > 1
    np.testing.assert_allclose(whole, whole.mean())
    assert mean == pytest.approx(1)
    plain, mean = sums(data, GroupWeights("item.seller", 0.0).of(data.store, train))
    assert plain.max() > plain.min()
    assert mean == pytest.approx(1)
    half, _ = sums(data, GroupWeights("item.seller", 0.5).of(data.store, train))
    assert whole.std() < half.std() < plain.std()


def test_a_row_counts_at_most_so_many_of_the_largest_group_s(make_data):
    data = make_data()
    found = GroupWeights("item.seller", 1.0, 1.01).of(data.store, data.requests("train"))
    assert found.weight.max() / found.weight.min() <= 1.01 + 1e-9


def test_a_batch_and_its_step_count_rows_by_their_group(make_data):
    data = make_data(sampling=SELLERS, rows_per_batch=100_000)
    (batch,) = data.train_dataloader()
    weights = GroupWeights.parse(SELLERS["groups"]).of(data.store, data.requests("train"))
    expected = weights.rows(data.store, batch.row.numpy()).astype(np.float32)
    torch.testing.assert_close(batch.weight, torch.from_numpy(expected))
    assert batch.step_rows == pytest.approx(len(batch))
    clicked = batch.labels["click"].numpy() == 1
    assert batch.step_observed["purchase"] == pytest.approx(expected[clicked].sum(), rel=1e-5)


def test_weights_by_group_multiply_those_of_drawing(make_data):
    data = make_data(sampling={**SELLERS, "negatives": {"click": 0.25}}, rows_per_batch=100_000)
    (batch,) = data.train_dataloader()
    own = GroupWeights.parse(SELLERS["groups"]).of(data.store, data.requests("train"))
    expected = own.rows(data.store, batch.row.numpy()) * np.where(batch.labels["click"].numpy() == 0, 4.0, 1.0)
    torch.testing.assert_close(batch.weight, torch.from_numpy(expected.astype(np.float32)))


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ("seller", "data.sampling.groups='seller' must be null or a mapping of column, power, most"),
        ({"power": 1}, "must be null or a mapping of column, power, most"),
        ({"column": "item.seller", "weight": 2}, "must be null or a mapping of column, power, most"),
        ({"column": "item.seller", "power": 2}, r"data.sampling.groups.power=2 must lie in \[0, 1\]"),
        ({"column": "item.seller", "power": True}, "data.sampling.groups.power=True must lie in"),
        ({"column": "item.seller", "most": 0.5}, r"data.sampling.groups.most=0.5 must lie in \[1, 1e\+06\]"),
        ({"column": "seller"}, "data.sampling.groups.column=seller must be a column of the items, shoppers or queries"),
        ({"column": "shop.seller"}, "data.sampling.groups.column=shop.seller must be a column of the items"),
    ],
)
def test_groups_that_cannot_be_are_refused(node, told):
    with pytest.raises(ConfigError, match=told):
        RowSampling.parse({"groups": node}, FUNNEL)


def test_groups_are_no_likelihood():
    with pytest.raises(ConfigError, match="correction=likelihood does not go with groups"):
        RowSampling.parse({**SELLERS, "correction": "likelihood"}, FUNNEL)


def test_a_column_that_the_log_does_not_have_is_named(make_data):
    data = make_data()
    with pytest.raises(ConfigError, match=r"column=item.seler: the log has no such column; did you mean item.seller\?"):
        GroupWeights("item.seler").of(data.store, data.requests("train"))
    with pytest.raises(ConfigError, match="column=user.zodiac: the log has no such column; there are segment"):
        GroupWeights("user.zodiac").of(data.store, data.requests("train"))


def test_without_groups_nothing_is_weighted():
    assert RowSampling.parse({"groups": None}, FUNNEL) is None
    assert GroupWeights.parse(None) is None
