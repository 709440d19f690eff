"""The synthetic log of two related tasks: its equations, its seed, what it cannot be, and that heads train on it."""

import numpy as np
import pytest

from funneltune.data import Correlated, prepare, validate
from funneltune.data.sources.correlated import label, orthonormal
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

FUNNEL = TaskFunnel.from_config({"y1": {"kind": "regression"}, "y2": {"kind": "regression"}})


def correlation_of_labels(p, **knobs):
    _, y, _ = Correlated(rows=20_000, correlation=p, **knobs).draw()
    return float(np.corrcoef(y.T)[0, 1])


def test_a_label_is_the_projection_and_its_sines():
    z = np.array([0.0, 1.0])
    by_hand = [np.sin(0.5) + np.sin(-1.0), 1 + np.sin(2.5) + np.sin(2.0)]
    np.testing.assert_allclose(label(z, np.array([2.0, 3.0]), np.array([0.5, -1.0])), by_hand)
    np.testing.assert_allclose(label(z, np.zeros(0), np.zeros(0)), z)


def test_the_weights_have_the_length_and_the_cosine_that_are_asked_for():
    for p in (-1.0, 0.0, 0.25, 0.9, 1.0):
        _, _, (w1, w2) = Correlated(rows=1, correlation=p, scale=3.0).draw()
        np.testing.assert_allclose([np.linalg.norm(w1), np.linalg.norm(w2)], 3.0)
        assert w1 @ w2 / 9 == pytest.approx(p, abs=1e-12)
    u1, u2 = orthonormal(np.array([[3.0, 4.0, 0.0], [1.0, 1.0, 1.0]]))
    assert (u1 @ u1, u2 @ u2, u1 @ u2) == pytest.approx((1, 1, 0))


def test_without_noise_the_store_holds_what_the_equations_give(tmp_path):
    source = Correlated(rows=50, dimensions=4, correlation=0.3, alpha=[2.0], beta=[1.0], noise=0.0)
    store = prepare(source, FUNNEL, tmp_path)
    _, _, weights = source.draw()
    x = np.stack([store.column(name) for name in ("x1", "x2", "x3", "x4")], axis=1)
    for name, w in zip(("y1", "y2"), weights, strict=True):
        z = x @ w
        np.testing.assert_allclose(store.column(name), z + np.sin(2 * z + 1), atol=1e-5)
    assert store.n_requests == store.n_rows == 50


def test_labels_are_alike_at_one_and_ever_less_so_below():
    found = [correlation_of_labels(p) for p in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.0, abs=0.03)
    assert found[-1] > 0.99
    assert correlation_of_labels(1.0, noise=0.0) == pytest.approx(1.0)


def test_the_noise_has_the_variance_of_the_paper():
    _, noisy, _ = Correlated(rows=20_000).draw()
    _, clean, _ = Correlated(rows=20_000, noise=0.0).draw()
    assert np.var(noisy - clean, axis=0) == pytest.approx(0.01, rel=0.05)


def test_the_seed_fixes_the_log_and_the_correlation_moves_the_second_task_alone(tmp_path):
    def table(n, **knobs):
        return prepare(Correlated(rows=60, dimensions=3, **knobs), FUNNEL, tmp_path / str(n)).table("impressions")

    one, same, other, apart = (
        table(n, **knobs) for n, knobs in enumerate(({"seed": 3}, {"seed": 3}, {"seed": 4}, {"correlation": 0.0}))
    )
    related = table(9, correlation=0.9)
    assert one.equals(same)
    assert not one.equals(other)
    moved = [name for name in related.column_names if not related.column(name).equals(apart.column(name))]
    assert moved == ["y2"]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rows": 0}, r"data.source.rows=0 must be >= 1."),
        ({"correlation": 1.5}, r"data.source.correlation=1.5 must lie in \[-1, 1\]"),
        ({"dimensions": 1}, r"data.source.dimensions=1 must be >= 2"),
        ({"scale": 0.0}, r"data.source.scale=0.0 must be above 0"),
        ({"noise": -0.1}, r"data.source.noise=-0.1 must be >= 0"),
        ({"noise": float("nan")}, r"data.source.noise=nan must be >= 0"),
        ({"alpha": [1.0, 2.0], "beta": [0.0]}, r"alpha=\[1.0, 2.0\] and beta=\[0.0\] must be as many"),
        ({"rows": 0, "noise": -1}, r"rows=0 must be >= 1; data.source.noise=-1 must be >= 0.$"),
    ],
)
def test_values_out_of_range_are_refused_together_in_one_line(knobs, message):
    with pytest.raises(ConfigError, match=message):
        Correlated(**knobs)


@pytest.mark.parametrize("tasks", [{"click": {}}, {"y1": {}}])
def test_tasks_that_the_log_does_not_have_are_refused(tmp_path, tasks):
    with pytest.raises(DataError, match=r"data.tasks.\w+, kind=binary: this log has the labels y1 and y2, both kind"):
        validate(Correlated(rows=10), TaskFunnel.from_config(tasks))


def test_rows_to_be_predicted_are_read_by_the_same_names(tmp_path):
    (tmp_path / "new.csv").write_text("x1,x2\n0.5,-1\n2,0\n")
    store = prepare(Correlated(dimensions=2).unlabelled(tmp_path / "new.csv"), FUNNEL, tmp_path / "cache")
    assert store.column("x1").tolist() == [0.5, 2.0]
    assert store.n_requests == 2
