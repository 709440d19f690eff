"""Back from a run on a simulated log to the world behind it: what any other page would have brought its shoppers.

Legend: n requests, pages of k items; arrays without a comment are (n, k).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.log import walk
from funneltune.marketplace.outcomes import Floats, Outcome
from funneltune.marketplace.policy import Mixture
from funneltune.marketplace.world import Requests, State, World
from funneltune.records import RECORD_NAME, RunRecord

Integers = NDArray[np.int64]
Source = Path | str | Mapping[str, Any]
"""A run's folder (or its record), or the `data.source` of a config."""


def world_of(source: Source) -> World:
    """The world that a simulated log comes from; its items, queries and shoppers are numbered as the log's are.

    Raises:
        ConfigError: if the log was not drawn from the marketplace, so that no one knows its truth.
        RunError: if the folder holds no record.
    """
    knobs = _knobs(source)
    return World(**{name: value for name, value in knobs.items() if name in inspect.signature(World).parameters})


def differing(one: Source, other: Source) -> dict[str, tuple[Any, Any]]:
    """What tells the worlds of two logs apart: knob -> both values; empty where it is one world.

    Logs of one world may differ in length and in the policy that showed their pages. Raises as `world_of` does.
    """
    defaults = {name: knob.default for name, knob in inspect.signature(World).parameters.items()}
    first, second = ({**defaults, **_knobs(source)} for source in (one, other))
    for knobs in (first, second):
        knobs["domains"] = tuple(knobs["domains"])
    return {name: (first[name], second[name]) for name in defaults if first[name] != second[name]}


def policy_of(source: Source) -> Mixture:
    """The policy that showed the log's pages. Raises as `world_of` does."""
    knobs = _knobs(source)
    return Mixture(**{name: knobs[name] for name in ("fitting", "popular") if name in knobs})


@dataclass(frozen=True)
class WorldRequests:
    """n requests of a log, each with the state of the world (stock, budgets) that it met there."""

    world: World
    request: Requests
    """`request.number` is the log's `request` column."""
    shown: Integers
    """The items of the log's pages."""
    prices: Floats
    states: tuple[State, ...]
    state: Integers
    """(n,): the place of each request's state in `states`."""

    def __len__(self) -> int:
        """N."""
        return len(self.request)

    def among(self, numbers: NDArray[Any]) -> WorldRequests:
        """Some of them, by their numbers in the log, in the order asked for.

        Raises:
            ConfigError: if the log has no such request.
        """
        place = np.searchsorted(self.request.number, numbers)
        held = np.minimum(place, len(self) - 1)
        if len(missing := np.asarray(numbers)[self.request.number[held] != numbers]):
            raise ConfigError(f"requests: the log has no request {missing[0]}; its last is {self.request.number[-1]}.")
        return WorldRequests(
            self.world,
            Requests(**{field.name: getattr(self.request, field.name)[held] for field in fields(Requests)}),
            self.shown[held],
            self.prices[held],
            self.states,
            self.state[held],
        )

    @cached_property
    def on_sale(self) -> NDArray[np.bool_]:
        """(n, items): what was launched by the time of each request."""
        return np.asarray(self.world.catalogue.launched <= self.request.day[:, None])

    def outcomes(self, pages: Integers, prices: Floats | None = None) -> Outcome:
        """The truth of other pages, of any width, for the same shoppers in the same states, and a draw from it.

        `prices`: as asked; None: the world's own of that day. Each request is judged alone: what an earlier page of
        these would have sold is not taken from a later one's shelves.
        """
        if prices is None:
            prices = self.world.prices(pages, self.request.day)
        parts: list[tuple[Integers, Outcome]] = []
        for number in np.unique(self.state):
            rows = np.flatnonzero(self.state == number)
            request = Requests(**{field.name: getattr(self.request, field.name)[rows] for field in fields(Requests)})
            parts.append((rows, self.world.step(self.states[number], request, pages[rows], prices[rows])[0]))
        back = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
        whole: dict[str, Any] = {}
        for field in fields(Outcome):
            values = [getattr(outcome, field.name) for _, outcome in parts]
            whole[field.name] = None if values[0] is None else np.concatenate(values)[back]
        return Outcome(**whole)

    def appeal(self, items: Integers) -> tuple[Floats, Floats]:
        """p(click | looked at) and p(purchase | click) of (n, candidates) items, wherever they would stand: what the
        oracle ranks by. It knows each shopper's private need too, so no model can reach its order.
        """
        found = self.outcomes(items)
        return np.asarray(found.p_click / np.maximum(found.p_examine, 1e-12)), found.p_purchase_given_click


def world_requests(source: Source, numbers: NDArray[Any] | None = None) -> WorldRequests:
    """The requests of a simulated log, played again from its config; `numbers`: only these, in this order.

    Raises:
        ConfigError: if the log was not drawn from the marketplace, or has no such request.
    """
    world = world_of(source)
    steps = list(walk(world, policy_of(source), int(_knobs(source).get("impressions", 50_000))))
    of_all = {
        field.name: np.concatenate([getattr(step.request, field.name) for step in steps]) for field in fields(Requests)
    }
    found = WorldRequests(
        world,
        Requests(**of_all),
        np.concatenate([step.ranking for step in steps]),
        np.concatenate([step.prices for step in steps]),
        tuple(step.state for step in steps),
        np.repeat(np.arange(len(steps)), [len(step.request) for step in steps]),
    )
    return found if numbers is None else found.among(numbers)


def _knobs(source: Source) -> dict[str, Any]:
    """The arguments of `data.Simulated`, as a config or a run's record has them."""
    if isinstance(source, Mapping):
        named, knobs = "data.source", dict(source)
    else:
        path = Path(source)
        record = RunRecord.read(path / RECORD_NAME if path.is_dir() or not path.suffix else path)
        named, knobs = f"run={source}", dict((record.config.get("data") or {}).get("source") or {})
    target = str(knobs.pop("_target_", ""))
    if target.rpartition(".")[2] != "Simulated":
        raise ConfigError(
            f"{named} has the log of data.source._target_={target or 'none'}, whose truth no one knows; "
            "only a log of the marketplace (data=simulated) can be played again."
        )
    return knobs
