"""Delays of events: read in any unit or as moments, cut at a task's window, refused where they cannot be."""

import numpy as np
import pandas as pd
import pytest

from funneltune.data import Simulated, Table, describe, prepare
from funneltune.data.sources.lateness import moments
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from tables import GOOD, ROLES

HOURS = {"purchase": {"column": "hours", "unit": "hours"}}
LATE = GOOD.assign(hours=[36, None, "", 12, None])  # rows 0 and 3 are bought


def windowed(days):
    return TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"], "window": days}})


def read(tmp_path, frame=LATE, funnel=None, **roles):
    frame.to_csv(tmp_path / "log.csv", index=False)
    return prepare(Table(tmp_path / "log.csv", **ROLES, **{"delays": HOURS, **roles}), funnel or windowed(7), tmp_path)


@pytest.mark.parametrize(("unit", "per_day"), [("seconds", 86_400), ("minutes", 1440), ("hours", 24), ("days", 1)])
def test_delays_are_kept_in_days(tmp_path, unit, per_day):
    frame = LATE.assign(hours=[1.5 * per_day, None, 3, 0.5 * per_day, None])
    store = read(tmp_path, frame, delays={"purchase": {"column": "hours", "unit": unit}})
    np.testing.assert_allclose(store.column("delay_purchase"), [1.5, 0, 0, 0.5, 0], rtol=1e-6)


def test_a_moment_of_the_event_gives_its_delay(tmp_path):
    frame = LATE.assign(paid=["2024-05-03T09:00:00", "", "", "2024-05-01T23:00:00Z", ""])
    frame["at"] = "2024-05-01T21:00:00"
    store = read(tmp_path, frame, delays={"purchase": {"at": "paid"}})
    np.testing.assert_allclose(store.column("delay_purchase"), [1.5, 0, 0, 1 / 12, 0], rtol=1e-6)


def test_an_event_behind_the_window_does_not_count_and_is_counted(tmp_path):
    store = read(tmp_path, funnel=windowed(1))
    assert store.column("purchase").tolist() == [0, 0, 0, 1, 0]
    np.testing.assert_allclose(store.column("delay_purchase"), [0, 0, 0, 0.5, 0])
    assert store.manifest["notes"]["events behind the window, which do not count"] == {"purchase": 1}


def test_a_log_with_delays_is_another_log_and_one_without_keeps_its_fingerprint(tmp_path):
    LATE.to_csv(tmp_path / "log.csv", index=False)
    plain, late = (Table(tmp_path / "log.csv", **ROLES, delays=delays).describe() for delays in (None, HOURS))
    assert set(late) - set(plain) == {"delays"}
    assert "delays" not in plain["roles"]


def test_a_bought_row_without_a_delay_is_a_fault(tmp_path):
    frame = LATE.assign(hours=[36, None, None, -1, None])
    with pytest.raises(DataError, match=r"'hours' holds '-1.0' in row 4 \(1 such\), where 'purchase' happened; it mus"):
        read(tmp_path, frame)
    frame = LATE.assign(paid=["2020-01-01"] + [""] * 4)
    with pytest.raises(DataError, match=r"column 'paid' holds .* it must be a moment, not before the impression"):
        read(tmp_path, frame, delays={"purchase": {"at": "paid"}})


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"delays": {"purchase": "hours"}}, "must be {column: ..., unit: ...}, or {at: COLUMN}"),
        ({"delays": {"purchase": {"column": "hours", "unit": "weeks"}}}, "unit must be one of seconds, minutes"),
        ({"numeric": ["hours"]}, "column 'hours' is also an input; it tells the label"),
        ({"delays": {"purchase": {"at": "hours"}}, "time": None}, "at=hours needs the time of the impression"),
    ],
)
def test_delays_that_cannot_be_read_are_refused(tmp_path, roles, message):
    with pytest.raises(ConfigError, match=message):
        Table(tmp_path / "log.csv", **{**ROLES, "delays": HOURS, **roles})


def test_the_marketplace_refuses_a_window_that_ends_before_its_purchases(tmp_path):
    source = Simulated(impressions=100, items=100, queries=20, page=5, purchase_delay=2.0, purchase_window=10.0)
    with pytest.raises(DataError, match=r"purchase.window=7 must be >= 10, data.source.purchase_window"):
        prepare(source, windowed(7), tmp_path)
    assert prepare(source, windowed(10), tmp_path).has("delay_purchase")


def test_a_described_log_tells_windows_and_how_late_events_come(make_data):
    small = {"impressions": 1500, "items": 300, "queries": 60, "shoppers": 50, "page": 5, "ctr": 0.2, "cvr": 0.3}
    source = Simulated(**small, purchase_delay=3.0, purchase_window=10.0)
    found = describe(make_data(source=source, tasks=windowed(10)))["rates"]["purchase_given_click"]
    assert found["window"] == 10
    assert 0 < found["delay"]["quartiles"][0] < found["delay"]["mean"] < 10
    plain = describe(make_data())["rates"]
    assert not {"window", "delay"} & {*plain["ctr"], *plain["cvr"]}


def test_the_marketplace_without_delays_is_described_as_before():
    assert not {"purchase_delay", "purchase_window", "taste_weight"} & set(Simulated().describe())
    assert {"purchase_delay", "purchase_window"} <= set(Simulated(purchase_delay=1.0).describe())


def test_moments_of_any_year_are_read_beside_numbers():
    raw = pd.Series(["1000", "1000-01-01", "2500-06-30T12:00:00+02:00", "1970-01-02", "when?", None], dtype="string")
    days = [float(np.datetime64(day, "D").astype(int)) for day in ("1000-01-01", "2500-06-30")]
    assert moments(raw)[:4].tolist() == [1000.0, 86_400 * days[0], 86_400 * days[1] + 36_000, 86_400.0]
    assert np.isnan(moments(raw)[4:]).all()


def test_milliseconds_are_no_moment():
    raw = pd.Series(["1735732800", "1735732800000", "171201011200", "-1735732800000", "9999-12-31"], dtype="string")
    assert np.isfinite(moments(raw)).tolist() == [True, False, False, False, True]
    assert np.isfinite(moments(pd.Series([1e11, 1.1e11]))).tolist() == [True, False]
