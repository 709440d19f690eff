"""One module per tuning method: the same wiring, its own name and logging."""

from __future__ import annotations

from typing import ClassVar

from funneltune.errors import ConfigError
from funneltune.modules.base import FunnelModule
from funneltune.tuning import AdaLoRA, BitFit, BottleneckTuning, Frozen, Full, Fusion, PeftTuning, Prefix, TuningMethod


class FullFineTuning(FunnelModule):
    """Weights of the backbone itself move: all of them (Devlin et al. 2019), the highest layers', or the biases."""

    methods: ClassVar[tuple[type, ...]] = (Full, BitFit)


class FrozenBackbone(FunnelModule):
    """Only the head learns: what the pretrained vectors know by themselves."""

    methods: ClassVar[tuple[type, ...]] = (Frozen,)


class AdapterTuning(FunnelModule):
    """Bottleneck adapters (Houlsby et al. 2019, Pfeiffer et al. 2021); logs how far they are from the identity."""

    methods: ClassVar[tuple[type, ...]] = (BottleneckTuning,)

    def tuning_scalars(self) -> dict[str, float]:
        """Euclidean norm of the adapters' weights."""
        assert isinstance(self.tuning, BottleneckTuning)
        return {"tuning/weight_norm": self.tuning.weight_norm()}


class FusionTuning(FunnelModule):
    """The adapters of several runs, weighed (Pfeiffer et al. 2021); logs the mean attention of each."""

    methods: ClassVar[tuple[type, ...]] = (Fusion,)

    def tuning_scalars(self) -> dict[str, float]:
        """Of the positions that were read last, by the runs' places in `tuning.runs`."""
        assert isinstance(self.tuning, Fusion)
        return {f"tuning/attention_{place}": share for place, share in enumerate(self.tuning.attention())}


class UpdateTuning(FunnelModule):
    """Something small is added beside frozen weights: LoRA, DoRA, (IA)3, a prefix."""

    methods: ClassVar[tuple[type, ...]] = (PeftTuning, Prefix)


class AdaLoRATuning(FunnelModule):
    """Low-rank updates whose ranks are allocated while training (Zhang et al. 2023); logs the live budget."""

    methods: ClassVar[tuple[type, ...]] = (AdaLoRA,)

    def tuning_scalars(self) -> dict[str, float]:
        """Live ranks, summed over the adapted matrices."""
        return {"tuning/live_rank": float(sum((self.tuning.rank_pattern() or {}).values()))}


def module_class(tuning: TuningMethod) -> type[FunnelModule]:
    """The variant that serves a tuning method."""
    for variant in (FullFineTuning, FrozenBackbone, AdapterTuning, FusionTuning, UpdateTuning, AdaLoRATuning):
        if isinstance(tuning, variant.methods):
            return variant
    raise ConfigError(f"tuning={type(tuning).__name__} has no LightningModule; add a variant in modules/.")
