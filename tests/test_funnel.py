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
        ({"shared": {}}, "'shared' names what all tasks read"),
    ],
)
def test_a_wrong_funnel_is_refused_in_one_line(tasks, message):
    with pytest.raises(ConfigError, match=message) as error:
        TaskFunnel.from_config(tasks)
    assert "\n" not in str(error.value)


def test_a_label_is_final_when_all_windows_on_the_way_to_it_have_passed():
    windows = {"cart": {**CART["cart"], "window": 3}, "buy": {**CART["buy"], "window": 1}}
    funnel = TaskFunnel.from_config(CART | windows)
    assert [funnel.final_after(name) for name in funnel.names] == [0.0, 3.0, 3.0, 3.0]
    assert TaskFunnel.from_config(funnel.to_config()) == funnel
    assert "window" not in funnel.to_config()["click"]  # logs without one keep their fingerprint


@pytest.mark.parametrize("window", [0, -1.0, True, "7", float("inf"), float("nan")])
def test_a_window_that_is_no_number_of_days_is_refused(window):
    with pytest.raises(ConfigError, match="window=.* must be a number of days above 0"):
        Task("purchase", window=window)


def test_a_window_of_a_task_that_is_no_event_is_refused():
    with pytest.raises(ConfigError, match=r"tasks.spent.window=7 is for binary tasks; remove it from kind=regression"):
        Task("spent", kind="regression", window=7)


NEED = {"kind": "multiclass", "levels": ["home", "shoe"], "next": "category"}


def test_what_comes_next_is_no_label_of_the_log_and_is_observed_where_it_is_known():
    funnel = TaskFunnel.from_config({"purchase": {}, "need": NEED})
    assert funnel.logged.names == ("purchase",)
    assert [task.name for task in funnel.following] == ["need"]
    assert funnel["need"].predicted == ("p_need[home]", "p_need[shoe]")
    assert funnel.observed({"need": np.array([-1, 0, 1]), "purchase": np.zeros(3)}, "need").tolist() == [0, 1, 1]
    assert TaskFunnel.from_config(funnel.to_config()) == funnel
    assert "next" not in funnel.to_config()["purchase"]


@pytest.mark.parametrize(
    ("tasks", "rule"),
    [
        ({"purchase": {}, "need": NEED | {"kind": "ordinal"}}, "need.next=category asks .* it needs kind: multiclass"),
        ({"purchase": {}, "need": NEED | {"given": ["purchase"]}}, r"and no edges \(given: \[\]\)"),
        ({"need": NEED}, "tasks.need.next needs a binary task that tells what was bought; add one, as purchase"),
    ],
)
def test_what_comes_next_is_one_of_several_values_at_any_request(tasks, rule):
    with pytest.raises(ConfigError, match=rule):
        TaskFunnel.from_config(tasks)
