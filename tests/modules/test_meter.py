"""Evaluation gathers every row once, or says which rule was broken."""

import numpy as np
import pytest
import torch

from funneltune.errors import RunError
from funneltune.modules import PredictionMeter


def predicted(*p):
    log = torch.log(torch.tensor(p))
    return {"p_click": log, "p_purchase_given_click": log - 1.0, "p_click_and_purchase": 2 * log - 1.0}


def test_rows_come_back_in_store_order_as_probabilities(funnel):
    meter = PredictionMeter(funnel)
    meter.begin()
    meter.update(torch.tensor([7, 3]), predicted(0.7, 0.3))
    meter.update(torch.tensor([5]), predicted(0.5))
    rows, columns = meter.columns(np.array([3, 5, 7]))
    assert rows.tolist() == [3, 5, 7]
    np.testing.assert_allclose(columns["p_click"], [0.3, 0.5, 0.7], rtol=1e-6)
    np.testing.assert_allclose(columns["p_click_and_purchase"], np.array([0.09, 0.25, 0.49]) / np.e, rtol=1e-6)


@pytest.mark.parametrize("rows", [[3, 5, 5], [3, 5], [3, 5, 8]])
def test_repeated_missing_and_foreign_rows_are_refused(funnel, rows):
    meter = PredictionMeter(funnel)
    meter.begin()
    meter.update(torch.tensor(rows), predicted(*[0.5] * len(rows)))
    with pytest.raises(RunError, match="bias every metric"):
        meter.columns(np.array([3, 5, 7]))


def test_a_trainer_that_limits_batches_may_leave_rows_out_but_repeat_none(funnel):
    meter = PredictionMeter(funnel)
    meter.begin()
    meter.update(torch.tensor([5]), predicted(0.5))
    assert meter.columns(np.array([3, 5, 7]), partial=True)[0].tolist() == [5]
    meter.update(torch.tensor([5]), predicted(0.5))
    with pytest.raises(RunError, match="bias every metric"):
        meter.columns(np.array([3, 5, 7]), partial=True)


def test_a_new_evaluation_forgets_the_last(funnel):
    meter = PredictionMeter(funnel)
    for row in (1, 2):
        meter.begin()
        meter.update(torch.tensor([row]), predicted(0.5))
    assert meter.columns(np.array([2]))[0].tolist() == [2]
