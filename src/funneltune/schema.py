"""The nouns that travel between rooms as tensors: texts, batches, what a head says, what an objective asks.

Legend: a batch has R rows (impressions) and U unique texts of T tokens in total; vectors are W wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from funneltune.funnel import Task, TaskFunnel

Space = Literal["conditional", "marginal"]
SHARED = "shared"
"""The representation that all tasks read; beside it, a task's own goes by the task's name."""
Interaction = Literal["twin", "cross", "none"]


Moved = TypeVar("Moved", bound="_OnDevice")


class _OnDevice:
    """Moves every tensor of a frozen dataclass, nested and in mappings too; Lightning calls `to` on a batch."""

    def to(self: Moved, device: torch.device | str, non_blocking: bool = False) -> Moved:
        """On a device; what is pinned is copied while the host goes on."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking or tensor.is_pinned()))

    def pin_memory(self: Moved) -> Moved:
        """In page-locked memory; a loader calls it where batches go to a GPU."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self: Moved, change: Callable[[Tensor], Tensor]) -> Moved:
        def changed(value: Any) -> Any:
            if isinstance(value, Tensor):
                return change(value)
            if isinstance(value, _OnDevice):
                return value._each(change)
            if isinstance(value, Mapping):
                return {key: changed(item) for key, item in value.items()}
            return value

        return replace(self, **{f.name: changed(getattr(self, f.name)) for f in fields(self)})  # type: ignore[type-var, arg-type]


@dataclass(frozen=True)
class Texts(_OnDevice):
    """A batch's unique texts, special tokens included, sorted by length (shortest first), laid end to end.

    How they are laid out for the model (padded chunks, packed rows) is the encoder's business.
    """

    token_ids: Int[Tensor, " tokens"]
    lengths: Int[Tensor, " texts"]
    first_lengths: Int[Tensor, " texts"]
    """Tokens of a text's first segment ([CLS] query [SEP]); equal to `lengths` where there is no second."""
    numbers: Int[Tensor, " texts"] | None = None
    """Which texts of the log these are: query q is q, item i is (queries) + i, their pair is q * (items) + i; None
    where they are of no log.
    """
    unique: bool = True
    """Whether none is there twice; `data.unique=false` leaves them as the rows have them."""

    def __len__(self) -> int:
        """Number of texts."""
        return int(self.lengths.shape[0])

    def in_words(self) -> str:
        """What they ask of memory: how many, of how many tokens, and how long the longest is."""
        longest = int(self.lengths.max()) if len(self) else 0
        unique = "unique " if self.unique else ""
        return f"{len(self):,} {unique}texts of {len(self.token_ids):,} tokens, the longest of {longest} tokens"


NOT_ASKED = -100
"""Target of a place where a language model predicts nothing (torch's `ignore_index`)."""


@dataclass(frozen=True)
class LanguageBatch(_OnDevice):
    """Texts as a language model reads them, and the token that it must say at each place."""

    texts: Texts
    targets: Int[Tensor, " tokens"]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)


@dataclass(frozen=True)
class FeatureNeeds:
    """What a batch must hold beside its texts, by the names of the log's columns."""

    ids: tuple[str, ...] = ()
    buckets: int = 1
    """Ids are hashed into as many."""
    numbers: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    """Fixed vectors of items, those of `images` behind the others."""
    images: tuple[str, ...] = ()
    """Those of the vectors that a vision backbone makes of pictures."""
    history: int = 0
    """Events of the shopper's past; 0: none."""
    history_ids: bool = False
    """Whether past items are told by their hashed ids, for want of texts."""

    @classmethod
    def offered(cls, node: Mapping[str, Any] | None) -> FeatureNeeds:
        """All that a data config lists under `features`."""
        found = node or {}
        return cls(
            ids=tuple(found.get("ids") or ()),
            numbers=tuple(found.get("numbers") or ()),
            vectors=tuple(found.get("vectors") or ()),
            history=int(found.get("history") or 0),
        )

    def __bool__(self) -> bool:
        """Whether anything is needed."""
        return bool(self.ids or self.numbers or self.vectors or self.history)


Delayed = Literal["drop", "negative", "model"]
"""What a row is whose label may still come: left out, a negative (wrong, a control), or part of a model of delays."""


@dataclass(frozen=True)
class ObjectiveNeeds:
    """What an objective asks for beside the tasks' logits and labels."""

    towers: tuple[str, ...] = ()
    """Logits by `KIND/TASK` (`HeadOutput.towers`)."""
    columns: tuple[str, ...] = ()
    """Of the log (`Batch.columns`)."""
    delayed: Delayed = "drop"


