"""Purchases per item and day, predicted by a run and by forecasting, held against the days that were held out.

Legend: S series, D held-out days.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.scorer import Scorer
from funneltune.decisions.stocking.ahead import (
    FORECAST,
    KNOWN,
    PAST_RATE,
    RUN,
    SAME_DAY,
    TRAFFIC,
    TRUTH,
    Forecaster,
    Means,
    require_models,
)
from funneltune.decisions.stocking.counts import NONE, Spread, spread_of
from funneltune.decisions.stocking.days import ITEM, Daily, Span, read_days
from funneltune.errors import ConfigError
from funneltune.marketplace import world_of
from funneltune.marketplace.daily import Chances, chances_of
from funneltune.metrics.forecasts import (
    Parts,
    Range,
    bias,
    coverage,
    difference,
    mase,
    over_series,
    pinball,
    rmsse,
    wape,
)

Floats = NDArray[np.float64]
MEASURES = ("bias", "wape", "mase", "rmsse", "pinball", "coverage")
COMPARED = ("wape", "mase", "rmsse", "pinball")
"""Of which less is better."""


@dataclass(frozen=True)
class DemandSettings:
    """What is forecast, how far and how surely.

    Args:
        by: item, or a column of the items: category, brand, seller.
        days: Held-out days that are judged, at most; and days ahead of the log that are forecast.
        level: Of the intervals.
        traffic: Whose forecasts are written: with the days' impressions `known`, or `forecast`.
        traffic_model: How impressions are forecast: weekday, naive, ets.
        baselines: Of statsforecast: croston, ets, arima; or none.

    Raises:
        ConfigError: if a value is out of range.
    """

    by: str = ITEM
    days: int = 14
    level: float = 0.9
    traffic: str = FORECAST
    traffic_model: str = "weekday"
    baselines: tuple[str, ...] = ("croston", "ets")

    def __post_init__(self) -> None:
        """Refuse what no forecast has."""
        if not 1 <= self.days <= 365:
            raise ConfigError(f"days={self.days} must lie in 1 .. 365.")
        if not 0.5 <= self.level < 1:
            raise ConfigError(f"level={self.level:g} must lie in [0.5, 1).")
        for name, known in (("traffic", (KNOWN, FORECAST)), ("traffic_model", TRAFFIC)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)} must be one of {', '.join(known)}.")
        object.__setattr__(self, "baselines", require_models(self.baselines))

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """(way, traffic) of all that is held against one another, without the truth."""
        own = tuple((way, traffic) for traffic in (FORECAST, KNOWN) for way in (RUN, PAST_RATE))
        return (*own, (SAME_DAY, ""), *((word, "") for word in self.baselines))


@dataclass(frozen=True)
class Forecast:
    """One way's word on the held-out days."""

    means: Means
    spread: Spread
    quantiles: Floats
    """(levels, S, D), the levels those of `Demand.levels`."""

    @property
    def low(self) -> Floats:
        """(S, D)."""
        return np.asarray(self.quantiles[0])

    @property
    def high(self) -> Floats:
        """(S, D)."""
        return np.asarray(self.quantiles[-1])


