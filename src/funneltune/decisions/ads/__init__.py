"""Sponsored places: bids, predicted chances, second prices, reserves and budgets."""

from funneltune.decisions.ads.auction import PAYMENTS, Sold, auction
from funneltune.decisions.ads.campaign import Played, Request, Rules, play
from funneltune.decisions.ads.market import Market, read_market, simulated_market
from funneltune.decisions.ads.study import Settings, best_reserve, mean_conversion, sell

__all__ = [
    "PAYMENTS",
    "Market",
    "Played",
    "Request",
    "Rules",
    "Settings",
    "Sold",
    "auction",
    "best_reserve",
    "mean_conversion",
    "play",
    "read_market",
    "sell",
    "simulated_market",
]
