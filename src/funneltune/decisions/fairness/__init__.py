"""Who is shown, predicted and served how well, by seller, brand, price or shopper; what narrows it, what it costs."""

from funneltune.decisions.fairness.audit import Audited, audit
from funneltune.decisions.fairness.groups import Groups, grouped, groups_of
from funneltune.decisions.fairness.mitigate import (
    Change,
    Costs,
    Mitigated,
    Point,
    calibrated,
    controlled,
    exposed,
    fitted,
)
from funneltune.decisions.fairness.rows import Collected, Rows, Truth, collect
from funneltune.decisions.fairness.settings import Settings
from funneltune.decisions.fairness.study import Fairness, fairness

__all__ = [
    "Audited",
    "Change",
    "Collected",
    "Costs",
    "Fairness",
    "Groups",
    "Mitigated",
    "Point",
    "Rows",
    "Settings",
    "Truth",
    "audit",
    "calibrated",
    "collect",
    "controlled",
    "exposed",
    "fairness",
    "fitted",
    "grouped",
    "groups_of",
]
