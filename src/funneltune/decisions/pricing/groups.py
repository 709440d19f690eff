"""For whom the price matters: elasticities by groups of shoppers.

Legend: n impressions, G prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from funneltune.decisions.pricing.curve import Curve, elasticity, ends, means, resampled
from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.requests import READERS, read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError


class Group(NamedTuple):
    """Shoppers of one name."""

    name: str
    impressions: int
    purchase: float
    """Per impression, at the price now."""
    elasticity: float
    ends: tuple[float, float]
    """Its 95% interval; NaN of a single shopper."""
    truth: float | None = None
    """Of the same impressions, where the log is the marketplace's."""


def groups_of(scorer: Scorer, personas: str) -> dict[str, str]:
    """Shopper -> group, by a file with columns user, group or by a column of the log's shoppers.

    Raises:
        DataError: if the file lacks a column.
        ConfigError: if the shoppers have no such column.
    """
    if Path(personas).suffix in READERS:
        frame = read_frame(Path(personas), "personas")
        if missing := [name for name in ("user", "group") if name not in frame]:
            raise DataError(f"personas={personas}: column {missing[0]!r} is missing; it needs user and group.")
        return dict(zip(frame["user"].astype(str), frame["group"].astype(str), strict=True))
    table = scorer.assembly.data.store.table("users")
    name = personas.removeprefix("user.")
    if name not in table.column_names or name == "key":
        told = ", ".join(column for column in table.column_names if column != "key")
        raise ConfigError(
            f"personas={personas} is no column of the log's shoppers; they have {told or 'none'}, or name a file with "
            "columns user, group (.csv)."
        )
    return dict(zip(map(str, table.column("key").to_pylist()), map(str, table.column(name).to_pylist()), strict=True))


def grouped(curves: Sequence[Curve], group_of: Mapping[str, str], error: float, settings: Settings) -> list[Group]:
    """Elasticity of each group's demand for all of the items together; `error`: of the correction.

    A shopper whose group no one tells is in `none`. No group at all: an empty list.
    """
    if not group_of:
        return []
    users = np.array([user for curve in curves for user in curve.users])
    purchase = np.concatenate([curve.purchase for curve in curves])
    truths = [curve.truth.purchase for curve in curves if curve.truth is not None]
    truth = np.concatenate(truths) if truths else None
    fitted, x = np.all([curve.fitted for curve in curves], axis=0), curves[0].x
    fitted = fitted if fitted.sum() > 1 else np.ones(len(x), bool)
    groups = np.array([group_of.get(user, "none") for user in users])
    moved = error * np.random.default_rng(settings.seed).standard_normal(settings.draws)
    found = []
    for name in sorted(set(groups.tolist())):
        mine = groups == name
        shopper = np.unique(users[mine], return_inverse=True)[1]
        reach = (float("nan"), float("nan"))
        if shopper.max() > 0:
            draws = means(purchase[mine], resampled(shopper, settings.draws, settings.seed))
            reach = ends(elasticity(x[fitted], draws[:, fitted]) + moved)
        mean = purchase[mine].mean(axis=0)
        now = float(mean[int(np.argmin(np.abs(x)))])
        value = float(elasticity(x[fitted], mean[fitted]))
        known = None if truth is None else float(elasticity(x[fitted], truth[mine].mean(axis=0)[fitted]))
        found.append(Group(name, int(mine.sum()), now, value, reach, known))
    return found
