"""The risk of a task over the entire space, estimated from labels that only a part of it has. Pure functions.

`loss` is what a row costs under its own label, `observed` is 1 where that label is seen (clicked, for a purchase), and
`propensity` is the probability of that. The truth is the mean over all rows of the expected loss, clicked or not.
Over one batch the estimators are the textbook's. A part of an optimizer step hands in the step's `rows`, and the parts
add up; `standing` is what a row stands for (0: left out).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LEAST = 1e-8
"""No propensity is taken for smaller: its inverse would outweigh any log in float32."""


def click_space(loss: Float[Tensor, " rows"], observed: Float[Tensor, " rows"]) -> Float[Tensor, ""]:
    """The mean over the rows that were observed. Biased where what is clicked is not like the rest."""
    return torch.where(observed > 0, loss, 0.0).sum() / observed.sum().clamp(min=1.0)


def naive(
    loss: Float[Tensor, " rows"], observed: Float[Tensor, " rows"], loss_if_not: Float[Tensor, " rows"]
) -> Float[Tensor, ""]:
    """The mean over all rows, an unobserved label being taken for a 0 (`loss_if_not`). Biased wherever cvr > 0."""
    return torch.where(observed > 0, loss, loss_if_not).mean()


def inverse_weights(
    observed: Float[Tensor, " rows"], propensity: Float[Tensor, " rows"], clip: float = 0.0
) -> Float[Tensor, " rows"]:
    """What a row counts for: observed / max(propensity, clip). Its expectation is 1 on every unclipped row."""
    return torch.where(observed > 0, 1.0 / propensity.clamp(min=max(clip, LEAST)), 0.0)


def ips(
    loss: Float[Tensor, " rows"],
    weights: Float[Tensor, " rows"],
    self_normalised: bool = False,
    standing: Float[Tensor, " rows"] | None = None,
    rows: float | None = None,
) -> Float[Tensor, ""]:
    """Inverse propensity scoring: sum(w loss) / rows, unbiased with true propensities (Schnabel et al. 2016).

    Self-normalised, sum(w loss) / sum(w) (Swaminathan and Joachims 2015): a little biased, less variance. The sum of
    the weights is this batch's own, and the result counts for this batch's share of the step's rows.
    """
    stands = torch.ones_like(loss) if standing is None else standing
    here = stands.sum()
    count = here.clamp(min=1.0) if rows is None else rows
    # Rows without a label send no gradient, whatever stands in the label's place.
    total = (stands * weights * torch.where(weights > 0, loss, 0.0)).sum()
    if not self_normalised:
        return total / count
    return total / (stands * weights).sum().clamp(min=LEAST) * (here / count)


def dr(
    loss: Float[Tensor, " rows"],
    imputed: Float[Tensor, " rows"],
    weights: Float[Tensor, " rows"],
    self_normalised: bool = False,
    standing: Float[Tensor, " rows"] | None = None,
    rows: float | None = None,
) -> Float[Tensor, ""]:
    """Doubly robust: mean(imputed) + IPS of (loss - imputed) (Wang et al. 2019).

    Unbiased if the propensities are true or the imputed losses are; the better the imputation, the less the variance.
    """
    stands = torch.ones_like(loss) if standing is None else standing
    count = stands.sum().clamp(min=1.0) if rows is None else rows
    return (stands * imputed).sum() / count + ips(loss - imputed, weights, self_normalised, standing, rows)


def weight_notes(
    weights: Float[Tensor, " rows"],
    observed: Float[Tensor, " rows"],
    propensity: Float[Tensor, " rows"],
    clip: float = 0.0,
) -> dict[str, Float[Tensor, ""]]:
    """How far weights can be trusted.

    `propensity_mean`: over all rows. `weight_mean`: over all rows; near 1 where propensities are right and unclipped.
    `weight_clipped`: share of the observed rows whose propensity lies below the floor. `weight_effective`: Kish's
    effective sample size, (sum w)^2 / sum w^2, as a share of the observed rows; 1 where all weigh the same.
    """
    seen = observed > 0
    count = seen.sum().clamp(min=1)
    return {
        "propensity_mean": propensity.mean(),
        "weight_mean": weights.mean(),
        "weight_clipped": (seen & (propensity < clip)).sum() / count,
        "weight_effective": weights.sum() ** 2 / (weights**2).sum().clamp(min=LEAST) / count,
    }