@dataclass(frozen=True)
class SamplingRates:
    """How often a row is drawn, by its labels: the product of the rates that it meets, 1 where nothing is named."""

    negatives: Mapping[str, float] = field(default_factory=dict)
    """Task without edges -> chance to be kept of a row without the event."""
    positives: Mapping[str, int] = field(default_factory=dict)
    """Task -> copies of a row on which it happened (all its edges hold)."""

    def __bool__(self) -> bool:
        """Whether any row is drawn unequally."""
        return any(rate != 1 for rate in (*self.negatives.values(), *self.positives.values()))


@dataclass(frozen=True)
class Batch(_OnDevice):
    """Whole requests, as tensors only. Impressions point into the unique texts by index."""

    texts: Texts
    text_of_row: Mapping[str, Int[Tensor, " rows"]]
    """Index into `texts` per row: keys `query` and `item` where they are encoded apart (twin), `pair` (cross), neither
    where there are no texts.
    """
    labels: Mapping[str, Float[Tensor, " rows"]]
    """Per task, by name: 0 or 1, the number of a level, or a value. Outside a task's space it says nothing."""
    observed: Mapping[str, Float[Tensor, " rows"]]
    """1 where the task is observed (every edge on the way to it holds), else 0."""
    request: Int[Tensor, " rows"]
    row: Int[Tensor, " rows"]
    """Row number in the store: predictions find their way home by it."""
    step_rows: float | None = None
    """Rows of the whole optimizer step: over all ranks and all accumulated batches. None: this batch is the step."""
    step_observed: Mapping[str, float] = field(default_factory=dict)
    """Observed rows per task of the whole optimizer step, likewise."""
    unit: Int[Tensor, " rows"] | None = None
    """Which unit of a privacy guarantee a row belongs to, numbered within the batch; None where there is none."""
    ids: Int[Tensor, "rows ids"] | None = None
    """Buckets of hashed ids, in the order of `FeatureNeeds.ids`."""
    numbers: Float[Tensor, "rows numbers"] | None = None
    vectors: Float[Tensor, "rows vector_width"] | None = None
    """Fixed vectors of the row's item, side by side."""
    history: Int[Tensor, "rows events"] | None = None
    """Past items, the latest first, -1 behind the last: an index into `texts`, or buckets (`history_ids`)."""
    candidate: Int[Tensor, " rows"] | None = None
    """The bucket of the row's own item, with `history_ids`."""
    columns: Mapping[str, Float[Tensor, " rows"]] = field(default_factory=dict)
    """Further columns of the log that an objective asks for: `position`, a propensity, `oracle_p_click`; of a task with
    a window, `elapsed_TASK` and `delay_TASK` in days (a delay only where the event came).
    """
    known: Mapping[str, Float[Tensor, " rows"]] = field(default_factory=dict)
    """Of tasks whose label comes late: 1 where the label is final, 0 where it may still come. Absent: all are final.
    `observed` is 0 where a label is not known.
    """
    step_known: Mapping[str, float] = field(default_factory=dict)
    """Rows of the whole optimizer step whose label is final, for the tasks of `known`."""
    weight: Float[Tensor, " rows"] | None = None
    """What a row stands for, where rows were drawn unequally: 1 / its expected copies. None: 1 each."""
    rates: SamplingRates | None = None
    """How rows were drawn by their labels, where no weight makes up for it: the loss is then that of the drawn rows'
    own distribution.
    """

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.row.shape[0])

    def count(self, task: str | None = None) -> float:
        """The denominator of a mean over the optimizer step: all rows, or the rows where `task` is observed.

        Never below 1, so that a step without a click has a zero loss, not an undefined one.
        """
        if task is None:
            return max(1.0, self._local(None) if self.step_rows is None else self.step_rows)
        return max(1.0, self._local(self.observed[task]) if self.step_rows is None else self.step_observed[task])

    def count_known(self, task: str) -> float:
        """Likewise the rows of the entire space whose label is final."""
        if task not in self.known:
            return self.count()
        return max(1.0, self._local(self.known[task]) if self.step_rows is None else self.step_known[task])

    def weighed(self, values: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """Values of rows, times what each row stands for."""
        return values if self.weight is None else values * self.weight

    def _local(self, mask: Tensor | None) -> float:
        if mask is None:
            return float(len(self)) if self.weight is None else float(self.weight.sum())
        return float(self.weighed(mask).sum())


@dataclass(frozen=True)
class HeadOutput:
    """One logit per binary task and row, each tagged with its space.

    `conditional`: logit of p(task | its edges), over the entire space (ESMM). `marginal`: logit of p(task and its
    edges) (AITM). An ordinal task of K levels has K - 1 logits of p(level > k), a multiclass one K logits, a regression
    its mean; these are conditional.
    """

    logits: Mapping[str, Float[Tensor, rows * outputs]]
    spaces: Mapping[str, Space]
    towers: Mapping[str, Float[Tensor, " rows"]] = field(default_factory=dict)
    """What an objective asked for beside the tasks, by `KIND/TASK`: logits of imputed losses, counterfactuals, ..."""
    gates: Mapping[str, Float[Tensor, "rows experts"]] = field(default_factory=dict)
    """Weights of a mixture's gates, to be looked at; each row sums to 1."""
    penalties: Mapping[str, Float[Tensor, " rows"]] = field(default_factory=dict)
    """Terms of a head's own, row by row, weighted as the paper does: their mean over all rows joins the loss."""


@dataclass(frozen=True)
class LossTerms:
    """A loss per task: its sum over this batch's rows divided by the optimizer step's count of such rows.

    `share` of the step: the terms of all ranks and accumulated batches *add up* to the step's loss.
    """

    terms: Mapping[str, Float[Tensor, ""]]
    notes: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    """What is worth a look in how the terms came about (clipped weights, a propensity's mean); no part of the loss."""

    def total(self, weights: Mapping[str, float] | None = None) -> Float[Tensor, ""]:
        """The weighted sum of the terms (weight 1 where none is named)."""
        return torch.stack([term * (weights or {}).get(name, 1.0) for name, term in self.terms.items()]).sum()


@dataclass(frozen=True)
class LogProbabilities:
    """Per binary task: log p(task | edges) and log p(task and all edges on the way)."""

    conditional: Mapping[str, Float[Tensor, " rows"]]
    joint: Mapping[str, Float[Tensor, " rows"]]


def log_probabilities(output: HeadOutput, funnel: TaskFunnel) -> LogProbabilities:
    """Convert logits of either space into conditional and joint log-probabilities, exactly and in float32.

    A conditional logit gives the joint by a sum of log-probabilities along the way to the task (ESMM, Ma et al. 2018,
    eq. 1; the sum does not underflow where a product of rare events would); a marginal one gives the conditional by the
    difference, cut at 0 because separate towers need not agree that p(purchase) <= p(click).
    """
    conditional: dict[str, Tensor] = {}
    joint: dict[str, Tensor] = {}
    for task in funnel.binary:
        logit = output.logits[task.name].float()
        way = torch.zeros_like(logit)
        for edge in funnel.way_to(task.name):
            log_p = conditional[edge.name]
            way = way + (log_p if edge.holds else log1mexp(log_p))
        if output.spaces[task.name] == "conditional":
            conditional[task.name] = F.logsigmoid(logit)
            joint[task.name] = conditional[task.name] + way
        else:
            joint[task.name] = F.logsigmoid(logit)
            conditional[task.name] = (joint[task.name] - way).clamp(max=0.0)
    return LogProbabilities(conditional, joint)


def level_log_probabilities(logits: Float[Tensor, "rows outputs"], task: Task) -> Float[Tensor, "rows levels"]:
    """Log p(level | edges) of an ordinal or multiclass task.

    Ordinal: p(level = k) = p(level > k - 1) - p(level > k) from cumulative logits that fall in k (proportional odds,
    McCullagh 1980), as s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)), which is exact in both tails. Multiclass: softmax.
    """
    logits = logits.float()
    if task.kind == "multiclass":
        return F.log_softmax(logits, dim=-1)
    above, below = F.logsigmoid(logits), F.logsigmoid(-logits)
    between = above[:, :-1] + below[:, 1:] + log1mexp((logits[:, 1:] - logits[:, :-1]).clamp(max=0.0))
    return torch.cat([below[:, :1], between, above[:, -1:]], dim=-1)


def predictions(output: HeadOutput, funnel: TaskFunnel) -> dict[str, Float[Tensor, " rows"]]:
    """What is kept of a row, by `TaskFunnel.predicted`: the *logarithm* of each `p_...`, each `mean_...` as it is."""
    binary = log_probabilities(output, funnel)
    found: dict[str, Tensor] = {}
    for task in funnel.tasks:
        if task.binary:
            found[f"p_{task.conditional}"] = binary.conditional[task.name]
            found[f"p_{task.joint}"] = binary.joint[task.name]
        elif task.has_levels:
            found |= dict(
                zip(task.predicted, level_log_probabilities(output.logits[task.name], task).unbind(-1), strict=True)
            )
        else:
            found[task.predicted[0]] = output.logits[task.name].float()
    return found


def log1mexp(log_p: Float[Tensor, rows * levels]) -> Float[Tensor, rows * levels]:
    """log(1 - exp(log_p)) for log_p <= 0, stable at both ends (Maechler 2012); finite gradient at log_p = 0.

    At log_p > -1e-7 the complement is below float32's resolution; it is cut there.
    """
    log_p = log_p.clamp(max=-1e-7)
    small = log_p > -0.6931472
    # Each branch sees a harmless value where the other one is taken: torch.where sends NaN gradients otherwise.
    near = torch.log(-torch.expm1(torch.where(small, log_p, torch.full_like(log_p, -0.5))))
    far = torch.log1p(-torch.exp(torch.where(small, torch.full_like(log_p, -1.0), log_p)))
    return torch.where(small, near, far)
