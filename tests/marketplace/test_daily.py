"""What a log sells in truth: the log's own oracle, and what full shelves would have sold."""

import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.marketplace import Mixture, World, simulate
from funneltune.marketplace.daily import chances_of
from funneltune.marketplace.log import EPOCH

KNOBS = {"items": 60, "queries": 40, "shoppers": 100, "page": 10, "days": 20, "ctr": 0.3, "cvr": 0.4}
SOURCE = {"_target_": "funneltune.data.Simulated", "impressions": 6_000, **KNOBS}


@pytest.fixture(scope="module")
def log():
    parts = list(simulate(World(**KNOBS), Mixture(), 6_000))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def truth():
    return chances_of(SOURCE, np.arange(100, 500))


def test_what_sells_is_what_the_log_s_oracle_says(log, truth):
    rows = slice(1000, 5000)
    oracle = log["oracle_p_click"][rows].astype(float) * log["oracle_p_purchase_given_click"][rows]
    assert truth.sold == pytest.approx(oracle, rel=1e-6)
    assert (truth.item == log["item"][rows]).all()
    assert (truth.day == (log["time"][rows] // 86_400)).all()
    assert truth.day.min() >= EPOCH // 86_400


def test_full_shelves_sell_more_of_what_was_sold_out_and_the_same_of_the_rest(truth):
    out = truth.wanted > truth.sold * 1.001
    assert 0.02 < out.mean() < 0.9
    assert (truth.wanted >= truth.sold * (1 - 1e-6)).all()
    assert truth.wanted[~out] == pytest.approx(truth.sold[~out], rel=1e-3)
    assert truth.wanted[out].sum() > 3 * truth.sold[out].sum()
    day = truth.day - EPOCH // 86_400
    assert out[day == 14].mean() < out[day == 13].mean()  # shelves fill up every week


def test_a_log_without_a_world_or_such_a_request_is_refused():
    with pytest.raises(ConfigError, match="whose truth no one knows"):
        chances_of({"_target_": "funneltune.data.Table"}, np.arange(2))
    with pytest.raises(ConfigError, match="the log has no request 600"):
        chances_of(SOURCE, np.array([600]))
