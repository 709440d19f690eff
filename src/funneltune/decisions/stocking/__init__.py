"""How much is bought of each item, and how much to order of it."""

from funneltune.decisions.stocking.ahead import Forecaster
from funneltune.decisions.stocking.counts import Spread, quantile, spread_of
from funneltune.decisions.stocking.days import Daily, read_days
from funneltune.decisions.stocking.demand import Demand, DemandSettings, forecast_demand
from funneltune.decisions.stocking.policy import Replayed, Terms, replay, targets
from funneltune.decisions.stocking.shelves import Shelf, read_shelf, read_sold_out
from funneltune.decisions.stocking.stock import Stock, StockSettings, plan

__all__ = [
    "Daily",
    "Demand",
    "DemandSettings",
    "Forecaster",
    "Replayed",
    "Shelf",
    "Spread",
    "Stock",
    "StockSettings",
    "Terms",
    "forecast_demand",
    "plan",
    "quantile",
    "read_days",
    "read_shelf",
    "read_sold_out",
    "replay",
    "spread_of",
    "targets",
]
