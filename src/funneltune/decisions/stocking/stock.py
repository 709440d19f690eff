"""Orders by a run's demand, and what ordering so would have cost on the held-out days.

Legend: S items, D held-out days, R draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.scorer import Scorer
from funneltune.decisions.stocking.ahead import (
    FORECAST,
    PAST_RATE,
    RUN,
    SAME_DAY,
    TRAFFIC,
    TRUTH,
    Forecaster,
    require_models,
)
from funneltune.decisions.stocking.counts import NONE, Spread
from funneltune.decisions.stocking.days import Daily, read_days
from funneltune.decisions.stocking.demand import spread_at, truth_of
from funneltune.decisions.stocking.policy import Replayed, Terms, replay, targets
from funneltune.decisions.stocking.shelves import Shelf, read_shelf, read_sold_out, sold_out_in_world
from funneltune.errors import ConfigError
from funneltune.marketplace.daily import Chances
from funneltune.metrics.forecasts import Parts, Range, difference, over_series

Floats = NDArray[np.float64]
DRAWS = 200
"""Of what shoppers want, from the world's truth."""
START = 28
"""Days whose mean sales tell what is on the shelf before the held-out days, for a lead time."""
IGNORE = "ignore"
OUTCOMES = ("cost", "fill rate", "lost", "held")


@dataclass(frozen=True)
class StockSettings:
    """When is ordered and by what.

    Args:
        holding_cost: Of a piece and a day on the shelf.
        shortage_cost: Of a piece wanted and not there: its margin, and what a disappointed shopper costs.
        service_level: Chance that the shelf lasts until the next order arrives; None: the critical ratio of the costs.
        lead_time: Days from order to arrival.
        review: Days between orders.
        traffic_model: How impressions are forecast: weekday, naive, ets.
        baselines: Of statsforecast: croston, ets, arima; or none.

    Raises:
        ConfigError: if a value is out of range.
    """

    holding_cost: float = 0.02
    shortage_cost: float = 1.0
    service_level: float | None = None
    lead_time: int = 7
    review: int = 7
    traffic_model: str = "weekday"
    baselines: tuple[str, ...] = ("croston",)

    def __post_init__(self) -> None:
        """Refuse what no shop has."""
        for name in ("holding_cost", "shortage_cost"):
            if not 0 < getattr(self, name) < np.inf:
                raise ConfigError(f"{name}={getattr(self, name):g} must be money, above 0.")
        if self.service_level is not None and not 0 < self.service_level < 1:
            raise ConfigError(f"service_level={self.service_level:g} must lie above 0 and below 1.")
        for name, least in (("lead_time", 0), ("review", 1)):
            if not least <= getattr(self, name) <= 365:
                raise ConfigError(f"{name}={getattr(self, name)} must lie in {least} .. 365 days.")
        if self.traffic_model not in TRAFFIC:
            raise ConfigError(f"traffic_model={self.traffic_model} must be one of {', '.join(TRAFFIC)}.")
        object.__setattr__(self, "baselines", require_models(self.baselines))


@dataclass(frozen=True)
class Stock:
    """All that the verb tells."""

    settings: StockSettings
    daily: Daily
    shelf: Shelf
    terms: Terms
    sold_out: NDArray[np.bool_] | None
    """(S, T) days without stock, where they are known."""
    expected: Floats
    """(S,) what the run expects over the days that an order of today must last for."""
    low: Floats
    high: Floats
    """(S,) their 90% interval."""
    target: Floats
    replayed: dict[str, Replayed]
    """Way to forecast -> what ordering by it came to."""
    days: int
    """Held-out days that are judged."""
    draws: int
    """Of what shoppers want, from the truth; 1: what the log sold."""

    @property
    def quantity(self) -> Floats:
        """(S,) to order today."""
        return np.maximum(self.target - self.shelf.on_hand - self.shelf.on_order, 0.0)

    @property
    def known(self) -> bool:
        """Whether demand is the world's truth, or what the log sold."""
        return TRUTH in self.replayed

    def measured(self, way: str, outcome: str) -> Range:
        """Of the whole shop (cost, lost and held: a day), with its 95% interval over items."""
        return self._scaled(over_series(self._parts(way, outcome)), outcome)

    def against(self, way: str, outcome: str) -> Range:
        """The run less another way, the same items drawn for both."""
        return self._scaled(difference(self._parts(RUN, outcome), self._parts(way, outcome)), outcome)

    def _parts(self, way: str, outcome: str) -> Parts:
        of = self.replayed[way]
        if outcome == "fill rate":
            return Parts(of.sold, of.wanted)
        told = {"cost": of.cost(self.terms), "lost": of.lost / of.days, "held": of.held / of.days}[outcome]
        return Parts(told, np.ones(len(told)))

    def _scaled(self, found: Range, outcome: str) -> Range:
        items = 1 if outcome == "fill rate" else len(self.daily.names)
        return Range(*(items * value for value in found))


