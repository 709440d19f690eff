"""How much to order: the newsvendor's quantile, ordered up to at every review, and what it costs.

Legend: S items, D days, R draws of what shoppers want.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """When is ordered, and what a piece too many or too few costs; (S,) where items differ.

    Args:
        review: Days from one order to the next.
        lead_time: Days from an order to its arrival, at the start of a day; 0: at once.
        holding_cost: Of a piece that is left on the shelf at a day's end.
        shortage_cost: Of a piece that is wanted and not there; its sale is lost.
        service_level: Chance that the shelf lasts until the next arrival; None: what the costs say.
    """

    review: int
    lead_time: int
    holding_cost: Floats
    shortage_cost: Floats
    service_level: float | None = None

    @property
    def protected(self) -> int:
        """Days that an order must last for: until the next one arrives."""
        return self.lead_time + self.review

    @property
    def ratio(self) -> Floats:
        """(S,) the critical ratio Cu / (Cu + Co) (Arrow, Harris and Marschak 1951): a piece short costs Cu, one too
        many is held for a review's days, Co.
        """
        if self.service_level is not None:
            return np.full(len(self.holding_cost), self.service_level)
        return np.asarray(self.shortage_cost / (self.shortage_cost + self.holding_cost * self.review))


@dataclass(frozen=True)
class Replayed:
    """What a policy came to on the judged days; arrays are (S,), means over draws."""

    wanted: Floats
    sold: Floats
    lost: Floats
    held: Floats
    """Pieces on the shelf at days' ends, summed over days."""
    ordered: Floats
    days: int

    def cost(self, terms: Terms) -> Floats:
        """(S,) a day."""
        return (terms.holding_cost * self.held + terms.shortage_cost * self.lost) / self.days


def replay(demand: Floats, target: Mapping[int, Floats], terms: Terms, on_hand: Floats, on_order: Floats) -> Replayed:
    """The (R, S) policy day by day: at each review order up to that day's target, sell what is there, lose the rest.

    Days before the first order's arrival are played and not judged: no order could change them.

    Args:
        demand: (R, S, D) pieces wanted.
        target: Review day -> (S,) what is on the shelf and ordered afterwards, at least.
        terms: Lead time and review.
        on_hand: (S,) on the shelf before the first day.
        on_order: (S,) arrives on the day that an order of day 0 would.
    """
    draws, items, days = demand.shape
    shelf = np.broadcast_to(on_hand, (draws, items)).astype(np.float64)
    coming: dict[int, Floats] = {terms.lead_time: np.broadcast_to(on_order, (draws, items)).astype(np.float64)}
    lost, held, wanted, ordered = (np.zeros(items) for _ in range(4))
    for day in range(days):
        if day in target:
            position = shelf + sum(coming.values(), np.zeros((draws, items)))
            order = np.maximum(target[day] - position, 0.0)
            arrival = day + terms.lead_time
            coming[arrival] = coming.get(arrival, np.zeros((draws, items))) + order
            ordered += order.mean(axis=0)
        shelf = shelf + coming.pop(day, 0.0)
        short = np.maximum(demand[:, :, day] - shelf, 0.0)
        shelf = np.maximum(shelf - demand[:, :, day], 0.0)
        if day >= terms.lead_time:
            lost += short.mean(axis=0)
            held += shelf.mean(axis=0)
            wanted += demand[:, :, day].mean(axis=0)
    return Replayed(wanted, wanted - lost, lost, held, ordered, max(days - terms.lead_time, 1))


def targets(days: int, terms: Terms, target_of: Callable[[int], Floats]) -> dict[int, Floats]:
    """Review day -> target, for the reviews whose order arrives within the days."""
    return {day: target_of(day) for day in range(0, days, terms.review) if day + terms.lead_time < days}
