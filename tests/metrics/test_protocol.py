import time

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics import ceiling, evaluate, expected_ece, expected_log_loss, score_metrics


def test_every_value_carries_its_protocol(funnel, columns):
    found = evaluate(columns, funnel)
    assert all(set(entry) == {"value", "protocol"} for entry in found.values())
    assert all({"rows", "n", "positives"} <= set(entry["protocol"]) for entry in found.values())


def test_cvr_is_measured_on_clicks_and_ctcvr_on_all_rows(funnel, columns):
    found = evaluate(columns, funnel)
    clicked = columns["click"] == 1
    on_clicks = roc_auc_score(columns["purchase"][clicked], columns["p_purchase_given_click"][clicked])
    assert found["cvr/auc"]["value"] == pytest.approx(on_clicks, abs=1e-12)
    assert found["cvr/auc"]["protocol"]["rows"] == "rows where click"
    assert found["cvr/auc"]["protocol"]["n"] == clicked.sum()
    everywhere = roc_auc_score(columns["purchase"], columns["p_click_and_purchase"])
    assert found["ctcvr/auc"]["value"] == pytest.approx(everywhere, abs=1e-12)


def test_unclicked_rows_cannot_move_the_click_space(funnel, columns):
    before = evaluate(columns, funnel)
    columns["p_purchase_given_click"] = np.where(columns["click"] == 1, columns["p_purchase_given_click"], 0.77)
    after = evaluate(columns, funnel)
    for key in ("cvr/auc", "cvr/log_loss", "cvr/ece", "cvr/gauc_user"):
        assert after[key]["value"] == before[key]["value"]
    assert after["cvr_entire/expected_auc"]["value"] != before["cvr_entire/expected_auc"]["value"]


def test_the_keys_of_a_click_to_purchase_funnel(funnel, columns):
    keys = set(evaluate(columns, funnel, ks=(5, 10)))
    for rate in ("ctr", "cvr", "ctcvr"):
        for metric in ("auc", "pr_auc", "gauc_user", "gauc_request", "log_loss", "normalised_entropy", "ece"):
            assert f"{rate}/{metric}" in keys
    assert {"ctr/ndcg@5", "ctcvr/ndcg@10", "ctcvr/mrr", "ctcvr/recall@5", "ctcvr/expected_purchases@10"} <= keys
    assert {"ctr/expected_auc", "cvr_entire/expected_auc", "ctcvr/expected_auc"} <= keys
    assert not any(key.startswith(("cvr/ndcg", "click/", "ctr_entire")) for key in keys)


def test_without_an_oracle_or_users_their_metrics_are_absent(funnel, columns):
    real = {name: values for name, values in columns.items() if not name.startswith("oracle") and name != "user"}
    keys = evaluate(real, funnel)
    assert not any("expected" in key or "over_true" in key or "gauc_user" in key for key in keys)
    assert ceiling(real, funnel) == {}


def test_the_ceiling_is_the_oracle_as_predictor(funnel, columns):
    found, best = evaluate(columns, funnel), ceiling(columns, funnel)
    assert best["ctr/auc"]["value"] == pytest.approx(
        roc_auc_score(columns["click"], columns["oracle_p_click"]), abs=1e-12
    )
    assert set(best) == set(found)
    for key in ("ctr/expected_auc", "cvr_entire/expected_auc", "ctcvr/expected_auc"):
        assert best[key]["value"] > found[key]["value"]
    for entire in ("ctr", "cvr_entire", "ctcvr"):
        assert best[f"{entire}/expected_log_loss"]["value"] < found[f"{entire}/expected_log_loss"]["value"]
        assert best[f"{entire}/expected_ece"]["value"] < 1e-12 < found[f"{entire}/expected_ece"]["value"]
        assert best[f"{entire}/predicted_over_true"]["value"] == 1.0
    whole_lists = "ctcvr/expected_purchases@10"  # ten rows a request: every order of them collects the same
    assert best[whole_lists]["value"] == pytest.approx(found[whole_lists]["value"], abs=1e-12)


