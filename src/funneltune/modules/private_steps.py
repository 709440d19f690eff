"""The optimizer steps of differentially private training: clipped, noised, and accounted for, by Opacus."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import randbits
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from funneltune.data import PrivateData
from funneltune.errors import ConfigError, RunError, TuningError
from funneltune.modules.dp_sgd import DPSGD
from funneltune.modules.unit_gradients import UnitGradients
from funneltune.schema import Batch

if TYPE_CHECKING:
    from opacus.accountants import IAccountant
    from opacus.optimizers import DPOptimizer

    from funneltune.modules.base import FunnelModule

MOST_EPSILON = 1000.0
"""Of a noise that is given: an epsilon beyond it is no promise, and its accounting fills any memory."""


@dataclass(frozen=True)
class Promise:
    """What a run of so many steps comes to."""

    units: int
    """Impressions or shoppers in the training split."""
    delta: float
    sample_rate: float
    """Chance of a unit to be in a step."""
    expected_units: float
    """Of a step: what the noised sum is divided by, whatever the step holds."""
    steps: int
    noise: float
    """Standard deviation of the noise over the clipping norm."""


class PrivateSteps:
    """Turns the gradients of an optimizer step into what may be released.

    Lightning's optimizer stays the plain one: Opacus's `DPOptimizer` stands beside it, over the same parameters, and
    leaves in `.grad` what that one then steps along. All that follows (clipping of the whole, moments, decay) reads the
    noised gradient alone, and is post-processing.

    A step of several batches clips each unit once: a unit is in one of them.

    Args:
        settings: What is asked for.
    """

    def __init__(self, settings: DPSGD) -> None:
        self.settings = settings
        self.promise: Promise | None = None
        """Known from the beginning of the fit on."""
        self._gradients: UnitGradients | None = None
        self._optimizer: DPOptimizer | None = None
        self._noise = torch.Generator()
        self._accountant: IAccountant | None = None
        self._loaded: Mapping[str, Any] | None = None
        self._rows_to_units = 1.0

    # --- a fit -------------------------------------------------------------------------------------------------

    def begin(self, module: FunnelModule) -> None:
        """Find the noise for the steps that are to come, and watch every trained parameter.

        Raises:
            ConfigError: if delta is too large, or no noise keeps epsilon.
            TuningError: if a layer's gradients cannot be had unit by unit.
            RunError: if a checkpoint was made for another number of steps.
        """
        require_opacus()
        from opacus.accountants import create_accountant

        data = module.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, PrivateData)
        steps = int(module.trainer.estimated_stepping_batches)
        plan = data.plan()
        self._rows_to_units = plan.expected_units / plan.expected_rows
        self._accountant = create_accountant(self.settings.accountant)
        self._noise = torch.Generator(module.device)
        self._noise.manual_seed(randbits(63) if self.settings.seed is None else self.settings.seed)
        if self._loaded is None:
            self.promise = promised(self.settings, len(data.units), plan.sample_rate, plan.expected_units, steps)
        else:
            self.promise = self._taken_up(self._loaded, steps, plan.sample_rate)
        self._gradients, self._optimizer = UnitGradients(module), None

    def end(self) -> None:
        """The fit is over."""
        if self._gradients is not None:
            self._gradients.end()
        self._gradients = self._optimizer = None

    # --- a batch -----------------------------------------------------------------------------------------------

    def begin_batch(self, batch: Batch) -> None:
        """Tell the layers whose rows and texts come.

        Raises:
            TuningError: if rows share a text.
        """
        assert self._gradients is not None
        assert self.promise is not None
        assert batch.unit is not None
        unit_of_text = torch.full((len(batch.texts),), -1, device=batch.unit.device)
        for text in batch.text_of_row.values():
            unit_of_text[text] = batch.unit
        if sum(len(text) for text in batch.text_of_row.values()) != len(batch.texts):
            raise TuningError(
                "privacy=dp_sgd needs a text of its own for each row, or their gradients mix; set data.unique=false."
            )
        # The loss is a mean over the rows expected in a step; a unit's own part, times what the sum is divided by.
        self._gradients.begin(batch.unit, unit_of_text, scale=self.promise.expected_units)

    def after_backward(self, optimizer: Optimizer) -> None:
        """Clip each unit's gradient, and add it to the step's sum."""
        assert self._gradients is not None
        steps = self._over(optimizer)
        self._gradients.collect()
        steps.clip_and_accumulate()
        for parameter in steps.params:
            parameter.grad = None

    # --- a step ------------------------------------------------------------------------------------------------

    def release(self, optimizer: Optimizer) -> None:
        """The noised sum over the expected number of units, into `.grad`; the step is accounted for."""
        assert self._accountant is not None
        assert self.promise is not None
        steps = self._over(optimizer)
        steps.add_noise()
        steps.scale_grad()
        self._accountant.step(noise_multiplier=self.promise.noise, sample_rate=self.promise.sample_rate)
        for parameter in steps.params:
            parameter.grad_sample = parameter.summed_grad = None

    def _over(self, optimizer: Optimizer) -> DPOptimizer:
        from opacus.optimizers import DPOptimizer

        if self._optimizer is None:
            assert self.promise is not None
            self._optimizer = DPOptimizer(
                optimizer,
                noise_multiplier=self.promise.noise,
                max_grad_norm=self.settings.clip,
                expected_batch_size=self.promise.expected_units,
                generator=self._noise,
            )
        return self._optimizer

    # --- what is told and kept ---------------------------------------------------------------------------------

    @property
    def steps_taken(self) -> int:
        """Noised steps so far."""
        return 0 if self._accountant is None else sum(int(steps) for _, _, steps in self._accountant.history)

    def epsilon(self) -> float | None:
        """Of all steps that were planned: an end that came early may have been chosen. None without noise."""
        assert self.promise is not None
        if self.promise.noise == 0:
            return None
        return epsilon_of(
            self.settings.accountant,
            self.promise.noise,
            self.promise.sample_rate,
            max(self.steps_taken, self.promise.steps),
            self.promise.delta,
        )

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: what was promised, what was spent, and the state of the noise, which nobody else may have:
        who knows it can take the noise off.
        """
        if self.promise is None:
            return {}
        return {"promise": vars(self.promise), "taken": self.steps_taken, "noise": self._noise.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse, for the fit that comes."""
        self._loaded = state

    def _taken_up(self, state: Mapping[str, Any], steps: int, sample_rate: float) -> Promise:
        assert self._accountant is not None
        found = Promise(**state["promise"])
        if (found.steps, found.sample_rate) != (steps, sample_rate):
            raise RunError(
                f"privacy: the noise was chosen for {found.steps:,} steps at a sampling rate of {found.sample_rate:g}, "
                f"and this run has {steps:,} at {sample_rate:g}; go on with the length and batch that it began with."
            )
        self._noise.set_state(state["noise"])
        if state["taken"]:
            self._accountant.history = [(found.noise, found.sample_rate, int(state["taken"]))]
        self._loaded = None
        return found


def require_opacus() -> None:
    """Refuse without the library.

    Raises:
        ConfigError: with how to install it.
    """
    handlers = list(logging.root.handlers)
    try:
        import opacus  # noqa: F401
    except ImportError:
        raise ConfigError("privacy=dp_sgd needs Opacus; pip install 'funneltune[privacy]'.") from None
    finally:  # its import sets logging up for everyone, on stderr and down to DEBUG
        logging.root.handlers[:] = handlers


def promised(settings: DPSGD, units: int, sample_rate: float, expected_units: float, steps: int) -> Promise:
    """Settle delta and noise for a run.

    Raises:
        ConfigError: if delta is not below 1 / units, or no noise keeps epsilon, or a given one keeps none.
    """
    delta = settings.delta if settings.delta is not None else 1 / (10 * units)
    if not delta < 1 / units:
        raise ConfigError(
            f"privacy.delta={delta:g} must be below 1 / {units:,}, the number of units ({settings.unit}s) in the "
            f"training split: at it, giving one of them away whole would be no breach; null takes {1 / (10 * units):g}."
        )
    noise = settings.noise
    if noise is None:
        assert settings.epsilon is not None
        noise = noise_for(settings.accountant, settings.epsilon, delta, sample_rate, steps)
    elif noise > 0 and (bound := epsilon_of("rdp", noise, sample_rate, steps, delta)) > MOST_EPSILON:
        raise ConfigError(
            f"privacy.noise={noise:g} keeps no epsilon below {bound:.3g} over {steps:,} steps, which promises nothing "
            f"(at most {MOST_EPSILON:g}); more noise, or privacy.noise=0, which clips and promises nothing."
        )
    return Promise(units, delta, sample_rate, expected_units, steps, noise)


def noise_for(accountant: str, epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The least noise multiplier that keeps epsilon and delta over so many steps (Opacus's search).

    Raises:
        ConfigError: if there is none.
    """
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of orders at the end of the list: the bound holds, another is tighter
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=sample_rate,
                    steps=steps,
                    accountant=accountant,
                )
            )
    except ValueError as error:
        raise ConfigError(
            f"privacy.epsilon={epsilon} at delta={delta:g} cannot be kept over {steps:,} steps at a sampling rate of "
            f"{sample_rate:g} ({error}); raise epsilon, or train for fewer steps."
        ) from None


def epsilon_of(accountant: str, noise: float, sample_rate: float, steps: int, delta: float) -> float:
    """Epsilon at delta of so many steps of the sampled Gaussian mechanism (Opacus's accountants)."""
    from opacus.accountants import create_accountant

    counted = create_accountant(accountant)
    counted.history = [(noise, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        return float(counted.get_epsilon(delta=delta))


def nothing(device: torch.device) -> Tensor:
    """The loss of a batch that holds no row, and which the step that adds noise must have all the same."""
    return torch.zeros((), device=device, requires_grad=True)
