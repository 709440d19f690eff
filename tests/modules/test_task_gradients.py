"""Tasks' gradients: how alike they are, which weights are shared, and what is left in `.grad`."""

import numpy as np
import pytest
import torch
from torch import nn

from funneltune.modules.task_gradients import TaskGradients, aggregate_into, likeness

A, B = np.array([3.0, 4.0, 0.0]), np.array([1.0, 0.0, 1.0])


def weights(**shapes):
    return {name: nn.Parameter(torch.zeros(size, dtype=torch.float64)) for name, size in shapes.items()}


def product(parameter, gradient):
    return (parameter * torch.tensor(gradient, dtype=torch.float64)).sum()


def gathered(terms, parameters):
    found = TaskGradients()
    found.add(terms, parameters, keep_graph=False)
    return found


def test_norms_and_cosines_of_two_gradients_are_those_worked_out_by_hand():
    w = weights(w=3)
    found = likeness(gathered({"click": product(w["w"], A), "buy": product(w["w"], B)}, w), ["click", "buy"], ["w"])
    assert {name: round(value.item(), 10) for name, value in found.items()} == {
        "gradient/norm[click]": 5.0,
        "gradient/norm[buy]": round(2**0.5, 10),
        "gradient/cosine[click,buy]": round(3 / (5 * 2**0.5), 10),
    }


def test_a_task_whose_gradient_is_zero_has_no_entry():
    w = weights(w=3)
    terms = {"click": product(w["w"], A), "cart": product(w["w"], 0 * A), "buy": product(w["w"], B)}
    found = likeness(gathered(terms, w), list(terms), ["w"])
    assert set(found) == {"gradient/norm[click]", "gradient/norm[buy]", "gradient/cosine[click,buy]"}


def test_a_task_that_reaches_nothing_has_none_either():
    w = weights(w=3)
    terms = {"click": product(w["w"], A), "buy": torch.zeros(())}
    assert set(likeness(gathered(terms, w), list(terms), ["w"])) == {"gradient/norm[click]"}
    assert likeness(TaskGradients(), ["click", "buy"], ["w"]) == {}


def test_weights_of_one_tasks_own_are_in_its_norm_and_in_no_cosine():
    w = weights(both=3, own=2)
    terms = {"click": product(w["both"], A) + product(w["own"], [5.0, 0.0]), "buy": product(w["both"], B)}
    found = likeness(gathered(terms, w), list(terms), list(w))
    assert found["gradient/norm[click]"].item() == pytest.approx(50**0.5)
    assert found["gradient/cosine[click,buy]"].item() == pytest.approx(3 / (5 * 2**0.5))


def test_micro_batches_add_up():
    w = weights(w=3)
    found = TaskGradients()
    for share in (0.25, 0.5, 0.25):
        found.add({"click": product(w["w"], share * A), "buy": product(w["w"], share * B)}, w, keep_graph=False)
    np.testing.assert_allclose(found.matrix(["click", "buy"], ["w"]), [A, B])
    assert w["w"].grad is None


def test_the_graph_is_kept_where_a_backward_pass_follows_and_freed_where_none_does():
    w = weights(w=3)
    for keep in (True, False):
        terms = {"click": (w["w"] + 1).square().sum(), "buy": (w["w"] + 2).square().sum()}
        TaskGradients().add(terms, w, keep_graph=keep)
        if keep:
            terms["buy"].backward()
        else:
            with pytest.raises(RuntimeError, match="backward through the graph a second time"):
                terms["buy"].backward()


def test_shared_weights_get_the_aggregate_others_their_sum_and_penalties_are_added_as_they_are():
    w = weights(both=3, own=2, rest=2, nobody=1)
    terms = {
        "click": product(w["both"], A) + product(w["own"], [1.0, 2.0]),
        "buy": product(w["both"], B),
        "": product(w["both"], [0.1, 0.2, 0.3]) + product(w["own"], [10.0, 0.0]) + product(w["rest"], [7.0, 8.0]),
    }
    seen = []
    aggregate_into(
        gathered(terms, w), ["click", "buy"], w, lambda matrix: seen.append(matrix.numpy()) or 2 * matrix[0] - matrix[1]
    )
    np.testing.assert_allclose(seen[0], [A, B])
    np.testing.assert_allclose(w["both"].grad, 2 * A - B + [0.1, 0.2, 0.3])
    np.testing.assert_allclose(w["own"].grad, [11.0, 2.0])
    np.testing.assert_allclose(w["rest"].grad, [7.0, 8.0])
    assert w["nobody"].grad is None


def test_where_nothing_is_shared_nothing_is_aggregated():
    w = weights(a=3, b=3)
    terms = {"click": product(w["a"], A), "buy": product(w["b"], B)}
    aggregate_into(gathered(terms, w), list(terms), w, lambda _: pytest.fail("nothing to aggregate"))
    np.testing.assert_allclose(w["a"].grad, A)
    np.testing.assert_allclose(w["b"].grad, B)


def test_ranks_add_up_and_agree_on_what_is_reached():
    """A rank whose batch has no row of a task still has its part in the sum."""
    w = weights(w=3, own=2)
    here = gathered({"click": product(w["w"], A)}, w)
    there = {"reached": [1.0, 0.0, 1.0, 1.0], "gradients": [*A, *B, 7.0, 8.0]}

    def total(tensor):
        return tensor + torch.tensor(there["reached"] if len(tensor) == 4 else there["gradients"])

    here.reduce(["click", "buy"], w, total)
    np.testing.assert_allclose(here.matrix(["click", "buy"], ["w"]), [2 * A, B])
    assert here.shared(["click", "buy"], ["w", "own"]) == ["w"]
    np.testing.assert_allclose(here.found["buy"]["own"], [7.0, 8.0])
    assert "own" not in here.found["click"]
