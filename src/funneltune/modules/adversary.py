"""Adversarial training: the loss at inputs that are moved a little, where it hurts most.

Legend: an attacked tensor's vectors (tokens of a text, texts, rows) are W wide; each has an owner, and what belongs to
one owner is moved by at most epsilon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from funneltune.backbones import Encoder, Hidden
from funneltune.errors import ConfigError
from funneltune.schema import Batch, HeadOutput, LossTerms

if TYPE_CHECKING:
    from funneltune.modules.base import FunnelModule

Moves = Sequence[Tensor]


@dataclass(frozen=True)
class StepLosses:
    """What a training step finds of one batch: the clean output, and each part's share of the step's loss."""

    output: HeadOutput
    terms: LossTerms
    penalties: Mapping[str, Float[Tensor, ""]]
    """The head's own."""

    def mixed(self, other: StepLosses, weight: float) -> StepLosses:
        """(1 - weight) of these losses and `weight` of others."""
        terms = {name: torch.lerp(term, other.terms.terms[name], weight) for name, term in self.terms.terms.items()}
        penalties = {name: torch.lerp(term, other.penalties[name], weight) for name, term in self.penalties.items()}
        return replace(self, terms=replace(self.terms, terms=terms), penalties=penalties)


@dataclass(frozen=True)
class Site:
    """Where inputs are attacked: the tensors, to whom each vector belongs (-1: nobody), and the way on to logits."""

    values: tuple[Tensor, ...]
    owners: tuple[Tensor, ...]
    go_on: Callable[[Moves], HeadOutput]


class Adversary:
    """Trains on (1 - weight) of the clean loss and `weight` of the loss at inputs moved by r, |r| <= epsilon per owner.

    Where the encoder is cut into layers, the hidden states that the lowest trained layer reads are moved, a text's by
    the norm over all its tokens; elsewhere, where the backbone is frozen, and where tasks tune the embeddings each for
    itself, the texts' vectors; without a backbone the features' output, row by row. What lies below is computed once.
    Both losses see the same dropout, and the random numbers of later batches are what they would be without an
    adversary.

    Args:
        epsilon: Largest Euclidean norm of a move; 0: no adversary.
        weight: Of the adversarial loss.
        steps: Ascents.
        step_size: Of each.

    Raises:
        ConfigError: if an argument is out of range.
    """

    name: ClassVar[str] = ""

    def __init__(self, epsilon: float, weight: float, steps: int, step_size: float) -> None:
        if not epsilon >= 0:
            raise ConfigError(f"adversary.epsilon={epsilon} must be >= 0; 0: no adversary.")
        if not 0 <= weight <= 1:
            raise ConfigError(f"adversary.weight={weight} must lie in [0, 1]; it weighs the adversarial loss.")
        if steps < 1:
            raise ConfigError(f"adversary.steps={steps} must be >= 1.")
        if not step_size >= 0:
            raise ConfigError(f"adversary.step_size={step_size} must be >= 0.")
        self.epsilon, self.weight, self.steps, self.step_size = epsilon, weight, steps, step_size

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return self.epsilon > 0 and self.weight > 0

    def losses(self, module: FunnelModule, batch: Batch, scale: float = 1.0) -> tuple[StepLosses, Float[Tensor, ""]]:
        """The mixed losses of a batch, and how much the moves raised the (balanced) loss.

        Of slopes only the direction counts; `scale` keeps them from vanishing under float16.
        """
        site = site_of(module, batch)
        values = [value if value.requires_grad else value.detach().requires_grad_() for value in site.values]
        again = _replay(values[0].device)
        clean = module.losses_of(batch, site.go_on(values))
        loss = module.balanced(clean.terms)

        def slopes_at(moves: Moves) -> Moves:
            moved = [(value.detach() + move).requires_grad_() for value, move in zip(values, moves, strict=True)]
            with again():
                found = module.balanced(module.losses_of(batch, site.go_on(moved)).terms)
            return _slopes(found * scale, moved)

        moves = self.moves(site, _slopes(loss * scale, values, keep_graph=True), slopes_at)
        with again():
            moved = [value + move for value, move in zip(values, moves, strict=True)]
            hurt = module.losses_of(batch, site.go_on(moved))
        return clean.mixed(hurt, self.weight), (module.balanced(hurt.terms) - loss).detach()

    def moves(self, site: Site, slopes: Moves, slopes_at: Callable[[Moves], Moves]) -> list[Tensor]:
        """The moves after the last ascent. `slopes` is the loss's gradient before any, `slopes_at` that behind some."""
        moves = [torch.zeros_like(value) for value in site.values]
        for step in range(self.steps):
            slopes = slopes_at(moves) if step else slopes
            moves = [
                within(move + self.step_size * unit(slope, owner), owner, self.epsilon).to(move)
                for move, slope, owner in zip(moves, slopes, site.owners, strict=True)
            ]
        return moves


