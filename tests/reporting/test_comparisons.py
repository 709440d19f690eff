"""What a study's comparisons say of replicates, folds, effects and the second opinion."""

import json

import numpy as np
import pytest
from scipy import stats

from funneltune.metrics import hedges_g
from funneltune.records import RunRecord, read_records
from funneltune.reporting import report
from funneltune.reporting.comparisons import compare
from funneltune.reporting.held import Held
from funneltune.reporting.render import methods


def records_of(study, cell):
    return {path: RunRecord.read(path) for path in sorted(study.glob(f"cells/{cell}/*/record.json"))}


def rewrite(study, change):
    """Let `change` have every record, with the number of its seed."""
    for path in study.glob("cells/*/*/record.json"):
        record = RunRecord.read(path)
        change(record)
        record.write(path)


def values(study, cell, metric):
    return [record.value(metric) for record in records_of(study, cell).values()]


def test_effects_are_hedges_g_of_the_seeds_values(study):
    found = {c.cell: c for c in compare(read_records(study), metrics=["ctr/auc"])}
    wanted = hedges_g(values(study, "tuning=full", "ctr/auc"), values(study, "tuning=frozen", "ctr/auc"))
    assert found["tuning=full"].effect == pytest.approx(wanted, rel=1e-3)
    assert "| g |" in _written(study)


def test_one_seed_has_no_effect_and_no_claim(make_study):
    (one, _) = compare(read_records(make_study(seeds=(0,))), metrics=["ctr/auc"])
    assert (one.effect, one.note, one.verdict) == (None, "one seed", "no claim")


def _written(study):
    report(study, study.parent / "out")
    return (study.parent / "out" / "table.md").read_text()


def test_the_headline_auc_is_bootstrapped_as_well_and_only_that(study):
    found = compare(read_records(study))
    assert {c.metric for c in found if c.bootstrap_p is not None} == {"ctcvr/auc"}
    full = next(c for c in found if c.metric == "ctcvr/auc" and c.cell == "tuning=full")
    assert full.bootstrap_low == pytest.approx(full.low, abs=0.2 * (full.high - full.low))
    assert "two-level bootstrap of ctcvr/auc, which a claim needs as well: full against frozen +" in _written(study)


def test_a_metric_that_is_no_mean_claims_nothing_from_seeds_on_the_same_rows(study):
    (full, _) = compare(read_records(study), metrics=["ctr/ece"])
    wanted = stats.ttest_rel(values(study, "tuning=full", "ctr/ece"), values(study, "tuning=frozen", "ctr/ece"))
    assert full.p_value == pytest.approx(wanted.pvalue)
    assert (full.verdict, full.note, full.method) == ("no claim", "over seeds alone", "t over seeds")
    assert "not which requests were drawn" in "\n".join(methods([full], {}))


OF_THE_ORACLE = [f"cvr_entire/{name}" for name in ("expected_log_loss", "expected_ece", "predicted_over_true")]


def test_calibration_against_an_oracle_is_judged_like_calibration_against_labels(study):
    keys = ["ctr/log_loss", "ctr/ece", "ctr/predicted_over_observed", *OF_THE_ORACLE]
    found = {c.metric: c for c in compare(read_records(study), metrics=keys) if c.cell == "tuning=full"}
    for ours, peer in zip(OF_THE_ORACLE, keys, strict=False):
        assert (found[ours].method, found[ours].note) == (found[peer].method, found[peer].note)
    loss = found["cvr_entire/expected_log_loss"]
    assert (loss.verdict, loss.method, loss.seeds) == ("better", "two-level bootstrap", 3)
    assert loss.low < loss.difference < loss.high < 0


def test_calibration_against_an_oracle_is_judged_over_folds_but_for_what_is_best_at_one(folds):
    found = {c.metric: c for c in compare(read_records(folds), metrics=OF_THE_ORACLE) if c.cell == "tuning=full"}
    assert [found[key].method for key in OF_THE_ORACLE] == ["corrected resampled t"] * 3
    assert [found[key].verdict for key in OF_THE_ORACLE] == ["better", "better", "no claim"]
    assert found["cvr_entire/predicted_over_true"].note == "best at 1"


def test_statistics_from_before_a_metric_was_known_leave_the_spread_over_seeds(study):
    for path in study.glob("cells/*/*/statistics.npz"):
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files if "expected_log_loss" not in name}
        np.savez(path, **arrays)
    (full, _) = compare(read_records(study), metrics=["cvr_entire/expected_log_loss"])
    assert (full.verdict, full.note) == ("no claim", "over seeds alone")
    rewrite(study, lambda record: [record.metrics["test"].pop(key) for key in OF_THE_ORACLE])
    assert compare(read_records(study), metrics=OF_THE_ORACLE) == []


