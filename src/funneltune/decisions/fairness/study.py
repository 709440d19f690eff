"""From a run to what is unequal in it, what narrows that, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from funneltune.decisions.fairness.audit import Audited, audit
from funneltune.decisions.fairness.groups import Groups, groups_of, usual
from funneltune.decisions.fairness.mitigate import (
    Change,
    Costs,
    Mitigated,
    calibrated,
    changes,
    exposed,
    reweighted,
)
from funneltune.decisions.fairness.rows import Collected, Rows, collect, require_rate, same_log
from funneltune.decisions.fairness.settings import Settings
from funneltune.decisions.scorer import Scorer
from funneltune.decisions.settings import Ranking
from funneltune.errors import ConfigError
from funneltune.runs.folder import stored_config


@dataclass(frozen=True)
class Fairness:
    """All that the verb tells."""

    settings: Settings
    rate: str
    ranked_by: str
    rows: Rows
    audited: list[Audited]
    ndcg: float
    purchases: float | None
    """Expected on a page, by the world's truth."""
    mitigated: Mitigated | None
    changes: list[Change]


def fairness(scorer: Scorer, ranking: Ranking, settings: Settings, against: Sequence[Path] = ()) -> Fairness:
    """Audit a run on its test split; try what `mitigate` says.

    Args:
        scorer: The run.
        ranking: Whose pages are audited, over what the log showed.
        settings: What is asked for.
        against: Runs of the same log, trained with `data.sampling.groups`; for `mitigate=reweight` alone.

    Raises:
        ConfigError: if a column or a rate is none of the log's, or a mitigation does not go with the ranking.
        DataError: if groups are too small, or the log tells no shopper.
        RunError: if a run of `against` is no finished one.
    """
    _require_against(settings, against)
    rate = require_rate(scorer, settings.rate)
    columns = list(settings.by) or usual(scorer)
    collected = collect(scorer, ranking, rate, "test", settings.requests)
    rows = collected.rows
    groups = [groups_of(scorer, rows, column, settings.smallest, settings.most) for column in columns]
    truth = collected.truth()
    worth = None if truth is None else truth.merit()
    audited = [audit(rows, one, settings, worth) for one in groups]
    costs = Costs(rows, truth)
    mitigated = _mitigated(collected, groups, costs, rate, settings, against)
    changed: list[Change] = []
    if mitigated is not None:
        for one in groups:
            changed += changes(rows, mitigated.best.rows, one, settings.draws, settings.seed)
    return Fairness(
        settings=replace(settings, by=tuple(columns)),
        rate=rate,
        ranked_by=" + ".join(collected.recommender.worth.weights),
        rows=rows,
        audited=audited,
        ndcg=float(np.nanmean(costs.ndcg)),
        purchases=None if costs.purchases is None else float(costs.purchases.mean()),
        mitigated=mitigated,
        changes=changed,
    )


def _mitigated(
    collected: Collected,
    groups: Sequence[Groups],
    costs: Costs,
    rate: str,
    settings: Settings,
    against: Sequence[Path],
) -> Mitigated | None:
    scorer, ranking = collected.recommender.scorer, collected.recommender.ranking
    if settings.mitigate == "exposure":
        return exposed(collected, next((one for one in groups if one.side == "item"), groups[0]), costs)
    if settings.mitigate == "calibrate":
        validation = collect(scorer, ranking, rate, "validation", None).rows
        return calibrated(collected, validation, groups, [one.among(validation) for one in groups], costs, rate)
    if settings.mitigate == "reweight":
        return reweighted(
            collected.rows,
            {path.name: _other(scorer, ranking, rate, settings, path) for path in against},
            groups,
            costs,
        )
    return None


def _other(scorer: Scorer, ranking: Ranking, rate: str, settings: Settings, path: Path) -> tuple[float, Rows]:
    power = power_of((stored_config(path, "against").get("data") or {}).get("sampling"))
    if power is None:
        raise ConfigError(f"against={path} was not trained with weights by group; {_REMEDY}")
    other = Scorer.of_run(path)
    same_log(scorer, other, path)
    return power, collect(other, ranking, rate, "test", settings.requests).rows


def power_of(sampling: Mapping[str, object] | None) -> float | None:
    """The power of a config's weights by group; None where it has none."""
    groups = (sampling or {}).get("groups")
    return float(groups.get("power", 1.0)) if isinstance(groups, Mapping) else None


_REMEDY = "train one: funneltune train ... 'data.sampling={groups: {column: item.seller, power: 1}}'."


def _require_against(settings: Settings, against: Sequence[Path]) -> None:
    if settings.mitigate == "reweight" and not against:
        raise ConfigError(
            f"mitigate=reweight needs against=RUN, a run of the same log with weights by group; {_REMEDY}"
        )
    if against and settings.mitigate != "reweight":
        raise ConfigError(f"against={','.join(map(str, against))} says nothing without mitigate=reweight.")
