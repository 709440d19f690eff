"""What an objective asks of the data arrives, or is refused with what asks for it; and runs that draw rows resume."""

import pytest

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.runs.assemble import assemble, assemble_data
from funneltune.runs.objective_needs import objective_needs
from funneltune.runs.targets import build
from resuming import config, sweep

FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"], "window": 14}})
LATE = ["data.source.purchase_delay=5", "+data.tasks.purchase.window=14", "data.observed_until=train"]
DRAWN = "data.sampling={negatives: {click: 0.4}, positives: {purchase: 2}}"


def composed(*overrides):
    return compose_config(["experiment=quickstart", "backbone=none", "features=ids", "tuning=frozen", *overrides])


def test_columns_are_asked_for_by_the_option_that_needs_them():
    found = objective_needs(composed("objective=weighted_clicks"), FUNNEL)
    assert found == {"columns": {"propensity": "objective.examination=log"}, "delayed": "drop"}
    assert objective_needs(composed("objective.delayed=negative"), FUNNEL) == {"columns": {}, "delayed": "negative"}


def test_columns_and_delays_arrive_in_training_batches(tmp_path):
    small = ["data.source.impressions=2000", f"data.cache_dir={tmp_path}", "data.source.page=5", *LATE]
    cfg = composed("objective.examination=tower", "objective.delayed=model", *small)
    data = assemble_data(cfg, build(cfg.backbone))
    batch = next(iter(data.train_dataloader()))
    assert {"position", "elapsed_purchase", "delay_purchase"} == set(batch.columns)
    assert float(batch.columns["elapsed_purchase"].max()) <= 14
    module = assemble(cfg, data).module
    terms = module.objective(batch, module.train()(batch)).terms
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["objective=naive_bce", "data.sampling={negatives: {click: 0.5}, correction: likelihood}"],
            "correction=likelihood: objective=naive_bce, with these options, is no likelihood",
        ),
        (
            ["objective.delayed=model", "data.sampling={negatives: {click: 0.5}, correction: likelihood}", *LATE],
            "correction=likelihood takes labels to be final|is no likelihood",
        ),
        (["data.sampling={negatives: {purchase: 0.5}}"], "negatives.purchase names no binary task without edges"),
    ],
)
def test_a_sampling_that_the_objective_cannot_make_up_for_is_refused(overrides, message):
    cfg = composed(*overrides)
    with pytest.raises(ConfigError, match=message):
        assemble_data(cfg, build(cfg.backbone))


@pytest.mark.slow
def test_a_run_that_draws_rows_and_masks_late_labels_goes_on_bit_for_bit_from_every_step(tmp_path):
    cfg = config(tmp_path / "cache", "full", "32-true", 2, "esmm", "data.split.by=time", DRAWN, *LATE)
    differing, rows, last = sweep(cfg, tmp_path)
    assert len(differing) == last - 1 >= 5
    assert {step: places for step, places in differing.items() if places} == {}
    half = len(rows) // 2
    assert {len(set(map(tuple, part))) for part in (rows[:half], rows[half:])} == {half}
