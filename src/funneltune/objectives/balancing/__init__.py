"""How the tasks' losses, or their gradients, become one."""

from funneltune.objectives.balancing.aggregation import AGGREGATORS, Aggregation
from funneltune.objectives.balancing.base import Balancing, Fixed
from funneltune.objectives.balancing.dwa import DWA
from funneltune.objectives.balancing.gradnorm import GradNorm
from funneltune.objectives.balancing.uncertainty import Uncertainty

__all__ = ["AGGREGATORS", "DWA", "Aggregation", "Balancing", "Fixed", "GradNorm", "Uncertainty"]
