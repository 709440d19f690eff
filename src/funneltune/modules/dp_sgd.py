"""What is asked of differentially private training: whose presence is hidden, how well, and by which clipping."""

from __future__ import annotations

import math
from typing import Literal, get_args

from funneltune.data.poisson import Unit
from funneltune.errors import ConfigError

Accountant = Literal["prv", "rdp"]


class NoPrivacy:
    """Nothing is promised: gradients are what they are."""


class DPSGD:
    """DP-SGD (Abadi et al. 2016): each unit's gradient is clipped to `clip`, their sum gets Gaussian noise.

    Args:
        unit: Whose presence in the training rows is hidden: `impression`, a row; `shopper`, all rows of a shopper.
        epsilon: Of the whole run; None: what `noise` comes to.
        delta: Chance that epsilon does not hold; None: 1 / (10 n) for n units.
        clip: Largest Euclidean norm of a unit's gradient, over all that is trained.
        noise: Standard deviation of the noise over `clip` (noise multiplier); None: the least that keeps `epsilon`.
        accountant: `prv` (Gopi et al. 2021, tight) or `rdp` (Mironov et al. 2019).
        rows_per_shopper: Rows of a shopper that a step holds at most; None: all.
        seed: Of draws and noise. Whoever knows it can take the noise off again, so that a run with one promises
            nothing; None: drawn from the system, kept in checkpoints alone.

    Raises:
        ConfigError: with every value that is out of range, or does not go with another.
    """

    def __init__(
        self,
        unit: str = "impression",
        epsilon: float | None = 3.0,
        delta: float | None = None,
        clip: float = 1.0,
        noise: float | None = None,
        accountant: str = "prv",
        rows_per_shopper: int | None = None,
        seed: int | None = None,
    ) -> None:
        faults = []
        if unit not in get_args(Unit):
            faults.append(f"privacy.unit={unit!r} must be one of {', '.join(get_args(Unit))}")
        if accountant not in get_args(Accountant):
            faults.append(f"privacy.accountant={accountant!r} must be one of {', '.join(get_args(Accountant))}")
        if epsilon is not None and not 0 < epsilon < math.inf:
            faults.append(f"privacy.epsilon={epsilon} must be above 0 and finite")
        if delta is not None and not 0 < delta < 1:
            faults.append(f"privacy.delta={delta} must lie in (0, 1), below 1 / (number of units)")
        if not 0 < clip < math.inf:
            faults.append(f"privacy.clip={clip} must be above 0 and finite")
        if noise is not None and not 0 <= noise < math.inf:
            faults.append(f"privacy.noise={noise} must be >= 0 and finite")
        if (epsilon is None) == (noise is None):
            faults.append(f"privacy.epsilon={epsilon} and privacy.noise={noise}: give one, the other follows; null it")
        if rows_per_shopper is not None and (unit != "shopper" or rows_per_shopper < 1):
            faults.append(f"privacy.rows_per_shopper={rows_per_shopper} must be >= 1 and goes with unit=shopper")
        if seed is not None and seed < 0:
            faults.append(f"privacy.seed={seed} must be >= 0, or null")
        if faults:
            raise ConfigError("; ".join(faults) + ".")
        self.unit: Unit = unit  # type: ignore[assignment]
        self.accountant: Accountant = accountant  # type: ignore[assignment]
        self.epsilon, self.delta, self.clip, self.noise = epsilon, delta, clip, noise
        self.rows_per_shopper, self.seed = rows_per_shopper, seed
