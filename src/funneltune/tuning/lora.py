"""LoRA, DoRA and (IA)3, by PEFT."""

from __future__ import annotations

from collections.abc import Sequence

from peft import IA3Config, LoraConfig, PeftConfig
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from funneltune.backbones.families import Part
from funneltune.errors import TuningError
from funneltune.tuning.peft_based import ADAPTER, PeftTuning, stores_transposed


class LoRA(PeftTuning):
    """W + (alpha / rank) B A beside each adapted matrix, B zero at the start (Hu et al. 2022, eq. 3).

    Args:
        rank: Inner width of the update.
        alpha: The update is scaled by alpha / rank.
        dropout: On the update's input.
        parts: See `PeftTuning`; the paper adapts query and value.
        adapter: See `PeftTuning`.
        learning_rate: Of A and B.
        top: See `PeftTuning`.
        sharing: See `PeftTuning`.
        adapters: See `PeftTuning`.
    """

    name = "lora"
    label = "LoRA"
    size = "rank"
    shape_fields = "tuning.rank, tuning.parts and tuning.top"
    direction_and_magnitude = False

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        parts: Sequence[Part] = ("query", "value"),
        adapter: str | None = None,
        learning_rate: float = 5e-4,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
    ) -> None:
        super().__init__(list(parts), adapter, learning_rate, top, sharing, adapters)
        if rank < 1:
            raise TuningError(f"tuning.rank={rank} must be >= 1.")
        if not alpha > 0:
            raise TuningError(f"tuning.alpha={alpha} must be above 0.")
        if not 0 <= dropout < 1:
            raise TuningError(f"tuning.dropout={dropout} must lie in [0, 1).")
        self.rank, self.alpha, self.dropout = rank, alpha, dropout

    def at_size(self, size: int) -> dict[str, int | float]:
        """Another rank, and the alpha that keeps the update's scale."""
        return {"rank": size, "alpha": self.alpha * size / self.rank}

    def config(self, backbone: PreTrainedModel) -> PeftConfig:
        """PEFT's LoraConfig."""
        pattern = self.family(backbone).targets(backbone.config, self.parts, self.top)
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=pattern,
            use_dora=self.direction_and_magnitude,
            fan_in_fan_out=stores_transposed(backbone, pattern),
        )

    def rank_pattern(self) -> dict[str, int]:
        """The same rank everywhere, in every set."""
        return {n.partition(".lora_A.")[0]: len(p) for n, p in self.copies()[0].items() if ".lora_A." in n}

    def redraw(self) -> bool:
        """PEFT's own start; a stored adapter is no draw."""
        layers = [module for module in self.backbone.modules() if isinstance(module, LoraLayer)]
        for layer in layers if self.adapter is None else ():
            layer.reset_lora_parameters(ADAPTER, True)
        return self.adapter is None


class DoRA(LoRA):
    """LoRA on the direction of each column of W, its length trained apart (Liu et al. 2024, eq. 5)."""

    name = "dora"
    label = "DoRA"
    direction_and_magnitude = True
    only_multiplies = False  # the columns' lengths are measured in float32


class IA3(PeftTuning):
    """One factor per output of keys and values, and per input of the feed-forward's last matrix, all 1 at the start.

    Liu et al. (2022), section 3.3. Where an architecture fuses query, key and value, queries are scaled with them.

    Args:
        adapter: See `PeftTuning`.
        learning_rate: Of the factors.
        top: See `PeftTuning`.
        sharing: See `PeftTuning`.
        adapters: See `PeftTuning`.
    """

    name = "ia3"
    label = "(IA)3"

    def __init__(
        self,
        adapter: str | None = None,
        learning_rate: float = 3e-3,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
    ) -> None:
        super().__init__(["key", "value", "feed_forward_out"], adapter, learning_rate, top, sharing, adapters)

    def config(self, backbone: PreTrainedModel) -> PeftConfig:
        """PEFT's IA3Config."""
        family = self.family(backbone)
        pattern = family.targets(backbone.config, self.parts, self.top)
        return IA3Config(
            target_modules=pattern,
            feedforward_modules=family.targets(backbone.config, ("feed_forward_out",), self.top),
            fan_in_fan_out=stores_transposed(backbone, pattern),
        )
