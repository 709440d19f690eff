"""The embedded marketplace: a world whose truth is known, and the logs that policies leave in it. NumPy only."""

from funneltune.marketplace.judged import JudgedWorld
from funneltune.marketplace.log import simulate
from funneltune.marketplace.outcomes import Outcome
from funneltune.marketplace.policy import Mixture, Policy, arrivals
from funneltune.marketplace.world import Requests, State, World

__all__ = ["JudgedWorld", "Mixture", "Outcome", "Policy", "Requests", "State", "World", "arrivals", "simulate"]
