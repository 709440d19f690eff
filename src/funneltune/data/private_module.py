"""The datamodule of a run with a privacy guarantee: Poisson draws in place of shuffled requests."""

from __future__ import annotations

from functools import cached_property
from secrets import randbits
from typing import Any

from funneltune.data.datamodule import LogDataModule
from funneltune.data.poisson import PoissonPlan, PrivacyUnits, Unit
from funneltune.errors import ConfigError


class PrivateData(LogDataModule):
    """A log whose training rows are drawn unit by unit (`PoissonPlan`); everything else is as without a guarantee.

    Args:
        unit: Whose presence is to be hidden: `impression`, one row; `shopper`, all rows of a shopper.
        rows_per_shopper: Rows of a shopper that a step holds at most; None: all.
        key_seed: Of the draws; None: drawn from the system, as a guarantee needs it.
        arguments: LogDataModule's.

    Raises:
        ConfigError: if the size of batches is not given in rows.
    """

    def __init__(
        self,
        *,
        unit: Unit = "impression",
        rows_per_shopper: int | None = None,
        key_seed: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if self.rows_per_batch is None or self.tokens_per_batch is not None:
            raise ConfigError(
                "privacy=dp_sgd draws each row with the same chance; set data.rows_per_batch, the rows expected in a "
                "batch, and data.tokens_per_batch=null."
            )
        self.unit, self.rows_per_shopper = unit, rows_per_shopper
        self._key = [randbits(32) for _ in range(4)] if key_seed is None else [key_seed]

    @cached_property
    def units(self) -> PrivacyUnits:
        """Of the training split."""
        rows = self.rows("train")
        if self.unit == "impression":
            return PrivacyUnits.of_impressions(rows)
        if self.store.table("users").num_rows < 2:
            raise ConfigError(
                "privacy.unit=shopper: the log tells no two shoppers apart, so that all of it would be one unit; name "
                "its column (data.source.user), or promise less: privacy.unit=impression."
            )
        return PrivacyUnits.of_shoppers(rows, self.store.column("user")[rows], self.rows_per_shopper)

    def plan(self, epoch: int = 0) -> PoissonPlan:
        """The training batches of an epoch."""
        assert self.rows_per_batch is not None
        return PoissonPlan(self.units, self.rows_per_batch, self.funnel.names, self._key, epoch, self.accumulate)

    def state_dict(self) -> dict[str, Any]:
        """Where the draws stand, and their key: whoever has it knows which units each step held."""
        return {**super().state_dict(), "key": list(self._key)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the batches of a saved state, with its key."""
        position = dict(state_dict)
        self._key = [int(word) for word in position.pop("key")]
        super().load_state_dict(position)
