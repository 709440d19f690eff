import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from funneltune.metrics.classification import classification_report


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_it_equals_scikit_learn_at_any_threshold(threshold):
    rng = np.random.default_rng(0)
    p = rng.random(500)
    label = (rng.random(500) < p).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(label, p >= threshold, average="binary")
    report = classification_report(label, p, threshold)
    assert [report["precision"], report["recall"], report["f1"]] == pytest.approx([precision, recall, f1], abs=1e-12)
    assert report["accuracy"] == pytest.approx(accuracy_score(label, p >= threshold), abs=1e-12)
    assert (report["support"], report["rows"]) == (label.sum(), 500)


def test_a_row_at_the_threshold_is_positive():
    assert classification_report([1], [0.5], 0.5)["predicted_positives"] == 1


def test_precision_is_undefined_where_nothing_is_called_positive_and_f1_is_zero():
    report = classification_report([1, 0], [0.1, 0.2], 0.5)
    assert np.isnan(report["precision"])
    assert (report["recall"], report["f1"]) == (0.0, 0.0)


def test_recall_is_undefined_without_positives():
    assert np.isnan(classification_report([0, 0], [0.9, 0.2])["recall"])
