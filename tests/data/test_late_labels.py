"""Labels that come late: what training is told of them, and that evaluations are told the truth."""

import numpy as np
import pandas as pd
import pytest

from funneltune.data import FeatureColumns, LogDataModule, Simulated, Split, Table, boosted_trees, popularity
from funneltune.data.late_labels import moment_of
from funneltune.data.loaders import ResumableLoader
from funneltune.data.unlabelled import read_as
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds
from tables import GOOD

START = 1_700_000_000
DAY = 86_400
# Eight requests of one row, a day apart; all are clicked but the second, and bought after so many days.
BOUGHT_AFTER = [0.5, None, None, 5.5, 1.0, 2.5, 0.2, 9.0]
TASKS = {"click": {}, "purchase": {"given": ["click"], "window": 4}}


def frame(delays=BOUGHT_AFTER):
    return pd.DataFrame(
        {
            "session": range(8),
            "at": [START + DAY * day for day in range(8)],
            "q": "lamp",
            "name": "Lamp",
            "clicked": [1, 0, 1, 1, 1, 1, 1, 1],
            "bought": [int(d is not None) for d in delays],
            "days": delays,
        }
    )


@pytest.fixture
def make(tmp_path):
    """A datamodule over the eight rows; the last one tests, the one before validates, six train."""

    def made(rows=None, tasks=TASKS, delays=True, time="at", **changes):
        (frame() if rows is None else rows).to_csv(tmp_path / "log.csv", index=False)
        source = Table(
            tmp_path / "log.csv",
            request="session",
            time=time,
            query_text={"query": "q"},
            item_text={"title": "name"},
            item="name",
            labels={"click": "clicked", "purchase": "bought", "cart": "bought"},
            delays={"purchase": {"column": "days", "unit": "days"}} if delays else None,
        )
        arguments = {"rows_per_batch": 100, "observed_until": "train", "split": Split("time", 0.125, 0.125)} | changes
        return LogDataModule(
            source=source,
            tasks=TaskFunnel.from_config(tasks),
            texts=None,
            tokenizer=None,
            interaction="none",
            cache_dir=tmp_path,
            **arguments,
        )

    return made


def training(data):
    """The one batch of the first epoch, its rows in the log's order."""
    (batch,) = data.train_dataloader()
    order = batch.row.argsort()
    return batch, lambda values: values[order].tolist()


def test_a_label_is_masked_until_it_is_final_whatever_has_been_seen(make):
    batch, of = training(make())
    # Read on the sixth day: of six rows, the first two are older than four days. What came behind the window is none.
    assert of(batch.labels["purchase"]) == [1, 0, 0, 0, 1, 0]
    assert of(batch.known["purchase"]) == [1, 1, 0, 0, 0, 0]
    assert of(batch.observed["purchase"]) == [1, 0, 0, 0, 0, 0]
    assert of(batch.observed["click"]) == [1] * 6
    assert "click" not in batch.known  # final at once
    assert (batch.step_rows, batch.step_observed, batch.step_known) == (
        6,
        {"click": 6, "purchase": 1},
        {"purchase": 2},
    )


def test_as_negatives_nothing_is_masked_and_what_has_not_come_is_none(make):
    batch, of = training(make(delayed="negative"))
    assert of(batch.labels["purchase"]) == [1, 0, 0, 0, 1, 0]
    assert of(batch.observed["purchase"]) == [1, 0, 1, 1, 1, 1]
    assert batch.known == batch.step_known == batch.columns == {}
    assert batch.step_observed == {"click": 6, "purchase": 5}


def test_a_model_of_delays_is_told_the_days_that_passed_and_those_that_it_took(make):
    batch, of = training(make(delayed="model"))
    assert of(batch.columns["elapsed_purchase"]) == [4, 4, 3, 2, 1, 0]  # no more than the window
    assert of(batch.columns["delay_purchase"]) == [0.5, 0, 0, 0, 1, 0]
    assert of(batch.observed["purchase"]) == [1, 0, 1, 1, 1, 1]
    assert batch.known == {}


