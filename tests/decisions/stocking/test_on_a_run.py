"""Demand and stock by a run on the marketplace, whose truth is known: days, forecasts, orders, their cost."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from funneltune.decisions import Scorer
from funneltune.decisions.stocking import (
    DemandSettings,
    Forecaster,
    StockSettings,
    forecast_demand,
    plan,
    read_days,
    read_shelf,
    read_sold_out,
)
from funneltune.decisions.stocking.ahead import FORECAST, KNOWN, PAST_RATE, RUN, SAME_DAY, TRUTH
from funneltune.decisions.stocking.demand_record import demand_record, rows
from funneltune.decisions.stocking.demand_record import picture as draw_demand
from funneltune.decisions.stocking.stock_record import orders, stock_record
from funneltune.decisions.stocking.stock_record import picture as draw_stock
from funneltune.errors import ConfigError, DataError
from stocking_shop import shop

TRUE = f"{TRUTH}, {KNOWN} traffic"


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return Scorer.of_run(shop(tmp_path_factory))


@pytest.fixture(scope="module")
def daily(scorer):
    return read_days(scorer)


@pytest.fixture(scope="module")
def demand(scorer):
    return forecast_demand(scorer, DemandSettings(by="category", baselines=("none",)))


@pytest.fixture(scope="module")
def stock(scorer):
    return plan(scorer, StockSettings(lead_time=2, review=3, baselines=("none",)))


# --- days ----------------------------------------------------------------------------------------------------------


def test_days_add_up_to_the_log(scorer, daily):
    store = scorer.assembly.data.store
    assert daily.shown.sum() == store.n_rows
    assert daily.bought.sum() == (np.asarray(store.column("purchase")) == 1).sum()
    assert daily.days == 42
    assert daily.date(0) == "2025-01-01"
    item = daily.names.index(scorer.catalogue.keys[7])
    seen = np.asarray(store.column("item")) == 7
    assert daily.shown[item].sum() == seen.sum()


def test_no_day_is_of_two_splits(scorer, daily):
    day = np.asarray(scorer.assembly.data.store.column("time")) // 86_400 - daily.first
    for split, span in (("validation", daily.validation), ("test", daily.test)):
        own = set(scorer.assembly.data.rows(split).tolist())
        inside = np.flatnonzero((day >= span.start) & (day < span.stop))
        assert set(inside.tolist()) <= own
        assert len(inside) > 0.8 * len(own)
    assert daily.validation.stop <= daily.test.start


def test_what_is_expected_is_the_sum_of_the_runs_predictions(scorer, daily):
    predicted = pd.read_parquet(scorer.folder / "predictions.parquet")
    test = scorer.assembly.data.rows("test")
    day = np.asarray(scorer.assembly.data.store.column("time"))[test] // 86_400 - daily.first
    whole = (day >= daily.test.start) & (day < daily.test.stop)
    told = predicted["p_click_and_purchase"].to_numpy()[whole]
    assert daily.expected[:, daily.test.days].sum() == pytest.approx(told.sum(), rel=1e-4)
    assert daily.squares[:, daily.test.days].sum() == pytest.approx((told**2).sum(), rel=1e-4)


# --- demand --------------------------------------------------------------------------------------------------------


def test_nothing_of_the_held_out_days_is_known_to_a_forecast(daily):
    origin = daily.test.start
    later = dataclasses.replace(
        daily,
        **{name: np.hstack([getattr(daily, name)[:, :origin], 9 + getattr(daily, name)[:, origin:]])
           for name in ("shown", "bought", "expected", "squares")},
    )  # fmt: skip
    for way in (RUN, PAST_RATE, SAME_DAY):
        first, second = (Forecaster(one).of(way, FORECAST, origin, 5) for one in (daily, later))
        assert first.mean.tolist() == second.mean.tolist()
    assert (Forecaster(later).of(RUN, KNOWN, origin, 5).mean > Forecaster(daily).of(RUN, KNOWN, origin, 5).mean).any()


def test_the_same_weekdays_tell_the_impressions_to_come(daily):
    past = np.tile(np.arange(7.0), (1, 4))
    even = dataclasses.replace(daily, shown=past, bought=past, expected=past / 10, squares=past / 100, scored=0)
    for model in ("weekday", "naive"):
        assert Forecaster(even, model).impressions(28, 9)[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
        assert Forecaster(even, model).impressions(27, 2)[0].tolist() == [6, 0]
    assert Forecaster(even).rate(28)[0] == pytest.approx(0.1)
    assert Forecaster(even).weekdays(RUN, 28)[6] == pytest.approx((24 + 10) / (2.4 + 10))


def test_who_knows_the_chances_is_nearest_and_covered(demand):
    for way, parts in demand.measures.items():
        if way != TRUE:
            for measure in ("rmsse", "pinball"):
                assert demand.measures[TRUE][measure].value < parts[measure].value
    assert demand.measured(TRUE, "coverage").estimate > 0.9
    assert demand.forecasts[TRUE].means.mean.sum() == pytest.approx(demand.actual.sum(), rel=0.2)


def test_the_run_beats_last_week_s_same_day_and_its_intervals_cover(demand):
    assert demand.against(SAME_DAY, "rmsse").high < 0
    assert demand.against(SAME_DAY, "pinball").estimate < 0
    assert demand.measured(demand.own, "coverage").estimate > 0.85


def test_rows_and_record_tell_the_same(demand):
    found = rows(demand)
    held = found[found["when"] == "held out"]
    assert len(held) == demand.actual.size
    assert held["bought"].sum() == demand.actual.sum()
    assert (held["low"] <= held["high"]).all()
    assert found[found["when"] == "ahead"]["day"].min() == "2025-02-12"
    record = demand_record(demand, "runs/a")
    assert record.numbers[f"{demand.own}/wape"]["value"] == pytest.approx(demand.measures[demand.own]["wape"].value)
    assert any("met an empty shelf" in note for note in record.notes)


def forecasts_of(demand, **means):
    """The same forecasts with other means for some ways."""
    moved = {
        way: dataclasses.replace(one, means=one.means._replace(mean=means[way]) if way in means else one.means)
        for way, one in demand.forecasts.items()
    }
    return dataclasses.replace(demand, forecasts=moved)


def test_the_sentences_tell_bias_wape_and_coverage_of_every_way(demand):
    notes = demand_record(demand, "runs/a").notes
    off = demand.forecasts[demand.own].means.mean.sum() / demand.actual.sum() - 1
    assert f"{abs(off):.1%} {'more' if off > 0 else 'less'} in all than was bought" in notes[0]
    (of_last_week,) = [note for note in notes if "off than last week's same day" in note]
    gap = demand.against(SAME_DAY, "wape")
    assert f"WAPE {gap.estimate:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})" in of_last_week
    assert f"90% intervals that hold {demand.measured(SAME_DAY, 'coverage').estimate:.1%} of the days" in of_last_week
    twice = forecasts_of(demand, **{SAME_DAY: 2 * demand.actual})
    assert any(
        "Of the other: 100.0% more in all than was bought (+100.0%" in n for n in demand_record(twice, "a").notes
    )
    exact = forecasts_of(demand, **{demand.own: demand.actual})
    assert "as much in all as was bought" in demand_record(exact, "a").notes[0]


def test_the_best_way_is_named_and_that_it_is_the_naive_one(demand):
    past = f"{PAST_RATE}, {FORECAST} traffic"

    def best(way):
        notes = demand_record(forecasts_of(demand, **{way: demand.actual}), "runs/a").notes
        (note,) = [note for note in notes if note.startswith("By RMSSE")]
        return note

    assert best(SAME_DAY).startswith("By RMSSE the best is last week's same day (0.000; the run ")
    assert best(SAME_DAY).endswith("): the naive forecast. Neither the run nor a model gains anything here; take it.")
    assert best(past).endswith(": a count of the log that needs no run.")
    assert best(demand.own) == "By RMSSE the run is the best of the 3 ways that know as much of these days (0.000)."
    known = f"{PAST_RATE}, {KNOWN} traffic"
    assert known not in demand.rivals  # it was told what the run was not
    assert TRUE not in demand.rivals


def test_the_pictures_legends_tell_every_mark_and_cover_none(demand, stock):
    for found, draw, told in (
        (demand, draw_demand, {"bought before, known to all", "90% interval of the run, by day (of one series)"}),
        (stock, draw_stock, {"90% interval of sales", "expected sales", "filled up to", "cost of lost sales"}),
    ):
        figure = draw(found)
        (legend,) = figure.legends
        assert told <= {text.get_text() for text in legend.get_texts()}
        assert not any(axes.get_legend() for axes in figure.axes)
        figure.draw_without_rendering()
        box = legend.get_window_extent()
        assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    left, middle, _ = figure.axes
    assert left.get_ylim() == middle.get_ylim()


def test_the_picture_shows_the_series_of_which_most_is_expected(demand):
    bought = demand.actual.sum(axis=1)
    one = int(np.argmin(bought))  # no one bought it, and the run expected it
    rising = np.zeros_like(demand.actual)
    rising[one] = 5.0
    titles = [axes.get_title(loc="left") for axes in draw_demand(forecasts_of(demand, **{demand.own: rising})).axes]
    assert titles[1] == f"Most expected {demand.settings.by}: {demand.daily.names[one]}"[:44]


def test_the_picture_of_orders_shows_what_is_filled_up(stock):
    few = dataclasses.replace(stock, target=np.where(np.arange(len(stock.target)) == 3, 2.0, 0.0))
    (_, _, right) = draw_stock(few).axes
    assert [text.get_text() for text in right.get_yticklabels()] == [stock.daily.names[3][:22]]


# --- stock ---------------------------------------------------------------------------------------------------------


def test_ordering_by_the_true_chances_costs_least(stock):
    for way in stock.replayed:
        if way != TRUTH:
            assert stock.measured(TRUTH, "cost").estimate < stock.measured(way, "cost").estimate
    assert stock.measured(TRUTH, "fill rate").estimate > 0.9


def test_knowing_when_shelves_were_empty_serves_more(scorer, stock):
    blind = plan(scorer, StockSettings(lead_time=2, review=3, baselines=("none",)), sold_out="ignore")
    assert blind.sold_out is None
    assert blind.replayed[TRUTH].wanted.tolist() == stock.replayed[TRUTH].wanted.tolist()
    for way in (RUN, PAST_RATE):
        assert stock.replayed[way].lost.sum() < 0.8 * blind.replayed[way].lost.sum()
        assert stock.measured(way, "cost").estimate < blind.measured(way, "cost").estimate
    assert any("too little is ordered" in note for note in stock_record(blind, "runs/a", "", "ignore").notes)


def test_days_without_stock_count_as_the_others_do(daily):
    origin = 20
    empty = np.zeros(daily.shown.shape, dtype=bool)
    empty[:, 10:15] = True
    made = Forecaster(daily, sold_out=empty)
    past, plain = made.past(origin), daily.bought[:, :origin]
    assert (past[:, :10] == plain[:, :10]).all()
    assert (past[:, 10:15] >= plain[:, 10:15]).all()
    assert past.sum() > plain.sum()
    assert (made.lift(origin) >= 1).all()
    half = np.zeros((1, 20), dtype=bool)
    half[:, ::2] = True  # shown 4 a day; bought 2 on days with stock, none without
    bought = np.where(half, 0.0, 2.0)
    one = dataclasses.replace(daily, shown=np.full((1, 20), 4.0), bought=bought, expected=bought, scored=0)
    assert Forecaster(one, sold_out=half).lift(20)[0] == pytest.approx(2.0)
    assert Forecaster(one, sold_out=half).past(20)[0].tolist() == [2.0] * 20
    assert made.of(RUN, FORECAST, origin, 3).mean.sum() > Forecaster(daily).of(RUN, FORECAST, origin, 3).mean.sum()


def test_a_higher_service_level_orders_more(scorer, stock):
    ordered = [
        plan(scorer, StockSettings(service_level=level, lead_time=2, review=3, baselines=("none",))).quantity.sum()
        for level in (0.5, 0.99)
    ]
    assert ordered[0] < stock.quantity.sum() < ordered[1]


def test_what_is_there_is_not_ordered_and_the_reason_says_so(scorer, stock, tmp_path):
    names = stock.daily.names
    busiest = int(np.argmax(stock.target))
    told = pd.DataFrame({"item": [names[busiest]], "on_hand": [3], "on_order": [1], "shortage_cost": [1000.0]})
    told.to_csv(tmp_path / "shelves.csv", index=False)
    found = plan(scorer, StockSettings(lead_time=2, review=3, baselines=("none",)), tmp_path / "shelves.csv")
    assert found.target[busiest] > stock.target[busiest]
    assert found.quantity[busiest] == found.target[busiest] - 4
    listed = orders(found).set_index("item")
    assert listed.loc[names[busiest], "on_hand"] == 3
    assert f"fill up to {found.target[busiest]:.0f}" in listed.loc[names[busiest], "reason"]
    told.assign(on_hand=500).to_csv(tmp_path / "full.csv", index=False)
    full = orders(plan(scorer, StockSettings(lead_time=2, review=3, baselines=("none",)), tmp_path / "full.csv"))
    assert "500 there" in full.set_index("item").loc[names[busiest], "reason"]
    assert full.set_index("item").loc[names[busiest], "quantity"] == 0


def test_a_log_whose_truth_no_one_knows_is_judged_by_its_sales(scorer, monkeypatch):
    from funneltune.decisions.stocking import demand

    def unknown(source):
        raise ConfigError("not the marketplace")

    monkeypatch.setattr(demand, "world_of", unknown)
    found = plan(scorer, StockSettings(lead_time=2, review=3, baselines=("none",)))
    assert not found.known
    assert found.draws == 1
    assert found.replayed[RUN].wanted.sum() == found.daily.bought[:, found.daily.test.days][:, 2:].sum()
    notes = " ".join(stock_record(found, "runs/a", "", "ignore").notes)
    assert "what was wanted and not there is not counted" in notes
    forecast = forecast_demand(scorer, DemandSettings(by="category", baselines=("none",)))
    assert TRUE not in forecast.forecasts
    assert any("does not say when an item was sold out" in note for note in demand_record(forecast, "runs/a").notes)


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"item": ["item-000001"]}, "column 'on_hand' is missing; a row needs item and on_hand"),
        ({"item": ["item-000001"], "on_hand": [1], "shelf": [2]}, "column 'shelf' is none of item, on_hand"),
        ({"item": ["item-000001"] * 2, "on_hand": [1, 2]}, "item=item-000001 has two rows"),
        ({"item": ["lamp"], "on_hand": [1]}, "1 row\\(s\\) are of items that the log has not shown, the first 'lamp'"),
        ({"item": ["item-000001"], "on_hand": ["many"]}, "row 1 has on_hand=many; it must be a number, 0 or more"),
        ({"item": ["item-000001"], "on_hand": [-1]}, "row 1 has on_hand=-1"),
        (
            {"item": ["item-000001"], "on_hand": [1], "holding_cost": [0]},
            "holding_cost=0; it must be a number, above 0",
        ),
    ],
)
def test_shelves_that_cannot_be_read_are_refused(frame, told, tmp_path):
    pd.DataFrame(frame).to_csv(tmp_path / "shelves.csv", index=False)
    with pytest.raises(DataError, match=told):
        read_shelf(tmp_path / "shelves.csv", ["item-000000", "item-000001"], 0.1, 1.0)


def test_days_without_stock_are_read_and_those_outside_the_log_refused(daily, tmp_path):
    path = tmp_path / "out.csv"
    item = daily.names[3]
    pd.DataFrame({"item": [item] * 3, "day": ["2025-01-03", "2025-01-04", "2031-01-01"]}).to_csv(path, index=False)
    found = read_sold_out(path, daily)
    assert np.argwhere(found).tolist() == [[3, 2], [3, 3]]
    pd.DataFrame({"item": [item], "day": ["2031-01-01"]}).to_csv(path, index=False)
    with pytest.raises(DataError, match="no day is one of the log's, 2025-01-01 to 2025-02-11"):
        read_sold_out(path, daily)
    pd.DataFrame({"item": [item], "date": ["2025-01-03"]}).to_csv(path, index=False)
    with pytest.raises(DataError, match="column 'date' is none of item, day"):
        read_sold_out(path, daily)


def test_too_many_series_are_refused(scorer, monkeypatch):
    from funneltune.decisions.stocking import days

    monkeypatch.setattr(days, "MOST_CELLS", 100)
    with pytest.raises(ConfigError, match="by=item makes 60 series of 42 days.*by=category"):
        read_days(scorer)
