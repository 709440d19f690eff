"""Recommendation re-optimised while the world moves: bandits and further training against the run as it is."""

from funneltune.decisions.online.bayes import BayesianLogistic
from funneltune.decisions.online.compare import POLICIES, Compared, compare, policies_of
from funneltune.decisions.online.incremental import Incremental
from funneltune.decisions.online.policies import AtRandom, LastLayer, Policy, Static
from funneltune.decisions.online.shop import Shop
from funneltune.decisions.online.stream import Arrivals, Gained, Market, Page

__all__ = [
    "Arrivals",
    "AtRandom",
    "BayesianLogistic",
    "Compared",
    "Gained",
    "Incremental",
    "LastLayer",
    "Market",
    "POLICIES",
    "Page",
    "Policy",
    "Shop",
    "Static",
    "compare",
    "policies_of",
]
