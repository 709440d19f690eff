"""From what a shopper did to the category that it buys from next: a conditional logit, calibrated.

Legend: n moments, C categories, K attributes of a category for a shopper, E events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from funneltune.backbones import Encoder
from funneltune.data.next_labels import Events
from funneltune.decisions.need.log import Floats, Integers, Log, Moments, counts_before, one_hot
from funneltune.decisions.scorer import Scorer
from funneltune.metrics.levels import row_level_losses

HALF_LIFE = 14.0
"""Days after which an event counts half, beside the plain counts."""
PSEUDO = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Events' worth of prior that a shopper's own shares are mixed with; validation moments choose."""
SHARE = 5.0
"""The same in the attribute that the logit reads."""
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Strengths of the ridge; chosen likewise."""
FLOOR = 0.01
"""Share of the prior in every prediction: a category that the training never saw keeps a chance."""
MOST = 20_000
"""Training moments that are read, drawn evenly from all: a dozen coefficients need no more."""


class History:
    """What each shopper had done by a time, category by category.

    Args:
        log: The events.
        scorer: Whose vectors of items and queries are used where the run reads texts.
    """

    def __init__(self, log: Log, scorer: Scorer) -> None:
        self.log, self.scorer = log, scorer

    @property
    def reads_texts(self) -> bool:
        """Whether items and searches have vectors."""
        return isinstance(self.scorer.module.encoder, Encoder)

    @property
    def names(self) -> list[str]:
        """(K,) what the attributes are; the prior's is added by the model."""
        found = ["own share", "bought", "bought lately", "clicked", "clicked lately"]
        return found + (["searched", "searched lately", "likeness of clicks"] if self.reads_texts else [])

    def of_words(self, words: list[str]) -> Floats:
        """(words, C): how near words are to each category's items, as a distribution.

        Cosines with the categories' mean item vectors, standardised over the categories, through a softmax. No label is
        used, so that a search tells nothing of what was bought after it.
        """
        z = _unit(np.asarray(self.scorer.query_vectors(words), dtype=np.float64) - self._centre) @ self._categories.T
        z = (z - z.mean(axis=1, keepdims=True)) / np.maximum(z.std(axis=1, keepdims=True), 1e-9)
        return _softmax(2.0 * z)

    def own_counts(self, user: Integers, time: Floats) -> Floats:
        """(n, C): what each clicked and bought before, a purchase as another event."""
        counted = (self._counted(of, user, time, np.inf) for of in (self.log.clicked, self.log.bought))
        return np.asarray(sum(counted))

    def attributes(self, user: Integers, time: Floats, prior: Floats, said: Floats | None = None) -> Floats:
        """(n, C, K) in the order of `names`: log-shares and log-counts, plain and decayed by `HALF_LIFE`.

        `said`: (n, C) a search of this very moment, as `of_words` has it, that counts as the past.
        """
        log = self.log
        found = [np.log(own_shares(self.own_counts(user, time), prior, SHARE))]
        for events in (log.bought, log.clicked):
            found += [np.log1p(self._counted(events, user, time, h)) for h in (np.inf, HALF_LIFE)]
        if self.reads_texts:
            for half_life in (np.inf, HALF_LIFE):
                searched = counts_before(log.searched, self._searches, user, time, half_life)
                found.append(np.log1p(searched if said is None else searched + said))
            alike = counts_before(log.clicked, self._likeness[log.clicked.item], user, time)
            clicks = self._counted(log.clicked, user, time, np.inf).sum(axis=1, keepdims=True)
            found.append(alike / (clicks + 1.0))
        return np.stack(found, axis=2)

    def _counted(self, events: Events, user: Integers, time: Floats, half_life: float) -> Floats:
        weight = one_hot(self.log.category[events.item], len(self.log.names))
        return counts_before(events, weight, user, time, half_life)

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.asarray(self.scorer.item_vectors, dtype=np.float64).mean(axis=0)
        return mean

    @cached_property
    def _categories(self) -> NDArray[np.float64]:
        """(C, width) the mean vector of each category's items, of unit length."""
        of = self.log.category
        vectors = np.asarray(self.scorer.item_vectors, dtype=np.float64) - self._centre
        return _unit(np.stack([vectors[of == c].mean(axis=0) for c in range(len(self.log.names))]))

    @cached_property
    def _likeness(self) -> Floats:
        """(items, C) cosines."""
        vectors = np.asarray(self.scorer.item_vectors, dtype=np.float64) - self._centre
        return np.asarray(_unit(vectors) @ self._categories.T)

    @cached_property
    def _searches(self) -> Floats:
        """(E, C) of the logged searches, each text read once."""
        data = self.scorer.assembly.data
        words, place = np.unique(data.store.text("queries", data.texts["query"]), return_inverse=True)
        return self.of_words(words.tolist())[place[self.log.searched.item]]


