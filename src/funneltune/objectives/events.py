"""Log-probabilities of events along a funnel: of all that leads to a task, and of rows that were drawn by their labels.

Given its edges, a task is taken to be independent of tasks that are not on the way to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.funnel import TaskFunnel
from funneltune.schema import LogProbabilities, SamplingRates, log1mexp


def log_way(conditional: Mapping[str, Float[Tensor, " rows"]], funnel: TaskFunnel, task: str) -> Float[Tensor, " rows"]:
    """Log-probability that everything on the way to a task holds: that its label is observed. 0 without edges."""
    way = torch.zeros_like(next(iter(conditional.values())))
    for edge in funnel.way_to(task):
        way = way + (conditional[edge.name] if edge.holds else log1mexp(conditional[edge.name]))
    return way


def joined(conditional: Mapping[str, Float[Tensor, " rows"]], funnel: TaskFunnel) -> LogProbabilities:
    """Conditional log-probabilities with the joint ones that they make."""
    joint = {name: log_p + log_way(conditional, funnel, name) for name, log_p in conditional.items()}
    return LogProbabilities(dict(conditional), joint)


def outcomes(funnel: TaskFunnel) -> list[dict[str, bool | None]]:
    """Every combination of labels of the binary tasks; None where a task is not observed."""
    found: list[dict[str, bool | None]] = [{}]
    for task in funnel.binary:
        grown = []
        for labels in found:
            holds = all(labels[edge.name] is edge.holds for edge in funnel.way_to(task.name))
            grown += [{**labels, task.name: label} for label in ((False, True) if holds else (None,))]
        found = grown
    return found


def copies(labels: Mapping[str, bool | None], funnel: TaskFunnel, rates: SamplingRates) -> float:
    """How often a row with these labels is drawn, in expectation."""
    number = 1.0
    for task in funnel.binary:
        if labels[task.name]:
            number *= rates.positives.get(task.name, 1)
        elif labels[task.name] is False and not task.given:
            number *= rates.negatives.get(task.name, 1.0)
    return number


def resampled(predicted: LogProbabilities, funnel: TaskFunnel, rates: SamplingRates) -> LogProbabilities:
    """Of rows drawn by their labels: p_s(labels) = p(labels) copies(labels) / sum over labels of the same.

    With clicks alone and negatives kept at rate r, the logit moves by -log r exactly (King and Zeng 2001). A loss on
    these is the likelihood of the drawn rows, and what the head itself gives stays the probability in the log.
    """
    conditional = predicted.conditional
    combinations = outcomes(funnel)
    scores = []
    for labels in combinations:
        score = torch.full_like(next(iter(conditional.values())), math.log(copies(labels, funnel, rates)))
        for name, label in labels.items():
            if label is not None:
                score = score + (conditional[name] if label else log1mexp(conditional[name]))
        scores.append(score)
    drawn = torch.stack(scores)

    def log_sum(chosen: Sequence[bool]) -> Tensor:
        return torch.logsumexp(drawn[[number for number, take in enumerate(chosen) if take]], dim=0)

    everything = log_sum([True] * len(combinations))
    found: dict[str, Tensor] = {}
    joint: dict[str, Tensor] = {}
    for task in funnel.binary:
        happened = log_sum([labels[task.name] is True for labels in combinations])
        observed = log_sum([labels[task.name] is not None for labels in combinations])
        found[task.name] = (happened - observed).clamp(max=0.0)
        joint[task.name] = (happened - everything).clamp(max=0.0)
    return LogProbabilities(found, joint)