def test_what_an_oracle_knows_of_calibration_is_measured_on_every_row(funnel, columns):
    found = evaluate(columns, funnel, bins=7)
    p, q = columns["oracle_p_purchase_given_click"], columns["p_purchase_given_click"]
    truth = {"cvr_entire": (p, q), "ctcvr": (columns["oracle_p_click"] * p, columns["p_click_and_purchase"])}
    for entire, (p_true, said) in truth.items():
        keys = {name: f"{entire}/{name}" for name in ("expected_log_loss", "expected_ece", "predicted_over_true")}
        wanted = expected_log_loss(p_true, said), expected_ece(p_true, said, 7), said.sum() / p_true.sum()
        assert [found[key]["value"] for key in keys.values()] == pytest.approx(wanted, rel=1e-12)
        for key in keys.values():
            protocol = found[key]["protocol"]
            assert (protocol["rows"], protocol["n"]) == ("all impressions", 3000)
            assert protocol["positives"] == pytest.approx(p_true.sum())
        assert found[keys["expected_log_loss"]]["protocol"]["averaging"] == (
            "mean over rows of the cross-entropy of p under the oracle's, nats"
        )
        assert "7 bins of equal mass" in found[keys["expected_ece"]]["protocol"]["averaging"]


def test_unclicked_rows_move_what_is_measured_on_every_row(funnel, columns):
    before = evaluate(columns, funnel)
    columns["p_purchase_given_click"] = np.where(columns["click"] == 1, columns["p_purchase_given_click"], 0.77)
    after = evaluate(columns, funnel)
    for name, worse in (("expected_log_loss", 1.1), ("expected_ece", 1.5), ("predicted_over_true", 1.5)):
        assert after[f"cvr_entire/{name}"]["value"] > worse * before[f"cvr_entire/{name}"]["value"]


def test_an_oracle_that_expects_nothing_says_so(funnel, columns):
    columns["oracle_p_purchase_given_click"] = np.zeros(3000)
    found = evaluate(columns, funnel)["cvr_entire/predicted_over_true"]
    assert (found["value"], found["protocol"]["reason"]) == (None, "the oracle expects none")


def test_one_class_gives_none_with_its_reason(funnel, columns):
    columns["purchase"] = np.zeros(3000, dtype=np.int8)
    found = evaluate(columns, funnel)
    for key in ("cvr/auc", "cvr/pr_auc", "cvr/normalised_entropy", "cvr/predicted_over_observed", "cvr/recall"):
        assert found[key]["value"] is None
        assert found[key]["protocol"]["reason"] == "every label is 0"
    assert found["ctcvr/ndcg@10"]["value"] is None
    assert found["ctcvr/ndcg@10"]["protocol"]["groups_skipped"] == 300
    assert found["cvr/log_loss"]["value"] is not None


def test_no_rows_give_no_numbers_and_no_crash(funnel, columns):
    found = evaluate({name: values[:0] for name, values in columns.items()}, funnel)
    assert all(entry["value"] is None and entry["protocol"]["reason"] for entry in found.values())


def test_thresholds_may_differ_by_rate(funnel, columns):
    found = evaluate(columns, funnel, threshold={"ctcvr": 0.1})
    assert found["ctcvr/f1"]["protocol"]["threshold"] == 0.1
    assert found["ctr/f1"]["protocol"]["threshold"] == 0.5


def test_slices_partition_their_rows(funnel, columns):
    found = evaluate(columns, funnel, slices=["item_cold"])
    warm, cold = found["ctr/auc[item_cold=0]"], found["ctr/auc[item_cold=1]"]
    assert warm["protocol"]["n"] + cold["protocol"]["n"] == 3000
    inside = columns["item_cold"] == 1
    wanted = roc_auc_score(columns["click"][inside], columns["p_click"][inside])
    assert cold["value"] == pytest.approx(wanted, abs=1e-12)


