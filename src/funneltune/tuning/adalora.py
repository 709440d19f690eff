"""Low-rank updates whose ranks are allocated while training (AdaLoRA, Zhang et al. 2023), through PEFT.

PEFT implements the update and the allocator; what every wrapper around it forgets is done here: the orthogonality term
(PEFT adds it only to a loss that the wrapped model returns, and also in evaluation), the allocator's call at the right
moment with the right step count, its state in checkpoints, and the proof that the final rank is the promised one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import AdaLoraConfig, PeftModel
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.adalora.layer import AdaLoraLayer, SVDLinear
from torch import Tensor
from transformers import PreTrainedModel

from funneltune.errors import TuningError
from funneltune.tuning.change import ParameterChange, Replaced
from funneltune.tuning.factors import FACTORS, orthogonality, put_first, require_names, resize
from funneltune.tuning.lean import LeanSVD
from funneltune.tuning.peft_based import ADAPTER, stores_transposed, wrap, write_adapter
from funneltune.tuning.protocol import WeightTuning, require_same
from funneltune.tuning.schedule import RankSchedule

AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


class AdaLoRA(WeightTuning):
    """AdaLoRA on every matrix that `targets` matches.

    With `shrink`, ranks that the last allocation prunes leave factors and optimizer at once instead of being masked to
    the end. The function, the live ranks' moments and their path stay what they were; only what looked at pruned ranks
    differs from there on: the orthogonality term sees live ranks alone, and so does the norm that gradients are clipped
    by. Matrices of rank 0 draw no dropout.

    Args:
        target_rank: Final rank per matrix, on average; the final total is exactly target_rank x matrices.
        initial_rank: Rank that every matrix starts with; the paper takes 1.5 x target.
        alpha: The update is scaled by alpha / initial_rank, throughout.
        warmup_share: Share of the steps before the budget falls.
        final_share: Share of the steps after it has fallen.
        warmup_steps: Likewise in steps; overrides the share.
        final_steps: Likewise in steps; overrides the share.
        interval: Steps between allocations, the paper's delta T.
        beta1: Of the importance's running average.
        beta2: Of its uncertainty's running average.
        orthogonality: Weight of the orthogonality term, the paper's gamma.
        dropout: On the input of the update.
        targets: A regular expression that the whole name of a module must match; None: every matrix of a layer.
        learning_rate: Of the update's factors.
        top: Adapt only so many of the highest layers; None: all.
        shrink: Drop pruned ranks right after the last allocation; False masks them to the end (the reference).
        sharing: `shared`: tasks share the update.

    Raises:
        TuningError: if a value is out of range or the expression matches nothing.
    """

    name = "adalora"
    label = "AdaLoRA"
    size = "target_rank"
    only_shared = "one allocator divides one budget, by each matrix's importance for the whole loss"
    shardable = False  # importance is a mean over whole rows of p * grad

    def __init__(
        self,
        target_rank: int = 8,
        initial_rank: int = 12,
        alpha: float = 16.0,
        warmup_share: float = 0.1,
        final_share: float = 0.3,
        warmup_steps: int | None = None,
        final_steps: int | None = None,
        interval: int = 1,
        beta1: float = 0.85,
        beta2: float = 0.85,
        orthogonality: float = 0.1,
        dropout: float = 0.0,
        targets: str | None = None,
        learning_rate: float = 1e-3,
        top: int | None = None,
        shrink: bool = True,
        sharing: str = "shared",
    ) -> None:
        super().__init__(learning_rate, top, sharing)
        if targets is not None and top is not None:
            raise TuningError("tuning.targets and tuning.top both say which matrices; set one of them to null.")
        if target_rank < 1:
            raise TuningError(f"tuning.target_rank={target_rank} must be >= 1.")
        if initial_rank <= target_rank:
            raise TuningError(
                f"tuning.initial_rank={initial_rank} must be > target_rank={target_rank}: there is nothing to prune; "
                f"the paper takes 1.5 times the target ({max(target_rank + 1, round(1.5 * target_rank))})."
            )
        for field, value, allowed in (
            ("alpha", alpha, alpha > 0),
            ("orthogonality", orthogonality, orthogonality >= 0),
            ("dropout", dropout, 0 <= dropout < 1),
            ("beta1", beta1, 0 < beta1 < 1),
            ("beta2", beta2, 0 < beta2 < 1),
            ("warmup_share", warmup_share, 0 <= warmup_share < 1),
            ("final_share", final_share, 0 < final_share < 1),
        ):
            if not allowed:
                raise TuningError(f"tuning.{field}={value} is out of range; see configs/tuning/adalora.yaml.")
        self.target_rank, self.initial_rank, self.alpha = target_rank, initial_rank, alpha
        self.warmup_share, self.final_share = warmup_share, final_share
        self.warmup_steps, self.final_steps, self.interval = warmup_steps, final_steps, interval
        self.beta1, self.beta2, self.weight, self.dropout = beta1, beta2, orthogonality, dropout
        self.targets, self.shrink = targets, shrink
        self._schedule: RankSchedule | None = None
        self._steps_done = 0
        self._shrunk = False

    def at_size(self, size: int) -> dict[str, int | float]:
        """Another final rank, started with in proportion, and the alpha that keeps the update's scale."""
        initial = max(size + 1, round(self.initial_rank * size / self.target_rank))
        return {"target_rank": size, "initial_rank": initial, "alpha": self.alpha * initial / self.initial_rank}

    def trained_at_end(self) -> int:
        """The final budget's factors, each matrix with its mean share; what is allocated may weigh more or less."""
        return super().trained_at_end() * self.target_rank // self.initial_rank

    # --- before training ---------------------------------------------------------------------------------------

    def apply(self, backbone: PreTrainedModel) -> None:
        """Put an SVD-shaped update of rank `initial_rank` beside every matched matrix; everything else is frozen."""
        pattern = self.targets or self.family(backbone).targets(backbone.config, top=self.top)
        config = AdaLoraConfig(
            init_r=self.initial_rank,
            target_r=self.target_rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=pattern,
            fan_in_fan_out=stores_transposed(backbone, pattern),
            beta1=self.beta1,
            beta2=self.beta2,
            deltaT=self.interval,
            orth_reg_weight=self.weight,
            tinit=0,
            tfinal=1,
            total_step=2**31,  # PEFT wants a number now; `begin` sets the real one
        )
        wrapped = wrap(backbone, config)
        for module in backbone.modules():
            if isinstance(module, SVDLinear):
                module.__class__ = LeanSVD
        self._model: PeftModel = wrapped
        self._peft: AdaLoraModel = wrapped.base_model
        self._backbone = backbone

    def take_up(self, method: str, tensors: Mapping[str, Tensor]) -> None:
        """The stored function; ranks that it has no use for are allocated anew."""
        require_same(self.name, method)
        put_first(self._layers(), tensors)

    def begin(self, total_steps: int) -> None:
        """Fix the schedule in optimizer steps."""
        self._schedule = RankSchedule(
            total_steps=total_steps,
            warmup_steps=round(self.warmup_share * total_steps) if self.warmup_steps is None else self.warmup_steps,
            final_steps=max(1, round(self.final_share * total_steps)) if self.final_steps is None else self.final_steps,
            interval=self.interval,
        )
        config = self._config
        config.total_step, config.tinit = total_steps, self._schedule.warmup_steps
        config.tfinal = self._schedule.final_steps

    @property
    def schedule(self) -> RankSchedule:
        """The schedule that `begin` fixed."""
        if self._schedule is None:
            raise TuningError("tuning=adalora does not know the number of steps yet; call begin(total_steps) first.")
        return self._schedule

    @property
    def _config(self) -> AdaLoraConfig:
        return self._peft.peft_config[ADAPTER]

    def _layers(self) -> dict[str, AdaLoraLayer]:
        return {name: m for name, m in self.backbone.named_modules() if isinstance(m, AdaLoraLayer)}

    @property
    def target_budget(self) -> int:
        """Ranks over all matrices at the end."""
        return self.target_rank * len(self._layers())

    # --- while training ----------------------------------------------------------------------------------------

    def penalty(self) -> Float[Tensor, ""]:
        """`orthogonality` times the mean deviation of P and Q from orthonormal rows and columns."""
        factors = []
        for layer in self._layers().values():
            factors += [layer.lora_A[ADAPTER], layer.lora_B[ADAPTER].T]
        return self.weight * orthogonality(factors)

    def after_step(self, step: int) -> ParameterChange | None:
        """Update importances and allocate, from this step's gradients and the weights after it (as the authors do);
        after the last allocation, drop what it pruned.

        Raises:
            TuningError: if a gradient is missing or not finite (one such step would poison the averages for good), or
                the last allocation misses the target.
        """
        if not self._shrunk:  # afterwards PEFT would mask by a pattern of the initial ranks
            if step <= self.schedule.last_allocation:
                self._check_gradients(step)
            self._peft.update_and_allocate(step)
        self._steps_done = step + 1
        return self._drop() if self.shrink and not self._shrunk and step == self.schedule.last_allocation else None

    def _check_gradients(self, step: int) -> None:
        missing, infinite = [], []
        for name, parameter in self.trained().items():
            if parameter.grad is None:
                missing.append(name)
            elif not torch.isfinite(parameter.grad).all():
                infinite.append(name)
        if missing:
            raise TuningError(
                f"tuning.targets matches {missing[0].split('.lora_')[0]!r}, which no forward pass uses "
                f"({len(missing)} tensors without a gradient); narrow the expression."
            )
        if infinite:
            raise TuningError(
                f"gradient of {infinite[0]!r} is not finite at step {step}; importance would stay undefined "
                "for good; lower tuning.learning_rate, or use trainer.precision=32-true."
            )

    def exportable(self) -> bool:
        """From the final phase on."""
        return self._shrunk or (self._schedule is not None and self._steps_done > self.schedule.last_allocation)

    def finish(self) -> None:
        """Prove that the final rank is the promised one, then drop the pruned ranks from the weights, exactly.

        Raises:
            TuningError: if training stopped before the last allocation, or ranks are not exactly the target's.
        """
        if not self.exportable():
            raise TuningError(
                f"AdaLoRA stopped after {self._steps_done} of {self.schedule.total_steps} steps, before its last "
                f"allocation at {self.schedule.last_allocation}: rank {sum((self.rank_pattern() or {}).values())}, "
                f"target {self.target_budget}; train to the end: no early stopping before it."
            )
        if not self._shrunk:
            self._drop()

    def _drop(self) -> ParameterChange:
        """Keep what the last allocation kept, if that is exactly the target."""
        pattern: dict[str, list[bool]] = self._config.rank_pattern
        live = sum(sum(kept) for kept in pattern.values())
        if live != self.target_budget:
            raise TuningError(
                f"AdaLoRA ended with {live} ranks instead of {self.target_budget}: importances tie at the threshold "
                "(dead updates); raise tuning.learning_rate or tuning.warmup_share."
            )
        replaced = []
        for name, layer in self._layers().items():
            kept = torch.tensor(pattern[f"{name}.lora_E.{ADAPTER}"]).nonzero().flatten()
            old = {part: getattr(layer, part)[ADAPTER] for part in FACTORS}
            where = kept.to(layer.lora_E[ADAPTER].device)
            resize(layer, {part: old[part].index_select(dim, where) for part, dim in FACTORS.items()})
            replaced += [Replaced(old[part], getattr(layer, part)[ADAPTER], dim, kept) for part, dim in FACTORS.items()]
        self._shrunk = True
        return ParameterChange(tuple(replaced))

    def rank_pattern(self) -> dict[str, int] | None:
        """Live rank per matrix: what the last allocation kept, `initial_rank` before the first."""
        if self._shrunk or not self._config.rank_pattern:
            return {name: len(layer.lora_E[ADAPTER]) for name, layer in self._layers().items()}
        kept: Mapping[str, list[bool]] = self._config.rank_pattern
        return {name: sum(kept[f"{name}.lora_E.{ADAPTER}"]) for name in self._layers()}

    # --- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The allocator's averages and pattern: PEFT keeps neither in a state_dict; resuming goes astray without."""
        allocator = self._peft.rankallocator
        return {
            **{average: dict(getattr(allocator, average)) for average in AVERAGES},
            "rank_pattern": {name: list(kept) for name, kept in (self._config.rank_pattern or {}).items()},
            "steps_done": self._steps_done,
            "shrunk": self._shrunk,
        }

    def make_room(self, state: Mapping[str, Any]) -> None:
        """Where the pruned ranks were dropped by then, drop as many here."""
        if not state["shrunk"]:
            return
        for name, layer in self._layers().items():
            rank = sum(state["rank_pattern"][f"{name}.lora_E.{ADAPTER}"])
            if len(layer.lora_E[ADAPTER]) != rank:
                parts = {part: getattr(layer, part)[ADAPTER] for part in FACTORS}
                resize(layer, {part: parts[part].narrow(dim, 0, rank) for part, dim in FACTORS.items()})
        self._shrunk = True

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse; shapes must be those of the initial rank, or what `make_room` made of them."""
        allocator = self._peft.rankallocator
        live = sum(len(layer.lora_E[ADAPTER]) for layer in self._layers().values())
        if live != allocator.init_bgt and not state["shrunk"]:
            raise TuningError(
                f"AdaLoRA cannot go on allocating from pruned weights ({live} ranks of {allocator.init_bgt}); "
                "resume from a checkpoint, not from exported weights."
            )
        device = {name: parameter.device for name, parameter in self.backbone.named_parameters()}
        for average in AVERAGES:  # a checkpoint is read to the CPU
            setattr(allocator, average, {name: value.to(device[name]) for name, value in state[average].items()})
        self._config.rank_pattern = {name: list(kept) for name, kept in state["rank_pattern"].items()}
        self._steps_done = int(state["steps_done"])

    def export(self, backbone: PreTrainedModel) -> dict[str, Tensor]:
        """The factors at their final ranks, and the scaling."""
        if not self._shrunk:
            raise TuningError("AdaLoRA's weights can be stored once finish() has settled its ranks.")
        return {name: p.detach() for name, p in backbone.named_parameters() if f".{ADAPTER}" in name}

    def export_peft(self, folder: Path, *, write: bool = True) -> None:
        """PEFT's format: factors at their final ranks, and the pattern by which PEFT makes room for them."""
        suffix = f".{ADAPTER}"
        tensors = {
            f"base_model.model.{name.replace(suffix, '')}": tensor
            for name, tensor in self.export(self._model.base_model.model).items()
            if ".ranknum" not in name
        }
        pattern = {name.replace(suffix, ""): list(kept) for name, kept in self._config.rank_pattern.items()}
        write_adapter(self._model, folder, tensors, write=write, rank_pattern=pattern)

    def merge(self) -> None:
        """Add the update to the matrices that it stands beside, and take it away."""
        if not self._shrunk:
            raise TuningError("AdaLoRA's update can be merged once finish() has settled its ranks.")
        self._model.merge_and_unload()

    def restore(self, backbone: PreTrainedModel, tensors: Mapping[str, Tensor]) -> None:
        """Take over factors of any ranks."""
        require_names(self._layers(), tensors)
        for name, layer in self._layers().items():
            resize(layer, {part: tensors[f"{name}.{part}.{ADAPTER}"] for part in FACTORS})
            layer.ranknum[ADAPTER].data.copy_(tensors[f"{name}.ranknum.{ADAPTER}"])
        self._shrunk = True