def plan(
    scorer: Scorer, settings: StockSettings, on_hand: Path | None = None, sold_out: Path | str | None = None
) -> Stock:
    """Today's orders, and the held-out days replayed by each way to forecast.

    Args:
        scorer: The run.
        settings: When is ordered and by what.
        on_hand: A file of what is there (`read_shelf`); None: empty shelves.
        sold_out: A file of days without stock (`read_sold_out`); ignore: sales are taken to be what was wanted; None:
            the marketplace's records on its logs, on others as ignore.

    Raises:
        ConfigError: if the run or its log cannot be used, or no order would arrive within the held-out days.
        DataError: if a file cannot be read.
    """
    daily = read_days(scorer)
    days = len(daily.test)
    if settings.lead_time >= days:
        raise ConfigError(
            f"lead_time={settings.lead_time}: an order of the first of the {days} whole held-out days comes after the "
            "last; lower lead_time, or train with a larger data.split.test."
        )
    shelf = read_shelf(on_hand, daily.names, settings.holding_cost, settings.shortage_cost)
    truth = truth_of(scorer, daily.request)
    empty = _sold_out(daily, truth, sold_out)
    terms = Terms(settings.review, settings.lead_time, shelf.holding_cost, shelf.shortage_cost, settings.service_level)
    made = Forecaster(daily, settings.traffic_model, empty)
    spread = spread_at(made, RUN, FORECAST)
    means = made.of(RUN, FORECAST, daily.days, terms.protected)
    mean, base = means.mean.sum(axis=1), means.base.sum(axis=1)
    low, high, target = (spread.quantile(at, mean, base, terms.protected) for at in (0.05, 0.95, terms.ratio))
    wanted, draws = _wanted(daily, truth)
    start = np.ceil(made.past(daily.test.start)[:, -START:].mean(axis=1) * settings.lead_time)
    nothing = np.zeros(len(start))
    ways = (RUN, PAST_RATE, SAME_DAY, *settings.baselines)
    spreads = {way: spread if way == RUN else spread_at(made, way, FORECAST) for way in ways}
    replayed = {
        way: replay(wanted, targets(days, terms, _target_of(made, way, spreads[way], terms)), terms, start, nothing)
        for way in ways
    }
    if truth is not None:
        by_truth = targets(days, terms, _true_target(daily, truth, terms))
        replayed[TRUTH] = replay(wanted, by_truth, terms, start, nothing)
    return Stock(
        settings, daily, shelf, terms, empty, mean, low, high, target, replayed, days - settings.lead_time, draws
    )


def _sold_out(daily: Daily, truth: Chances | None, told: Path | str | None) -> NDArray[np.bool_] | None:
    if told == IGNORE or (told is None and truth is None):
        return None
    if told is None and truth is not None:
        return sold_out_in_world(daily, truth)
    return read_sold_out(Path(str(told)), daily)


def _target_of(made: Forecaster, way: str, spread: Spread, terms: Terms) -> Callable[[int], Floats]:
    """Day of the held-out days -> (S,) what its order fills up to, forecast from the log before it."""

    def target(day: int) -> Floats:
        means = made.of(way, FORECAST, made.daily.test.start + day, terms.protected)
        return spread.quantile(terms.ratio, means.mean.sum(axis=1), means.base.sum(axis=1), terms.protected)

    return target


def _true_target(daily: Daily, truth: Chances, terms: Terms) -> Callable[[int], Floats]:
    """The same by the true chances of the days' own impressions; days behind the log's end are as its mean day."""
    mean, squares = (daily.summed(truth, of, daily.test) for of in (truth.wanted, truth.wanted**2))

    def target(day: int) -> Floats:
        days = slice(day, min(day + terms.protected, mean.shape[1]))
        beyond = terms.protected - (days.stop - day)
        total = mean[:, days].sum(axis=1) + beyond * mean.mean(axis=1)
        base = total - squares[:, days].sum(axis=1) - beyond * squares.mean(axis=1)
        return NONE.quantile(terms.ratio, total, base, terms.protected)

    return target


def _wanted(daily: Daily, truth: Chances | None) -> tuple[Floats, int]:
    """(R, S, D) pieces wanted on the held-out days: drawn from the truth with full shelves, else what the log sold."""
    if truth is None:
        return daily.bought[None, :, daily.test.days], 1
    rng = np.random.default_rng(0)
    drawn = [
        daily.summed(truth, (rng.random(len(truth.wanted)) < truth.wanted).astype(np.float64), daily.test)
        for _ in range(DRAWS)
    ]
    return np.stack(drawn), DRAWS