@pytest.fixture
def folds(study):
    """The study's seeds as folds of one seed: each was tested on requests of its own."""

    def change(record):
        fold, record.seed = record.seed, 0
        record.config["data"]["split"] = {"folds": 3, "fold": fold}
        record.data = {"fingerprint": "one", "rows": {"train": 2000, "test": 1000}}

    for path in study.glob("cells/*/*/statistics.npz"):
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez(path, **(arrays | {"request": arrays["request"] + 1000 * int(path.parent.name[-1])}))
    rewrite(study, change)
    return study


def test_folds_are_replicates_and_share_training_rows(folds):
    (full, _) = compare(read_records(folds), metrics=["ctr/auc"])
    assert (full.seeds, full.folds, full.method, full.note) == (3, 3, "corrected resampled t", "")
    d = np.subtract(values(folds, "tuning=full", "ctr/auc"), values(folds, "tuning=frozen", "ctr/auc"))
    error = np.sqrt(np.var(d, ddof=1) * (1 / 3 + 1 / 2))
    assert full.high - full.difference == pytest.approx(stats.t.ppf(0.975, 2) * error, rel=1e-4)
    assert "corrected resampled t (3 folds)" in _written(folds)


def test_folds_correct_a_mean_and_a_metric_without_statistics_too(folds):
    for metric in ("ctr/ndcg@10", "ctr/ece"):
        (full, _) = compare(read_records(folds), metrics=[metric])
        assert (full.method, full.note) == ("corrected resampled t", "")


def test_seeds_of_folds_are_runs_and_a_single_fold_claims_nothing(folds):
    (full, _) = compare(read_records(folds), metrics=["ctr/auc"])
    twice = [full.__class__(**{**full.to_json(), "seeds": 6})]
    assert "(6 runs of 3 folds)" in methods(twice, {})[0]
    for path in folds.glob("cells/*/seed=[12]/record.json"):
        path.unlink()
    (full, _) = compare(read_records(folds), metrics=["ctr/auc"])
    assert (full.seeds, full.note) == (1, "one fold")


def test_pairs_of_the_study_are_compared_and_corrected_together(study):
    content = json.loads((study / "study.json").read_text())
    content["study"]["pairs"] = "all"
    (study / "study.json").write_text(json.dumps(content))
    found = compare(read_records(study), metrics=["ctr/auc"])
    assert [(c.cell, c.baseline) for c in found] == [
        ("tuning=full", "tuning=frozen"),
        ("tuning=adalora", "tuning=frozen"),
        ("tuning=adalora", "tuning=full"),
    ]
    smallest = min(c.p_value for c in found)
    assert min(c.p_holm for c in found) == pytest.approx(3 * smallest)


def test_a_pair_does_not_depend_on_which_other_cells_are_there(study):
    one = {c.cell: c for c in compare(read_records(study), metrics=["ctcvr/auc", "ctr/ndcg@10"])}["tuning=full"]
    for path in study.glob("cells/tuning=adalora/*/record.json"):
        path.unlink()
    other = {c.cell: c for c in compare(read_records(study), metrics=["ctcvr/auc", "ctr/ndcg@10"])}["tuning=full"]
    assert (other.low, other.p_value) == pytest.approx((one.low, one.p_value), rel=1e-9)


def test_labels_and_requests_that_runs_share_are_held_once(study):
    held, runs = Held(), read_records(study).runs
    one, other = (held.of(run, "ctr/auc") for run in runs[:2])
    assert one["request"] is other["request"]
    assert one["ctr/auc:positives"] is other["ctr/auc:positives"]
    assert not np.array_equal(one["ctr/auc:among_negatives"], other["ctr/auc:among_negatives"])
    assert held.of(runs[0], "ctr/none") is None


def test_statistics_that_are_cut_off_are_no_statistics_and_told_of_once(study, caplog):
    path = study / "cells/tuning=full/seed=1/statistics.npz"
    path.write_bytes(path.read_bytes()[:2000])
    (full, _) = compare(read_records(study), metrics=["ctr/auc"])
    assert (full.verdict, full.note) == ("no claim", "no statistics")
    (told,) = [line for line in caplog.messages if str(path) in line]
    assert told.endswith("evaluate the run again. Until then nothing is claimed of this run.")
