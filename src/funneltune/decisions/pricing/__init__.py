"""What a price does to demand, and the price that brings most: curves, elasticities, causes, bounds."""

from funneltune.decisions.pricing.asked import Wanted, wanted
from funneltune.decisions.pricing.causal import Effect, Estimate, Rows, double_ml, naive, rows_of
from funneltune.decisions.pricing.curve import Curve, arc_elasticity, elasticity
from funneltune.decisions.pricing.optimum import Best, best
from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.pricing.study import Priced, Study, price_items
from funneltune.decisions.pricing.support import LoggedPrices, Support

__all__ = [
    "Best",
    "Curve",
    "Effect",
    "Estimate",
    "LoggedPrices",
    "Priced",
    "Rows",
    "Settings",
    "Study",
    "Support",
    "Wanted",
    "arc_elasticity",
    "best",
    "double_ml",
    "elasticity",
    "naive",
    "rows_of",
    "price_items",
    "wanted",
]
