"""The table of requests: what it sums up, whatever the chunks that a log comes in."""

import numpy as np
import pytest

from funneltune.data.requests import RequestTable, mixed

LOG = {
    "request": np.array([0, 0, 0, 1, 2, 2]),
    "user": np.array([4, 4, 4, 1, 9, 9], np.int32),
    "query": np.array([0, 0, 0, 2, 1, 1], np.int32),
    "item": np.array([7, 3, 5, 3, 5, 7], np.int32),
    "time": np.array([50.0, 40.0, 45.0, 60.0, 70.0, 90.0]),
    "click": np.array([1, 0, 1, 0, 0, 1], np.int8),
    "purchase": np.array([0, 0, 1, 0, 0, 0], np.int8),
}


@pytest.mark.parametrize("cuts", [[], [3], [1], [2, 4], [1, 2, 3, 4, 5]])
def test_requests_are_summed_up_across_chunks(funnel, cuts):
    table = RequestTable(funnel)
    for part in np.split(np.arange(6), cuts):
        table.add({name: values[part] for name, values in LOG.items()})
    found = {name: column.to_numpy().tolist() for name, column in zip(*_columns(table), strict=True)}
    assert found == {
        "rows": [3, 1, 2],
        "user": [4, 1, 9],
        "query": [0, 2, 1],
        "time": [50.0, 60.0, 70.0],
        "time_first": [40.0, 60.0, 70.0],
        "time_last": [50.0, 60.0, 90.0],
        "items": [int(sum(map(int, mixed(np.array(items)))) % 2**64) for items in ([3, 5, 7], [3], [7, 5])],
        "observed_click": [3, 1, 2],
        "observed_purchase": [2, 0, 1],
    }


def _columns(table):
    found = table.table()
    return found.column_names, found.columns


def test_a_store_knows_its_requests_as_its_rows_do(make_data):
    store = make_data().store
    request = store.column("request")
    assert store.n_requests == len(np.unique(request))
    assert np.array_equal(store.request_lengths, np.bincount(request))
    assert np.array_equal(store.of_requests("observed_purchase"), np.bincount(request, store.column("click")))
    parts = list(store.row_parts(np.array([5, 2, 9]), at_once=2))
    assert len(parts) == 2
    assert np.array_equal(np.concatenate(parts), store.rows_of(np.array([5, 2, 9])))
