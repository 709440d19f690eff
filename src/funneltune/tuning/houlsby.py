"""Bottleneck adapters in the places of Houlsby et al. (2019), Pfeiffer et al. (2021) and AdapterHub."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from funneltune.errors import TuningError
from funneltune.tuning.bottleneck import AdaptedNorm, BottleneckAdapter, BottleneckTuning


class Houlsby(BottleneckTuning):
    """Adapters after attention and after the feed-forward network, inside each residual connection, after the
    projection and its dropout; all LayerNorms are trained (Houlsby et al. 2019).
    """

    name = "houlsby"
    label = "Houlsby"

    def __init__(
        self,
        bottleneck: int = 64,
        train_layer_norm: bool = True,
        init_std: float = 1e-3,
        activation: str = "gelu",
        learning_rate: float = 1e-3,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
        start: str | None = None,
    ) -> None:
        super().__init__(
            bottleneck, train_layer_norm, init_std, activation, learning_rate, top, sharing, adapters, start
        )

    def _ends(self, backbone: PreTrainedModel) -> tuple[str, ...]:
        family = self.family(backbone)
        return family.attention_end, family.feed_forward_end


class Pfeiffer(BottleneckTuning):
    """Adapters after the feed-forward network alone, inside its residual connection: half of Houlsby's parameters.

    The form that the AdaLoRA paper compares with as PAdapter (Pfeiffer et al. 2021); `pfeiffer_hub` is AdapterHub's.
    """

    name = "pfeiffer"
    label = "Pfeiffer"

    def __init__(
        self,
        bottleneck: int = 64,
        train_layer_norm: bool = False,
        init_std: float = 1e-3,
        activation: str = "gelu",
        learning_rate: float = 1e-3,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
        start: str | None = None,
    ) -> None:
        super().__init__(
            bottleneck, train_layer_norm, init_std, activation, learning_rate, top, sharing, adapters, start
        )

    def _ends(self, backbone: PreTrainedModel) -> tuple[str, ...]:
        return (self.family(backbone).feed_forward_end,)


class PfeifferHub(BottleneckTuning):
    """Pfeiffer adapters as the AdapterHub library builds them: LN(s + up(act(down(LN(s))))) over the residual sum s.

    The adapter reads what the block would have put out, and its change enters before the block's own LayerNorm
    (`original_ln_before`, `residual_before_ln`). For architectures whose norms come after the blocks.
    """

    name = "pfeiffer_hub"
    label = "Pfeiffer (Hub)"

    def __init__(
        self,
        bottleneck: int = 64,
        train_layer_norm: bool = False,
        init_std: float = 1e-3,
        activation: str = "relu",
        learning_rate: float = 1e-3,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
        start: str | None = None,
    ) -> None:
        super().__init__(
            bottleneck, train_layer_norm, init_std, activation, learning_rate, top, sharing, adapters, start
        )

    def _ends(self, backbone: PreTrainedModel) -> tuple[str, ...]:
        norm = self.family(backbone).feed_forward_norm
        if not norm:
            raise TuningError(
                f"tuning=pfeiffer_hub needs a LayerNorm after the feed-forward block; {type(backbone).__name__} has "
                "its norms before the blocks; use tuning=pfeiffer."
            )
        return (norm,)

    def _place(self, end: nn.Module, adapter: BottleneckAdapter) -> nn.Module:
        return AdaptedNorm(end, adapter)