def test_once_all_labels_are_final_a_model_of_delays_is_told_so(make):
    batch, of = training(make(delayed="model", observed_until=None))
    assert of(batch.columns["elapsed_purchase"]) == [4] * 6
    assert of(batch.labels["purchase"]) == [1, 0, 0, 0, 1, 1]


def test_evaluations_hold_final_labels(make):
    data = make()
    data.setup("fit")
    everything = data.collator().rows(np.arange(8))
    assert everything.labels["purchase"].tolist() == [1, 0, 0, 0, 1, 1, 1, 0]  # within the window, seen or not
    assert everything.known == {}
    assert data.columns("validation")["purchase"].tolist() == [1]


def test_without_delays_a_log_is_taken_to_hold_what_was_seen(make):
    batch, of = training(make(delays=False))
    assert of(batch.labels["purchase"]) == [1, 0, 0, 1, 1, 1]
    assert of(batch.known["purchase"]) == [1, 1, 0, 0, 0, 0]


def test_a_task_is_known_when_those_on_its_way_are(make):
    tasks = {"click": {}, "cart": {"given": ["click"], "window": 1}, "purchase": {"given": ["cart"], "window": 4}}
    batch, of = training(make(tasks=tasks))
    assert of(batch.known["cart"]) == [1, 1, 1, 1, 1, 0]
    tasks = {"click": {}, "cart": {"given": ["click"], "window": 4}, "purchase": {"given": ["cart"], "window": 1}}
    batch, of = training(make(tasks=tasks))
    assert of(batch.known["purchase"]) == of(batch.known["cart"]) == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("until", [START + 7 * DAY, "2023-11-21T22:13:20", "2023-11-21 22:13:20+00:00"])
def test_the_moment_may_be_told_in_seconds_or_as_a_date(make, until):
    batch, of = training(make(observed_until=until))
    assert of(batch.known["purchase"]) == [1, 1, 1, 1, 0, 0]


