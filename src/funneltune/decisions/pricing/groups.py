"""For whom the price matters: elasticities by groups of shoppers.

Legend: n impressions, G prices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from funneltune.decisions.pricing.curve import Curve, elasticity, ends, means, resampled
from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.requests import READERS, read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError
from funneltune.metrics import holm

Floats = NDArray[np.float64]


class Group(NamedTuple):
    """Shoppers of one name."""

    name: str
    impressions: int
    purchase: float
    """Per impression, at the price now."""
    elasticity: float
    ends: tuple[float, float]
    """Its 95% interval; NaN of a single shopper."""
    apart: float
    """Its elasticity less that of all other shoppers; NaN without others."""
    apart_ends: tuple[float, float]
    p_holm: float
    """Of no difference, by the bootstrap's standard error, adjusted for all of the groups (Holm 1979)."""
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
    """Elasticity of each group's demand for all of the items together; `error`: of the correction, which moves groups
    alike and so drops out of what sets them apart.

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

    def told(rows: NDArray[np.bool_], seed: int) -> tuple[float, Floats]:
        """The elasticity of some impressions, and its draws; NaN of a single shopper's."""
        value = float(elasticity(x[fitted], purchase[rows].mean(axis=0)[fitted]))
        shopper = np.unique(users[rows], return_inverse=True)[1]
        if shopper.max() == 0:
            return value, np.full(settings.draws, np.nan)
        draws = means(purchase[rows], resampled(shopper, settings.draws, seed))
        return value, elasticity(x[fitted], draws[:, fitted])

    found = []
    for name in sorted(set(groups.tolist())):
        mine = groups == name
        value, draws = told(mine, settings.seed)
        others, theirs = told(~mine, settings.seed + 1) if not mine.all() else (math.nan, np.full_like(draws, np.nan))
        error_apart = float((draws - theirs).std(ddof=1))
        z = abs(value - others) / error_apart if error_apart > 0 else math.nan
        now = float(purchase[mine, int(np.argmin(np.abs(x)))].mean())
        known = None if truth is None else float(elasticity(x[fitted], truth[mine].mean(axis=0)[fitted]))
        found.append(
            Group(
                name=name,
                impressions=int(mine.sum()),
                purchase=now,
                elasticity=value,
                ends=ends(draws + moved),
                apart=value - others,
                apart_ends=ends(draws - theirs),
                p_holm=2 * float(special.ndtr(-z)),
                truth=known,
            )
        )
    adjusted = holm([group.p_holm for group in found])
    return [group._replace(p_holm=float(p)) for group, p in zip(found, adjusted, strict=True)]
