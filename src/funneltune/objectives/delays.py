"""Labels that come late: the likelihood of what has been seen so far."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.objectives.likelihoods import bernoulli_nll
from funneltune.schema import log1mexp

NEVER = -80.0
"""Log-probability of what cannot come any more; its exponential is 0 beside 1 in float32."""


def delay_nll(
    log_p: Float[Tensor, " rows"],
    log_rate: Float[Tensor, " rows"],
    label: Float[Tensor, " rows"],
    delay: Float[Tensor, " rows"],
    elapsed: Float[Tensor, " rows"],
    window: float = math.inf,
) -> Float[Tensor, " rows"]:
    """Delayed feedback with an exponential delay (Chapelle 2014): the negative log-likelihood of each row.

    Came after `delay` days: -[log p + log rate - rate delay]. Not yet after `elapsed` days: -log(1 - p + p S), where
    S = exp(-rate elapsed) is the chance that an event that will come is still to come.

    With a finite `window` the event counts only if it comes within as many days, p is the probability of that, and the
    delay is an exponential cut off there: the density has the further factor 1 / (1 - exp(-rate window)), S is
    (exp(-rate elapsed) - exp(-rate window)) / (1 - exp(-rate window)), and 0 from the window's end on. The paper is the
    limit of no window.
    """
    log_rate = log_rate.float().clamp(-10.0, 10.0)  # a mean delay of 4 seconds to 60 years
    rate = log_rate.exp()
    came = label > 0.5
    log_density = log_rate - rate * torch.where(came, delay, 0.0)
    log_still = -rate * elapsed.clamp(min=0.0)
    if math.isfinite(window):
        cut = log1mexp(-rate * window)
        log_density = log_density - cut
        left = (window - elapsed).clamp(min=0.0)
        log_still = torch.where(left > 0, log_still + log1mexp(-rate * left) - cut, NEVER)
    # 1 - p + p S = 1 - p (1 - S)
    log_seen_by_now = log_p + log1mexp(log_still)
    return torch.where(came, -(log_p + log_density), bernoulli_nll(log_seen_by_now, torch.zeros_like(log_p)))
