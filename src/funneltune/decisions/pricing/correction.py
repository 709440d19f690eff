"""The mean elasticity of a whole log: as a run predicts it, as the log is, and by double machine learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.pricing.causal import Effect, Estimate, double_ml, naive, rows_of
from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.pricing.support import LoggedPrices
from funneltune.decisions.requests import Request, logged_requests
from funneltune.decisions.scorer import Scorer

Floats = NDArray[np.float64]
SHIFT = 0.05
"""Of log prices, by which the run's mean elasticity is taken."""
MEAN_PAGES = 300
"""Pages that it is taken on."""
PRICE = ("price", "item.price")
RUN, CAUSAL = "as the run predicts", "double machine learning"


def corrections(
    scorer: Scorer, logged: LoggedPrices, settings: Settings
) -> tuple[dict[str, Effect], dict[str, Estimate]]:
    """Mean elasticities of the log as it is read in several ways, and what is added to the run's, with its error.

    Nothing is added where the two are not told apart; the error stays.
    """
    if settings.correct == "none":
        return {}, {"click": Estimate(0.0, 0.0), "purchase": Estimate(0.0, 0.0)}
    rows = rows_of(scorer, logged.like)
    causal = double_ml(rows, settings.seed)
    run = mean_elasticity(scorer)
    effects = {RUN: run, "within items, as the log is": naive(rows), CAUSAL: causal}
    by = float(told_apart(effects))
    turn = {
        name: Estimate(by * (getattr(causal, name).value - getattr(run, name).value), getattr(causal, name).error)
        for name in ("click", "purchase")
    }
    return effects, turn


def told_apart(effects: Mapping[str, Effect]) -> bool:
    """Whether the run's mean elasticity of purchases lies outside the interval of the log's."""
    run, causal = effects[RUN].purchase.value, effects[CAUSAL].purchase
    return run < causal.low or run > causal.high


def mean_elasticity(scorer: Scorer) -> Effect:
    """As the run predicts it, over its last training pages, at the prices that were asked."""
    data = scorer.assembly.data
    some = np.sort(data.requests("train"))[-MEAN_PAGES:]
    requests = list(logged_requests(scorer, only=some))
    totals = []
    for sign in (1, -1):
        asked = [
            replace(one.asked, columns={**one.asked.columns, **_moved(scorer, one, float(np.exp(sign * SHIFT)))})
            for one in requests
        ]
        said = scorer.score(asked, [one.items for one in requests])
        totals.append([sum(float(of[rate].sum()) for of in said) for rate in (scorer.rates[0], scorer.rates[-1])])
    click, purchase = (np.log(np.array(totals[0]) / np.array(totals[1])) / (2 * SHIFT)).tolist()
    return Effect(Estimate(click), Estimate(purchase))


def _moved(scorer: Scorer, request: Request, ratio: float) -> dict[str, Floats]:
    needs, price = scorer.assembly.data.features, np.asarray(request.asked.columns["price"], dtype=np.float64)
    return {name: price * ratio for name in PRICE if name in (*needs.ids, *needs.numbers)}
