"""A small log with an oracle, and noisy predictions of it."""

import numpy as np
import pytest

from funneltune.funnel import TaskFunnel


@pytest.fixture
def funnel():
    return TaskFunnel.from_config(
        {"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr", "joint_rate": "ctcvr"}}
    )


@pytest.fixture
def columns():
    rng = np.random.default_rng(3)
    rows, page = 3000, 10
    p_click, p_purchase = rng.beta(2, 6, rows), rng.beta(2, 4, rows)
    click = (rng.random(rows) < p_click).astype(np.int8)
    purchase = ((rng.random(rows) < p_purchase) & (click == 1)).astype(np.int8)
    said_click = np.clip(p_click * rng.lognormal(0, 0.4, rows), 0, 1)
    said_purchase = np.clip(p_purchase * rng.lognormal(0, 0.4, rows), 0, 1)
    request = np.repeat(np.arange(rows // page), page)
    return {
        "request": request,
        "user": rng.integers(0, 60, rows // page)[request],
        "click": click,
        "purchase": purchase,
        "item_cold": (rng.random(rows) < 0.2).astype(np.int8),
        "p_click": said_click,
        "p_purchase_given_click": said_purchase,
        "p_click_and_purchase": said_click * said_purchase,
        "oracle_p_click": p_click,
        "oracle_p_purchase_given_click": p_purchase,
    }
