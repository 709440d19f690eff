"""From a run's folder and settings to a record of what learning on was worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from funneltune.decisions.online.compare import compare, policies_of
from funneltune.decisions.online.measures import difference, over_seeds
from funneltune.decisions.online.record import Number, measured, write
from funneltune.decisions.online.sessions import GOALS, MEASURES, compare_sessions
from funneltune.decisions.online.shop import Shop
from funneltune.decisions.online.stream import Floats
from funneltune.errors import ConfigError
from funneltune.marketplace import SessionWorld
from funneltune.records import DecisionRecord

SESSION_PAGE = 5
"""Places of a page of a session: a shopper pages on sooner on a phone."""


def study(
    run: Path, output: Path, settings: Mapping[str, Any], tell: Callable[[str], None] = lambda _: None
) -> DecisionRecord:
    """Compare the policies, and where `sessions` says so whole sessions; the record, which is also written.

    Args:
        run: The run's folder.
        output: A new folder.
        settings: By the words of `funneltune online`.
        tell: Is told how far it is.

    Raises:
        ConfigError: if a setting is out of range, or the log is not the marketplace's.
        RunError: if it is no finished run.
    """
    if settings["sessions"] < 0:
        raise ConfigError(f"sessions={settings['sessions']} must be >= 2, or 0: none.")
    shop = Shop.of_run(run, settings["taste_shift"], settings["candidates"], settings["components"])
    incremental = {name: settings[name] for name in ("rate", "steps", "replay")}
    bandits = {name: settings[name] for name in ("spread", "half_life", "epsilon")}
    made = policies_of(run, shop, settings["policies"], incremental=incremental, **bandits)
    plan = {name: settings[name] for name in ("requests", "seeds", "page", "every")}
    compared = compare(shop, made, **plan, tell=tell)
    found, tables = measured(compared, settings["window"]), {}
    if settings["sessions"]:
        by_session = compare_sessions(
            shop,
            SessionWorld(shop.world),
            sessions=settings["sessions"],
            seeds=settings["seeds"],
            page=SESSION_PAGE,
            tell=tell,
        )
        of_sessions = session_numbers(by_session)
        found |= of_sessions
        gains = tuple(f"{goal}_gain" for goal in GOALS)
        tables["sessions"] = session_table(of_sessions, list(by_session), MEASURES)
        tables["session_gains"] = session_table(of_sessions, list(by_session), gains)
    settings = {**settings, "calibration": shop.scorer.calibration}
    return write(output, run, compared, settings, found, notes(shop, compared.shift), tables)


def session_numbers(by_session: Mapping[str, Mapping[str, Floats]]) -> dict[str, Number]:
    """`session/policy/measure`, and what each policy has of each goal beyond the rule that is greedy for it."""
    found: dict[str, Number] = {}
    for name, of in by_session.items():
        for measure in MEASURES:
            found[f"session/{name}/{measure}"] = _number(over_seeds(of[measure]), "per session")
        for goal, greedy in GOALS.items():
            if name != greedy:
                gain = difference(of[goal], by_session[greedy][goal])
                found[f"session/{name}/{goal}_gain"] = _number(gain, f"{goal} per session beyond {greedy}'s, paired")
    return found


def session_table(found: Mapping[str, Number], policies: list[str], columns: Sequence[str]) -> dict[str, list[Any]]:
    """A row per policy."""
    rows = [[name, *(found.get(f"session/{name}/{c}", {}).get("value") for c in columns)] for name in policies]
    return {"columns": ["policy", *columns], "rows": rows}


def notes(shop: Shop, shift: int) -> list[str]:
    """What a reader must know."""
    source: Any = OmegaConf.to_container(shop.scorer.assembly.cfg.data.source, resolve=True)
    told = [
        "The oracle ranks by the truth of each request, private needs included, which no model can know.",
        f"Tastes move by {shop.world.taste_shift:g} at request {shift} of each seed.",
    ]
    if source.get("taste_shift"):
        told.append(
            f"The run's own log has taste_shift={source['taste_shift']:g}: the run has met some of the new tastes, and "
            "its old ones are a mixture."
        )
    if not np.isclose(shop.world.taste_weight, 1.0):
        told.append(f"Tastes weigh {shop.world.taste_weight:g} times what they do by default.")
    return told


def _number(interval: Any, protocol: str) -> Number:
    return {"value": interval.estimate, "low": interval.low, "high": interval.high, "protocol": protocol}