class FGM(Adversary):
    """Fast gradient method (Miyato, Dai & Goodfellow 2017): r = epsilon g / |g|, one ascent from the clean input."""

    name = "fgm"

    def __init__(self, epsilon: float = 1.0, weight: float = 0.5) -> None:
        super().__init__(epsilon, weight, steps=1, step_size=epsilon)


class PGD(Adversary):
    """Projected gradient descent (Madry et al. 2018), on the loss's negative, in the Euclidean ball:

        r <- projection onto |r| <= epsilon of r + step_size g / |g|,  steps times, from r = 0

    (the paper starts anywhere in the ball). One step of size epsilon is FGM.
    """

    name = "pgd"

    def __init__(self, epsilon: float = 1.0, weight: float = 0.5, steps: int = 3, step_size: float = 0.5) -> None:
        super().__init__(epsilon, weight, steps, step_size)


# --- where ---------------------------------------------------------------------------------------------------------


def site_of(module: FunnelModule, batch: Batch) -> Site:
    """The lowest place in the model that its training reads."""
    encoder = module.encoder
    if isinstance(encoder, Encoder) and encoder.layered and not encoder.frozen and encoder.shares_lower:
        hidden = encoder.lower(batch.texts)
        states = tuple(states for states in hidden.states if states is not None)
        return Site(
            states,
            tuple(_texts_of(hidden)),
            lambda values: module.score(batch, encoder.views_above(replace(hidden, states=tuple(values)))),
        )
    vectors = encoder.views(batch.texts)
    if isinstance(encoder, Encoder):
        return _rows(vectors, lambda moved: module.score(batch, moved))
    return _rows(module.inputs(batch, vectors), lambda moved: module.read(batch, moved))


def _texts_of(hidden: Hidden) -> Iterator[Int[Tensor, "rows positions"]]:
    """The text of each position, chunk by chunk; -1 where there is none."""
    for chunk in hidden.chunks:
        owner = torch.full((chunk.input_ids.numel(),), -1, device=chunk.text.device)
        yield owner.scatter_(0, chunk.place, chunk.text).view_as(chunk.input_ids)


def _rows(named: Mapping[str, Tensor], go_on: Callable[[dict[str, Tensor]], HeadOutput]) -> Site:
    """A tensor of rows for each name; names that share one keep sharing it."""
    place: dict[int, int] = {}
    for tensor in named.values():
        place.setdefault(id(tensor), len(place))
    values = tuple({id(tensor): tensor for tensor in named.values()}.values())
    return Site(
        values,
        tuple(torch.arange(len(value), device=value.device) for value in values),
        lambda moved: go_on({name: moved[place[id(tensor)]] for name, tensor in named.items()}),
    )


# --- how far -------------------------------------------------------------------------------------------------------


def norms(vectors: Float[Tensor, "*place width"], owner: Int[Tensor, "*place"]) -> Float[Tensor, "*place 1"]:
    """The Euclidean norm of all that a vector's owner has, at each vector; 1 where a vector is nobody's."""
    flat = owner.flatten()
    squares = vectors.to(torch.promote_types(vectors.dtype, torch.float32)).square().sum(dim=-1).flatten()
    there = flat >= 0
    count = int(flat.max()) + 1 if len(flat) else 0
    summed = squares.new_zeros(max(count, 1)).index_add_(0, flat.clamp(min=0), torch.where(there, squares, 0.0))
    return torch.where(there, summed.sqrt()[flat.clamp(min=0)], 1.0).view(*owner.shape, 1)


def unit(vectors: Float[Tensor, "*place width"], owner: Int[Tensor, "*place"]) -> Float[Tensor, "*place width"]:
    """Scaled to norm 1 per owner; 0 where the norm is 0, and where a vector is nobody's."""
    size = norms(vectors, owner)
    there = (owner >= 0).unsqueeze(-1) & (size > 0)
    return torch.where(there, vectors / torch.where(size > 0, size, 1.0), 0.0)


def within(
    vectors: Float[Tensor, "*place width"], owner: Int[Tensor, "*place"], epsilon: float
) -> Float[Tensor, "*place width"]:
    """Projected onto the ball of radius epsilon, owner by owner."""
    size = norms(vectors, owner)
    return vectors * torch.where(size > epsilon, epsilon / torch.where(size > 0, size, 1.0), 1.0)


def _slopes(loss: Float[Tensor, ""], values: Moves, keep_graph: bool = False) -> Moves:
    found = torch.autograd.grad(loss, list(values), retain_graph=keep_graph, allow_unused=True)
    return [torch.zeros_like(value) if slope is None else slope for slope, value in zip(found, values, strict=True)]


def _replay(device: torch.device) -> Callable[..., Any]:
    """Now: remember the random state. Later: a context with that state again, behind which all is as it was."""
    devices = [device] if device.type == "cuda" else []
    host = torch.get_rng_state()
    states = [torch.cuda.get_rng_state(one) for one in devices]

    @contextmanager
    def again() -> Iterator[None]:
        with torch.random.fork_rng(devices):
            torch.set_rng_state(host)
            for one, state in zip(devices, states, strict=True):
                torch.cuda.set_rng_state(state, one)
            yield

    return again