@dataclass(frozen=True)
class Demand:
    """All that the verb tells."""

    settings: DemandSettings
    daily: Daily
    span: Span
    """The held-out days that are judged."""
    forecasts: dict[str, Forecast]
    """Way (see `label`) -> its word."""
    ahead: Forecast
    """The run's, of the days after the log's last."""
    sold_out: float
    """Share of what shoppers wanted on these days that the log could not sell; NaN where no one knows."""

    @property
    def own(self) -> str:
        """The run's way that is written and judged."""
        return label(RUN, self.settings.traffic)

    @property
    def actual(self) -> Floats:
        """(S, D) what was bought."""
        return self.daily.bought[:, self.span.days]

    @cached_property
    def measures(self) -> dict[str, dict[str, Parts]]:
        """Way -> measure -> its parts."""
        past, levels = self.daily.bought[:, : self.span.start], quantile_levels(self.settings.level)
        return {
            way: {
                "bias": bias(self.actual, one.means.mean),
                "wape": wape(self.actual, one.means.mean),
                "mase": mase(self.actual, one.means.mean, past),
                "rmsse": rmsse(self.actual, one.means.mean, past),
                "pinball": pinball(self.actual, one.quantiles, levels),
                "coverage": coverage(self.actual, one.low, one.high),
            }
            for way, one in self.forecasts.items()
        }

    @property
    def rivals(self) -> list[str]:
        """The ways that know as little, or as much, of the held-out days as the run's that is judged."""
        other = ({KNOWN, FORECAST} - {self.settings.traffic}).pop()
        return [way for way in self.forecasts if not way.startswith((RUN, TRUTH)) and way != label(PAST_RATE, other)]

    def measured(self, way: str, measure: str) -> Range:
        """With its 95% interval over series."""
        return over_series(self.measures[way][measure])

    def against(self, way: str, measure: str) -> Range:
        """The run less another way, the same series drawn for both."""
        return difference(self.measures[self.own][measure], self.measures[way][measure])


def label(way: str, traffic: str) -> str:
    """How tables call a way."""
    return f"{way}, {traffic} traffic" if traffic else way


def quantile_levels(level: float) -> Floats:
    """The interval's ends, the quartiles and the median: what pinball loss is the mean of."""
    return np.array([(1 - level) / 2, 0.25, 0.5, 0.75, (1 + level) / 2])


def forecast_demand(scorer: Scorer, settings: DemandSettings) -> Demand:
    """Forecast the held-out days by every way from the day before the first, spreads as validation days tell.

    Raises:
        ConfigError: if the run or its log cannot be used (`read_days`), or a baseline's package is missing.
    """
    daily = read_days(scorer, settings.by)
    made = Forecaster(daily, settings.traffic_model)
    span = Span(daily.test.start, min(daily.test.stop, daily.test.start + settings.days))
    forecasts = {
        label(way, traffic): _forecast(
            made.of(way, traffic, span.start, len(span)), spread_at(made, way, traffic), settings.level
        )
        for way, traffic in settings.ways
    }
    ahead = _forecast(made.of(RUN, FORECAST, daily.days, settings.days), spread_at(made, RUN, FORECAST), settings.level)
    truth = truth_of(scorer, daily.requests(daily.test))
    if truth is None:
        return Demand(settings, daily, span, forecasts, ahead, float("nan"))
    sold, wanted = (daily.summed(truth, values, daily.test)[:, : len(span)] for values in (truth.sold, truth.wanted))
    squares = daily.summed(truth, truth.sold**2, daily.test)[:, : len(span)]
    forecasts[label(TRUTH, KNOWN)] = _forecast(Means(sold, sold - squares), NONE, settings.level)
    return Demand(settings, daily, span, forecasts, ahead, 1 - float(sold.sum() / wanted.sum()))


def spread_at(made: Forecaster, way: str, traffic: str) -> Spread:
    """How far a way's forecasts of the validation days were off, made the day before the first of them."""
    span = made.daily.validation
    means = made.of(way, traffic, span.start, len(span))
    there = None if made.sold_out is None else ~made.sold_out[:, span.days]
    return spread_of(made.past(span.stop)[:, span.days], means.mean, means.base, there)


def truth_of(scorer: Scorer, requests: NDArray[np.int64]) -> Chances | None:
    """What the world says of some of the log's requests; None where no one knows."""
    try:
        world_of(scorer.folder)
    except ConfigError:
        return None
    return chances_of(scorer.folder, requests)


def _forecast(means: Means, spread: Spread, level: float) -> Forecast:
    quantiles = np.stack([spread.quantile(one, means.mean, means.base) for one in quantile_levels(level)])
    return Forecast(means, spread, quantiles)
