"""The embedded marketplace: a world whose truth is known, and the logs that policies leave in it. NumPy only."""

from funneltune.marketplace.judged import JudgedWorld
from funneltune.marketplace.log import Step, simulate, walk
from funneltune.marketplace.outcomes import Outcome
from funneltune.marketplace.policy import Mixture, Policy, arrivals
from funneltune.marketplace.sessions import Sessions, SessionWorld
from funneltune.marketplace.world import Requests, State, World
from funneltune.marketplace.worlds import WorldRequests, policy_of, world_of, world_requests

__all__ = [
    "JudgedWorld",
    "Mixture",
    "Outcome",
    "Policy",
    "Requests",
    "SessionWorld",
    "Sessions",
    "State",
    "Step",
    "World",
    "WorldRequests",
    "arrivals",
    "policy_of",
    "simulate",
    "walk",
    "world_of",
    "world_requests",
]
