import pytest
from optuna import TrialPruned

from funneltune.callbacks.pruning import Pruning
from funneltune.errors import ConfigError


def listening(told, stop_at=None):
    def report(count, value):
        told.append((count, round(value, 4)))
        return stop_at is not None and count >= stop_at

    return report


def test_every_validation_is_reported_with_its_count(fit, toy):
    told = []
    pruning = Pruning("validation/ctr/auc", listening(told))
    fit(toy(validation=[0.1, 0.5, 0.6, 0.7]), [pruning], batches=6, val_check_interval=2)
    # the first value is the sanity check's, which does not count
    assert told == [(1, 0.5), (2, 0.6), (3, 0.7)]


def test_a_trial_stops_where_it_is_told_to(fit, toy):
    told = []
    with pytest.raises(TrialPruned, match=r"pruned at validation 2, step 4: validation/ctr/auc=0.6000"):
        fit(
            toy(validation=[0.1, 0.5, 0.6, 0.7]),
            [Pruning("validation/ctr/auc", listening(told, stop_at=2))],
            batches=6,
            val_check_interval=2,
        )
    assert told == [(1, 0.5), (2, 0.6)]


def test_the_last_validation_stops_nothing(fit, toy):
    told = []
    built = fit(
        toy(validation=[0.1, 0.5, 0.6, 0.7]),
        [Pruning("validation/ctr/auc", listening(told, stop_at=3))],
        batches=6,
        val_check_interval=2,
    )
    assert built.global_step == 6
    assert told[-1] == (3, 0.7)


def test_the_count_goes_on_where_a_checkpoint_left_it():
    before, after = (Pruning("validation/ctr/auc", lambda count, value: False) for _ in range(2))
    before.validations = 3
    after.load_state_dict(before.state_dict())
    assert after.validations == 3


def test_the_test_split_and_a_metric_that_is_not_measured_are_refused(fit, toy):
    with pytest.raises(ConfigError, match=r"search.metrics='test/ctr/auc' must begin with validation/"):
        Pruning("test/ctr/auc", lambda count, value: False)
    with pytest.raises(ConfigError, match=r"search.metrics='validation/ctr/acu' is not measured.*nearest"):
        fit(toy(validation=[0.1, 0.5]), [Pruning("validation/ctr/acu", lambda count, value: False)])