def test_where_all_is_final_training_reads_what_evaluations_read(make, monkeypatch):
    data = make(observed_until=None)
    loader = data.train_dataloader()
    assert isinstance(loader, ResumableLoader)
    assert loader.collate_fn.collate is data.collator()
    monkeypatch.setattr("funneltune.data.training_rows.TrainingRows.counts", None)  # nor are rows counted again
    assert data.plan().observed["purchase"].tolist() == [1, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("delayed", ["drop", "negative"])
def test_denominators_are_the_sums_over_ranks_and_batches(make_data, monkeypatch, world_size, delayed):
    tasks = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"], "window": 10}})
    small = {"impressions": 1500, "items": 300, "queries": 60, "shoppers": 50, "page": 5, "ctr": 0.2, "cvr": 0.5}
    data = make_data(
        source=Simulated(**small, days=30, purchase_delay=5.0, purchase_window=10.0),
        tasks=tasks,
        split=Split(),
        observed_until="train",
        delayed=delayed,
        accumulate=2,
        rows_per_batch=200,
    )
    monkeypatch.setattr(type(data), "world_size", world_size)
    plan = data.plan()
    ranks = [[data._training(draw) for draw in plan.draws(rank)] for rank in range(world_size)]
    for start in range(0, len(plan), 2):
        step = [batch for batches in ranks for batch in batches[start : start + 2]]
        assert {batch.step_rows for batch in step} == {float(sum(len(batch) for batch in step))}
        for name in tasks.names:
            whole = {float(sum(batch.observed[name].sum() for batch in step))}
            assert {batch.step_observed[name] for batch in step} == whole
        if delayed == "drop":
            whole = {float(sum(batch.known["purchase"].sum() for batch in step))}
            assert {batch.step_known["purchase"] for batch in step} == whole
    seen = sum(float(batch.labels["purchase"].sum()) for batch in ranks[0])
    assert 0 < seen < data.columns("train")["purchase"].sum()  # some of what will come has not


def test_baselines_and_scales_learn_from_what_had_been_seen(make):
    data = make(tasks={"purchase": {"window": 4}})
    rows = data.rows("train")
    labels, observed = data.told(rows)
    assert labels["purchase"].tolist() == [1, 0, 0, 0, 1, 0]
    assert observed["purchase"].tolist() == [True, True, False, False, False, False]
    assert data.training_labels("purchase").tolist() == [1, 0]
    (rate,) = set(popularity(data.store, data.requests("train"), rows, "purchase", told=data.told))
    assert rate == pytest.approx(2 / 6)
    (final,) = set(popularity(data.store, data.requests("train"), rows, "purchase"))
    assert final == pytest.approx(3 / 6)


def test_trees_are_fitted_to_what_they_are_told(make):
    pytest.importorskip("lightgbm", reason="the extra `trees` is not installed")
    data = make(tasks={"purchase": {"window": 4}})
    columns = FeatureColumns(data.store, FeatureNeeds(ids=("item",)), np.ones(8, bool))
    rows = {"train": data.rows("train"), "validation": np.arange(6, 8), "test": np.arange(6, 8)}
    told = ({"purchase": np.zeros(6)}, {"purchase": np.array([True] * 3 + [False] * 3)})
    assert boosted_trees(columns, data.funnel, rows, told=told)["purchase"].tolist() == [0, 0]  # one class: its rate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"click": {}}}, "observed_until=train, but no task has a window"),
        ({"tasks": {"click": {}, "purchase": {}, "cart": {"window": 1}}}, "needs to know when 'purchase' is final"),
        ({"split": Split("request", 0.2, 0.2)}, "data.split.by=request; name it"),
        ({"observed_until": START + 4 * DAY}, "lies 1.00 days before the last training row"),
        ({"observed_until": "soon"}, "'soon' must be null, train, unix seconds or an ISO 8601 date"),
        ({"observed_until": True}, "True must be null, train"),
        ({"time": None, "split": Split("request", 0.2, 0.2)}, "needs the time of each impression"),
        ({"delayed": "model", "delays": False}, "needs the delays of 'purchase', which the log does not tell"),
        (
            {"delayed": "model", "tasks": {"click": {}}, "observed_until": None},
            "objective.delayed=model: no task has a window",
        ),
    ],
)
def test_a_moment_that_does_not_fit_the_log_is_refused(make, changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes).train_dataloader()


def test_a_date_alone_is_its_beginning():
    assert moment_of("2024-06-30") == pd.Timestamp("2024-06-30", tz="UTC").timestamp()
    assert moment_of(12.5) == 12.5


def test_columns_of_the_log_come_along_as_numbers_and_in_training_alone(make_data):
    data = make_data(columns={"position": "a test", "oracle_p_click": "a test"})
    batch = next(iter(data.train_dataloader()))
    rows = batch.row.numpy()
    assert batch.columns["position"].tolist() == data.store.column("position")[rows].tolist()
    np.testing.assert_array_equal(batch.columns["oracle_p_click"], data.store.column("oracle_p_click")[rows])
    assert data.collator()(next(iter(data.plan().draws()))).columns == {}


def test_a_column_that_the_log_does_not_have_is_told_before_training_and_not_asked_of_files(make_data, tmp_path):
    data = make_data(columns={"mood": "objective.examination=mood"})
    with pytest.raises(
        ConfigError, match=r"objective.examination=mood asks for 'mood', and the log has no .* position"
    ):
        data.train_dataloader()
    assert len(next(iter(data.val_dataloader()))) > 0  # evaluations do not ask
    GOOD.rename(columns={"q": "query", "name": "title"}).to_csv(tmp_path / "new.csv", index=False)
    assert read_as(data, tmp_path / "new.csv").objective_columns == {}