def test_slices_come_in_an_order_that_reads_well(funnel, columns):
    rng = np.random.default_rng(0)
    columns["price_band"] = rng.choice(["high", "low", "middle-high", "middle-low"], 3000).astype(object)
    columns["colour"] = rng.choice(["red", "other", "blue"], 3000).astype(object)
    found = evaluate(columns, funnel, slices=["price_band", "colour", "item_cold"])
    names = [key.partition("[")[2][:-1] for key in found if key.startswith("ctr/auc[")]
    bands = [f"price_band={band}" for band in ("low", "middle-low", "middle-high", "high")]
    assert names == [*bands, "colour=blue", "colour=red", "colour=other", "item_cold=0", "item_cold=1"]


def test_a_slice_column_with_too_many_values_is_refused(funnel, columns):
    with pytest.raises(DataError, match=r"metrics\.slices: column 'request' has 300 distinct values"):
        evaluate(columns, funnel, slices=["request"])


def test_a_missing_prediction_is_named(funnel, columns):
    del columns["p_click"]
    with pytest.raises(DataError, match="column 'p_click' is missing"):
        evaluate(columns, funnel)


def test_a_nan_prediction_is_refused(funnel, columns):
    columns["p_click"] = columns["p_click"].copy()
    columns["p_click"][7] = np.nan
    with pytest.raises(DataError, match="p_click: row 7 is nan"):
        evaluate(columns, funnel)


def test_the_order_of_rows_moves_no_metric(funnel, columns):
    columns["p_click"] = np.round(columns["p_click"], 2)  # ties
    shuffled = np.random.default_rng(0).permutation(3000)
    here, there = evaluate(columns, funnel), evaluate({k: v[shuffled] for k, v in columns.items()}, funnel)
    for key, entry in here.items():
        assert there[key]["value"] == pytest.approx(entry["value"], abs=1e-12), key


def test_graded_judgments_count_constant_queries_in_one_ndcg_and_not_in_the_other():
    funnel = TaskFunnel.from_config({"relevant": {}, "exact": {"given": ["relevant"]}})
    log = {
        "request": np.array([0, 0, 1, 1, 2, 2]),
        "grade": np.array([3.0, 3.0, 1.0, 3.0, 1.0, 1.0]),
        "relevant": np.array([1, 1, 0, 1, 0, 0]),
        "exact": np.array([1, 1, 0, 1, 0, 0]),
        "p_relevant": np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
        "p_exact_given_relevant": np.full(6, 0.5),
    }
    found = evaluate(log, funnel)
    worst = 1 / np.log2(3)
    assert found["grade/ndcg@10"]["value"] == pytest.approx((1 + worst) / 2, abs=1e-12)
    assert found["grade/ndcg_discriminating@10"]["value"] == pytest.approx(worst, abs=1e-12)
    protocol = found["grade/ndcg@10"]["protocol"]
    assert (protocol["groups"], protocol["groups_skipped"], protocol["groups_indifferent"]) == (3, 1, 1)
    assert protocol["gain"] == "2^(grade - 1) - 1"
    assert protocol["ranked_by"] == "p_relevant + p_relevant_and_exact"


def test_a_score_alone_has_no_calibration_but_every_ranking_metric(funnel, columns):
    found, own = score_metrics(columns, funnel, columns["p_click"]), evaluate(columns, funnel)
    assert found["ctr/auc"] == own["ctr/auc"]
    assert found["ctr/ndcg@10"] == own["ctr/ndcg@10"]
    assert found["ctcvr/auc"]["value"] == pytest.approx(roc_auc_score(columns["purchase"], columns["p_click"]))
    assert not any(key.endswith(("log_loss", "ece", "precision", "over_true")) for key in found)


def test_a_score_of_another_length_is_refused(funnel, columns):
    with pytest.raises(DataError, match="score has 2999 rows but the log has 3000"):
        score_metrics(columns, funnel, columns["p_click"][1:])


def test_a_hundred_thousand_rows_take_a_moment(funnel, columns):
    large = {name: np.tile(values, 34) for name, values in columns.items()}
    large["request"] = np.repeat(np.arange(102_000 // 10), 10)
    begun = time.process_time()
    evaluate(large, funnel)
    assert time.process_time() - begun < 5
