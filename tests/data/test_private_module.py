"""The datamodule of a run with a privacy guarantee: what it draws, keeps, and does not leave to the seed."""

import numpy as np
import pytest

from funneltune.errors import ConfigError
from modules.private import drawn, private_data


def test_a_batch_holds_the_drawn_rows_with_a_text_for_each(make_data):
    data = private_data(make_data)
    batch = drawn(data)
    draw = next(iter(data.plan().draws()))
    assert batch.row.tolist() == draw.rows.tolist()
    assert batch.unit.tolist() == list(range(len(batch)))
    assert len(batch.texts) == 2 * len(batch)
    assert batch.count() == batch.count("purchase") == 60


@pytest.mark.tried("dp_sgd", "bad_input")
def test_a_log_without_shoppers_promises_them_nothing(make_data):
    data = private_data(make_data, unit="shopper")
    table = data.store.table
    data.store.table = lambda name: table(name).slice(0, 1) if name == "users" else table(name)
    with pytest.raises(ConfigError, match=r"privacy.unit=shopper: the log tells no two shoppers apart.*source.user"):
        data.plan()


def test_a_shoppers_rows_are_one_unit(make_data):
    data = private_data(make_data, unit="shopper")
    shopper = data.store.column("user")
    batch = drawn(data)
    for unit in range(int(batch.unit.max()) + 1):
        rows = batch.row[batch.unit == unit].numpy()
        assert len(np.unique(shopper[rows])) == 1
        own = data.rows("train")
        assert sorted(rows) == sorted(own[shopper[own] == shopper[rows[0]]])


def test_an_empty_draw_is_a_batch_without_rows(make_data):
    data = private_data(make_data, rows_per_batch=1)
    empty = next(draw for draw in data.plan().draws() if not len(draw.rows))
    batch = data.collator()(empty)
    assert len(batch) == len(batch.texts) == 0
    assert batch.count() == 1


def test_without_a_seed_two_runs_draw_otherwise_and_a_checkpoint_holds_the_key(make_data):
    one, other = private_data(make_data, key_seed=None), private_data(make_data, key_seed=None)
    assert drawn(one).row.tolist() != drawn(other).row.tolist()
    other.load_state_dict(one.state_dict())
    assert drawn(one).row.tolist() == drawn(other).row.tolist()


def test_the_loader_goes_on_behind_what_was_handed_out(make_data):
    data = private_data(make_data, accumulate=2, rows_per_batch=30)
    whole = [batch.row.tolist() for batch in data.train_dataloader()]
    again = private_data(make_data, accumulate=2, rows_per_batch=30, key_seed=99)
    again.load_state_dict({"epoch": 0, "handed_out": 3, "key": [3]})
    assert [batch.row.tolist() for batch in again.train_dataloader()] == whole[3:]


def test_workers_make_the_same_batches(make_data):
    alone = [batch.row.tolist() for batch in private_data(make_data).train_dataloader()]
    assert [batch.row.tolist() for batch in private_data(make_data, workers=1).train_dataloader()] == alone


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize("size", [{"rows_per_batch": None, "tokens_per_batch": 500}, {"tokens_per_batch": 500}])
def test_batches_that_are_sized_by_texts_are_refused(make_data, size):
    with pytest.raises(
        ConfigError, match="privacy=dp_sgd draws each row with the same chance; set data.rows_per_batch"
    ):
        private_data(make_data, **size)
