"""Forecasts of daily series from what is known before a day: by a run, by past rates, by their own past alone.

Legend: S series, H days ahead.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.data.baselines import smoothed_rates
from funneltune.decisions.stocking.days import SEASON, WINDOW, Daily, Span
from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
RUN, PAST_RATE, SAME_DAY, TRUTH = "the run", "past rates", "last week's same day", "the truth"
MODELS = {"croston": "CrostonSBA", "ets": "AutoETS", "arima": "AutoARIMA"}
"""Word of the command line -> statsforecast's model."""
TRAFFIC = ("weekday", "naive", "ets")
KNOWN, FORECAST = "known", "forecast"
WEEKS = 4
"""Past weeks whose same weekdays tell impressions to come."""


PRIOR = 10.0
"""Purchases by which a weekday's factor is drawn to 1."""


MOST_LIFT = 20.0
"""Of a rate, for days without stock."""


class Means(NamedTuple):
    """(S, H) each: what is expected, and its variance if that is right (Poisson-binomial, or Poisson)."""

    mean: Floats
    base: Floats


@dataclass
class Forecaster:
    """What each way expects of the days from an origin on, knowing the log before that day.

    Args:
        daily: The log.
        traffic_model: How impressions are forecast: weekday (mean of the same weekday over the last four weeks), naive
            (last week's), ets (statsforecast's AutoETS).
        sold_out: (S, T) days on which a series could not be bought: forecasts are then of what is wanted, else of what
            is sold.
    """

    daily: Daily
    traffic_model: str = "weekday"
    sold_out: NDArray[np.bool_] | None = None
    _kept: dict[tuple[str, int, int], Floats] = field(default_factory=dict, repr=False)

    def of(self, way: str, traffic: str, origin: int, horizon: int) -> Means:
        """A way's means. With `known` traffic the days' own impressions are given to it."""
        if way in (RUN, PAST_RATE) and traffic == KNOWN:
            return self._known(way, Span(origin, origin + horizon))
        if way in (RUN, PAST_RATE):
            rate = self.rate(origin) if way == RUN else self.past_rate(origin)
            by_day = self.weekdays(way, origin)[np.arange(horizon) % SEASON]
            return _poisson(self.impressions(origin, horizon) * rate[:, None] * by_day)
        if way == SAME_DAY:
            return _poisson(_same_day(self.past(origin), horizon))
        return _poisson(self._model(way, "bought", origin, horizon))

    def past(self, origin: int) -> Floats:
        """(S, origin) purchases before the origin. On days without stock those that would have been: the series' rate
        on its other days (drawn to the mean) times the day's impressions, where that is more.
        """
        bought = self.daily.bought[:, :origin]
        if self.sold_out is None:
            return np.asarray(bought)
        return np.where(self.sold_out[:, :origin], np.maximum(bought, self._in_stock(origin)), bought)

    def lift(self, origin: int) -> Floats:
        """(S,): a rate with stock over one that was learnt from all impressions, 1 / (a + (1 - a) k), where a is the
        share of a series' impressions with stock, and k what is bought without stock over what would be with it.
        """
        if self.sold_out is None:
            return np.ones(len(self.daily.shown))
        shown, empty = self.daily.shown[:, :origin], self.sold_out[:, :origin]
        there = 1 - (shown * empty).sum(axis=1) / np.maximum(shown.sum(axis=1), 1.0)
        would = float((self._in_stock(origin) * empty).sum())
        kept = min(1.0, float((self.daily.bought[:, :origin] * empty).sum()) / would) if would > 0 else 1.0
        return np.asarray(1 / np.maximum(there + (1 - there) * kept, 1 / MOST_LIFT))

    def _in_stock(self, origin: int) -> Floats:
        """(S, origin) what days' impressions bring at the rate of the series' days with stock, drawn to the mean."""
        shown, there = self.daily.shown[:, :origin], ~self.sold_out[:, :origin]  # type: ignore[index]
        rate = _drawn_rates((shown * there).sum(axis=1), (self.daily.bought[:, :origin] * there).sum(axis=1))
        return np.asarray(rate[:, None] * shown)

    def rate(self, origin: int) -> Floats:
        """(S,): the run's mean p(click and purchase) of each series' impressions in the last four weeks; of one without
        any, the mean of all. Lifted by what days without stock took from it.
        """
        days = slice(max(self.daily.scored, origin - WINDOW), origin)
        shown, expected = self.daily.shown[:, days].sum(axis=1), self.daily.expected[:, days].sum(axis=1)
        mean = expected.sum() / max(shown.sum(), 1.0)
        return np.asarray(np.where(shown > 0, expected / np.maximum(shown, 1.0), mean) * self.lift(origin))

    def past_rate(self, origin: int) -> Floats:
        """(S,): purchases per impression before the origin, drawn to the mean by as many impressions as bring one."""
        return _drawn_rates(self.daily.shown[:, :origin].sum(axis=1), self.past(origin).sum(axis=1))

    def weekdays(self, way: str, origin: int) -> Floats:
        """(7,) from the origin's weekday on: purchases of all series over what the way expects of their impressions, in
        the last four weeks; drawn to 1 by `PRIOR` purchases. What a run does not read (pay day, shelves filled on
        Mondays) shows here.
        """
        days = np.arange(max(self.daily.scored, origin - WINDOW), origin)
        bought = self.past(origin)[:, days].sum(axis=0)
        if way == RUN:
            expected = self.lift(origin) @ self.daily.expected[:, days]
        else:
            expected = self.past_rate(origin) @ self.daily.shown[:, days]
        weekday = (days - origin) % SEASON
        seen, said = (np.bincount(weekday, weights=of, minlength=SEASON) for of in (bought, expected))
        return np.asarray((seen + PRIOR) / (said + PRIOR))

    def impressions(self, origin: int, horizon: int) -> Floats:
        """(S, H) expected."""
        past = self.daily.shown[:, :origin]
        if self.traffic_model == "ets":
            return self._model("ets", "shown", origin, horizon)
        if self.traffic_model == "naive":
            return _same_day(past, horizon)
        weeks = min(WEEKS, origin // SEASON)
        by_weekday = past[:, origin - weeks * SEASON :].reshape(len(past), weeks, SEASON).mean(axis=1)
        return np.asarray(np.take(by_weekday, np.arange(horizon) % SEASON, axis=1))

    def _known(self, way: str, span: Span) -> Means:
        by_day = self.weekdays(way, span.start)[np.arange(len(span)) % SEASON]
        if way == RUN:
            expected = self.daily.expected[:, span.days] * by_day
            return Means(expected, np.maximum(expected - self.daily.squares[:, span.days] * by_day**2, 0.0))
        return _poisson(self.daily.shown[:, span.days] * self.past_rate(span.start)[:, None] * by_day)

    def _model(self, word: str, series: str, origin: int, horizon: int) -> Floats:
        key = (f"{word}/{series}", origin, horizon)
        if key not in self._kept:
            past = self.past(origin) if series == "bought" else self.daily.shown[:, :origin]
            self._kept[key] = by_model(word, past, horizon)
        return self._kept[key]


def by_model(word: str, past: Floats, horizon: int) -> Floats:
    """(S, H) means of a statsforecast model with a season of a week, fitted to each series' past; not below 0.

    CrostonSBA (Croston 1972, as Syntetos and Boylan 2005 mend it), AutoETS (Hyndman et al. 2008), AutoARIMA (Hyndman
    and Khandakar 2008).

    Raises:
        ConfigError: if statsforecast is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas as pd
            from statsforecast import StatsForecast, models
    except ModuleNotFoundError:
        raise ConfigError(f"{word} needs a package that is not installed: pip install 'funneltune[demand]'.") from None
    name = MODELS[word]
    made = models.CrostonSBA() if word == "croston" else getattr(models, name)(season_length=SEASON)
    n, days = past.shape
    frame = pd.DataFrame(
        {"unique_id": np.repeat(np.arange(n), days), "ds": np.tile(np.arange(days), n), "y": past.ravel()}
    )
    fallback = models.SeasonalNaive(season_length=SEASON)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = StatsForecast(models=[made], freq=1, n_jobs=1, fallback_model=fallback).forecast(df=frame, h=horizon)
    values = found.sort_values(["unique_id", "ds"])[name].to_numpy(dtype=np.float64).reshape(n, horizon)
    return np.asarray(np.maximum(np.nan_to_num(values), 0.0), dtype=np.float64)


def require_models(words: Sequence[str]) -> tuple[str, ...]:
    """The baselines that are named; none is no model beside last week's same day.

    Raises:
        ConfigError: if one is unknown.
    """
    named = tuple(word for word in words if word != "none")
    if unknown := [word for word in named if word not in MODELS]:
        raise ConfigError(f"baselines={unknown[0]} must be of {', '.join(MODELS)}, or none.")
    return named


def _drawn_rates(shown: Floats, bought: Floats) -> Floats:
    return smoothed_rates(shown, bought, float(shown.sum() / max(bought.sum(), 1.0)))


def _poisson(mean: Floats) -> Means:
    return Means(mean, mean)


def _same_day(past: Floats, horizon: int) -> Floats:
    return np.asarray(np.take(past[:, -SEASON:], np.arange(horizon) % SEASON, axis=1))