@dataclass(frozen=True)
class Need:
    """A fitted model of the next category: p(c) ~ exp((b_0 log prior_c + sum_k b_k x_kc) / temperature)."""

    prior: Floats
    """(C,) of the training labels, half a purchase added to each."""
    scale: Floats
    """(K,) standard deviation of each attribute on the training moments."""
    weights: Floats
    """(1 + K,): of the log prior, then of the attributes over their scale."""
    temperature: float
    """Above 1: the training made it too sure."""
    penalty: float
    pseudo: float

    def of(self, attributes: Floats) -> Floats:
        """(n, C)."""
        return cooled(self.utility(attributes), self.temperature, self.prior)

    def own(self, counts: Floats) -> Floats:
        """(n, C): the shares of what each did before, mixed with the prior."""
        return own_shares(counts, self.prior, self.pseudo)

    def utility(self, attributes: Floats) -> Floats:
        """(n, C)."""
        return np.asarray(self.weights[0] * np.log(self.prior) + (attributes / self.scale) @ self.weights[1:])


def prior_of(told: Moments, categories: int) -> Floats:
    """(C,): shares of the purchases that moments lead to, half a purchase added to each."""
    bought = np.bincount(told.need, weights=shared_weights(told), minlength=categories) + 0.5
    return np.asarray(bought / bought.sum())


def fit(
    prior: Floats, train: tuple[Floats, Moments], validation: tuple[Floats, Moments], counts: Floats | None = None
) -> Need:
    """The conditional logit (McFadden 1974) of the training moments, its coefficients the same for every category, with
    the ridge and the temperature (Guo et al. 2017) that do best on the validation moments.

    Moments that lead to one purchase share a weight of 1, in both.

    Args:
        prior: (C,) of the training moments.
        train: (n, C, K) attributes and the moments.
        validation: Likewise.
        counts: (n, C) of the validation moments, to choose how much prior own shares are mixed with; None: the most.
    """
    attributes, told = train
    scale = np.maximum(attributes.std(axis=(0, 1)), 1e-9)
    read = np.concatenate([np.broadcast_to(np.log(prior), attributes.shape[:2])[..., None], attributes / scale], axis=2)
    weight = shared_weights(told)
    best: tuple[float, Need] | None = None
    for penalty in PENALTIES:
        plain = Need(prior, scale, _coefficients(read, told.need, weight, penalty), 1.0, penalty, PSEUDO[-1])
        temperature, loss = temperature_of(plain.utility(validation[0]), prior, validation[1])
        if best is None or loss < best[0]:
            best = (loss, replace(plain, temperature=temperature))
    assert best is not None
    if counts is None:
        return best[1]
    losses = {m: _loss(own_shares(counts, prior, m), validation[1]) for m in PSEUDO}
    return replace(best[1], pseudo=min(losses, key=lambda m: losses[m]))


def temperature_of(utility: Floats, prior: Floats, told: Moments) -> tuple[float, float]:
    """The temperature that does best on some moments, and their loss under it; `utility` is (n, C)."""
    found = minimize_scalar(
        lambda log_t: _loss(cooled(utility, float(np.exp(log_t)), prior), told), bounds=(-1.5, 3.0), method="bounded"
    )
    return float(np.exp(found.x)), float(found.fun)


def cooled(utility: Floats, temperature: float, prior: Floats) -> Floats:
    """(n, C): p(c) ~ exp(utility_c / temperature), with `FLOOR` of the prior."""
    return mixed(_softmax(utility / temperature), prior)


def _loss(p: Floats, told: Moments) -> float:
    """Log loss, moments that lead to one purchase sharing a weight of 1."""
    return float(np.average(row_level_losses(told.need, p), weights=shared_weights(told)))


def own_shares(counts: Floats, prior: Floats, pseudo: float) -> Floats:
    """(n, C): a shopper's shares with `pseudo` events of the prior added (a Dirichlet prior's mean)."""
    return np.asarray((counts + pseudo * prior) / (counts.sum(axis=1, keepdims=True) + pseudo))


def mixed(p: NDArray[np.float64], prior: Floats) -> Floats:
    """With `FLOOR` of the prior."""
    return np.asarray((1.0 - FLOOR) * p + FLOOR * prior)


def shared_weights(told: Moments) -> Floats:
    """(n,) 1 over the moments that lead to the same purchase: runs of one shopper's moments with one next item."""
    order = np.lexsort((told.time, told.user))
    new = np.ones(len(told), dtype=bool)
    new[1:] = (told.user[order][1:] != told.user[order][:-1]) | (told.item[order][1:] != told.item[order][:-1])
    purchase = np.cumsum(new) - 1
    weight = np.empty(len(told))
    weight[order] = 1.0 / np.bincount(purchase)[purchase]
    return weight


def _coefficients(read: Floats, label: Integers, weight: Floats, penalty: float) -> Floats:
    """(1 + K,): most likely coefficients, held near those of the prior alone (1, 0, 0, ...)."""
    rows, start = np.arange(len(label)), np.eye(read.shape[2])[0]
    share = weight / weight.sum()

    def loss(b: Floats) -> tuple[float, Floats]:
        p = _softmax(read @ b)
        error = p.copy()
        error[rows, label] -= 1.0
        value = -float(share @ np.log(np.maximum(p[rows, label], 1e-300))) + penalty * float(((b - start) ** 2).sum())
        return value, np.einsum("n,nc,nck->k", share, error, read, optimize=True) + 2.0 * penalty * (b - start)

    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


def _softmax(logits: Floats) -> Floats:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
