import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.funnel import Edge, Task, TaskFunnel

CART = {
    "click": {},
    "cart": {"given": ["click"]},
    "buy": {"given": ["cart"]},
    "direct": {"given": ["click", "!cart"]},
}


def test_names_of_columns_follow_the_edges():
    task = Task("purchase", given=("click", "!cart"))
    assert task.conditional == "purchase_given_click_and_no_cart"
    assert task.joint == "click_and_no_cart_and_purchase"
    assert Task("click").conditional == Task("click").joint == "click"


def test_the_way_to_a_task_holds_its_ancestors_edges_once():
    funnel = TaskFunnel.from_config(CART)
    assert funnel.way_to("buy") == (Edge("click"), Edge("cart"))
    assert funnel.way_to("direct") == (Edge("click"), Edge("cart", holds=False))


def test_a_task_is_observed_where_every_edge_holds():
    funnel = TaskFunnel.from_config(CART)
    labels = {
        "click": np.array([0, 1, 1]),
        "cart": np.array([0, 0, 1]),
        "buy": np.array([0, 0, 1]),
        "direct": np.array([0, 1, 0]),
    }
    assert funnel.observed(labels, "direct").tolist() == [False, True, False]
    assert funnel.observed(labels, "buy").tolist() == [False, False, True]


def test_a_config_comes_back_from_its_funnel():
    funnel = TaskFunnel.from_config(CART)
    assert TaskFunnel.from_config(funnel.to_config()) == funnel


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "tasks is empty"),
        ({"click": {"gven": []}}, "unknown field 'gven'"),
        ({"purchase": {"given": ["click"]}}, "names no earlier task"),
        ({"a b": {}}, "not a plain word"),
    ],
)
def test_a_wrong_funnel_is_refused_in_one_line(tasks, message):
    with pytest.raises(ConfigError, match=message) as error:
        TaskFunnel.from_config(tasks)
    assert "\n" not in str(error.value)
