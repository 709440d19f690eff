import json

import numpy as np
import pytest

from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics import METHODS, Platt, Temperature, calibrate, ece, evaluate, log_loss, scaled, scalings


@pytest.fixture
def splits(columns):
    """The first third validates, the rest tests."""
    return {
        "validation": {name: values[:1000] for name, values in columns.items()},
        "test": {name: values[1000:] for name, values in columns.items()},
    }


def test_each_task_is_fitted_where_it_is_observed_on_the_validation_rows_alone(splits, funnel):
    found = calibrate(splits, funnel)
    click, bought = splits["validation"]["click"], splits["validation"]["purchase"]
    assert list(found) == ["ctr", "cvr"]
    assert found["ctr"]["fitted_on"] == {"split": "validation", "n": 1000, "positives": click.sum()}
    assert found["cvr"]["fitted_on"] == {"split": "validation", "n": click.sum(), "positives": bought.sum()}
    assert [found[rate]["rows"] for rate in found] == ["all impressions", "rows where click"]
    seen = click == 1
    wanted = Platt.fit(bought[seen], splits["validation"]["p_purchase_given_click"][seen])
    assert found["cvr"]["methods"]["platt"]["parameters"] == wanted.to_json()
    splits["test"]["click"] = 1 - splits["test"]["click"]
    assert (
        calibrate(splits, funnel)["ctr"]["methods"]["platt"]["parameters"]
        == (found["ctr"]["methods"]["platt"]["parameters"])
    )


def test_what_is_measured_of_none_is_what_the_metrics_say(splits, funnel):
    raw = {rate: told["methods"]["none"] for rate, told in calibrate(splits, funnel).items()}
    for split, columns in splits.items():
        metrics = evaluate(columns, funnel)
        for rate, found in raw.items():
            assert found[split]["log_loss"] == metrics[f"{rate}/log_loss"]["value"]
            assert found[split]["ece"] == metrics[f"{rate}/ece"]["value"]
    assert "parameters" not in raw["ctr"]


def test_what_is_measured_of_a_method_is_measured_on_its_probabilities(splits, funnel):
    found = calibrate(splits, funnel)["ctr"]["methods"]
    for method in METHODS:
        scaling = scalings(calibrate(splits, funnel), method)["ctr"]
        for split, columns in splits.items():
            p = scaling.apply(columns["p_click"])
            assert found[method][split]["log_loss"] == log_loss(columns["click"], p)
            assert found[method][split]["ece"] == ece(columns["click"], p)
        curve = found[method]["test"]["curve"]
        gaps = np.abs(np.subtract(curve["predicted"], curve["observed"])) @ np.array(curve["n"])
        assert gaps / 2000 == pytest.approx(found[method]["test"]["ece"], abs=1e-12)
        assert "curve" not in found[method]["validation"]


def test_too_few_labels_of_a_kind_are_skipped_with_the_reason(splits, funnel):
    seen = np.flatnonzero(splits["validation"]["click"])
    splits["validation"]["purchase"][seen] = 0
    splits["validation"]["purchase"][seen[:9]] = 1
    found = calibrate(splits, funnel)["cvr"]
    assert found["skipped"] == f"9 of {len(seen)} validation rows with the label 1; a scaling needs at least 10"
    assert "methods" not in found
    splits["validation"]["purchase"][seen[:10]] = 1
    assert "methods" in calibrate(splits, funnel)["cvr"]
    splits["validation"]["click"][:] = 1
    assert "0 of 1000 validation rows with the label 0" in calibrate(splits, funnel)["ctr"]["skipped"]


def test_without_a_test_split_or_an_oracle_there_is_less_and_no_fault(splits, funnel):
    less = {k: v for k, v in splits["validation"].items() if not k.startswith("oracle") and k != "p_click_and_purchase"}
    found = calibrate({"validation": less}, funnel, methods=["temperature"])
    assert set(found["ctr"]["methods"]) == {"none", "temperature"}
    assert "test" not in found["ctr"]["methods"]["temperature"]
    assert calibrate({"test": splits["test"]}, funnel) == {}
    assert calibrate(splits, funnel, methods=[]) == {}


def test_a_test_split_without_rows_of_a_task_gives_no_numbers(splits, funnel):
    splits["test"]["click"] = np.zeros(2000, int)
    splits["test"]["purchase"] = np.zeros(2000, int)
    found = calibrate(splits, funnel)["cvr"]["methods"]["platt"]["test"]
    assert found == {"log_loss": None, "ece": None, "curve": {"predicted": [], "observed": [], "n": []}}


def test_tasks_that_are_not_binary_are_left_out(splits):
    funnel = TaskFunnel.from_config({"click": {}, "stars": {"kind": "ordinal", "levels": ["1", "2"]}})
    for columns in splits.values():
        columns["stars"] = columns["click"]
    assert list(calibrate(splits, funnel)) == ["click"]


def test_an_unknown_method_is_refused(splits, funnel):
    with pytest.raises(DataError, match=r"calibration\.methods: 'beta' is none of temperature, platt, isotonic"):
        calibrate(splits, funnel, methods=["beta"])


def test_a_calibration_comes_back_from_json_and_scales_joint_probabilities_along_the_funnel(splits, funnel):
    test = splits["test"]
    stored = json.loads(json.dumps(calibrate(splits, funnel), default=int))
    found = scaled(test, funnel, scalings(stored, "isotonic"))
    assert (found["p_click"] != test["p_click"]).any()
    assert found["p_click_and_purchase"] == pytest.approx(found["p_click"] * found["p_purchase_given_click"])
    assert found["click"] is test["click"]


def test_a_rate_without_a_scaling_stays_as_it_is_and_its_joint_one_moves(splits, funnel):
    test = splits["test"]
    found = scaled(test, funnel, {"ctr": Temperature(2.0)})
    assert (found["p_purchase_given_click"] == test["p_purchase_given_click"]).all()
    assert found["p_click_and_purchase"] == pytest.approx(found["p_click"] * test["p_purchase_given_click"])
    assert scaled(test, funnel, {})["p_click_and_purchase"] is test["p_click_and_purchase"]


def test_a_funnel_with_a_way_around_the_cart_is_multiplied_along_it():
    funnel = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "other": {"given": ["click", "!cart"]}})
    columns = {
        "p_click": np.array([0.5]),
        "p_cart_given_click": np.array([0.4]),
        "p_click_and_cart": np.array([0.2]),
        "p_other_given_click_and_no_cart": np.array([0.3]),
        "p_click_and_no_cart_and_other": np.array([0.09]),
    }
    found = scaled(columns, funnel, {"cart_given_click": Platt(0.0, 0.0)})  # always one half
    assert found["p_click_and_cart"] == pytest.approx([0.25])
    assert found["p_click_and_no_cart_and_other"] == pytest.approx([0.5 * 0.5 * 0.3])
