"""From a question to its passages, how sure one may be that they answer, and what the question is after.

Legend: P passages, C candidates of a question, W the width of a vector, F features of a confidence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data import LexicalIndex
from funneltune.decisions.assist.passages import Passages
from funneltune.decisions.candidates.hybrid import standardised
from funneltune.decisions.candidates.protocol import best
from funneltune.decisions.candidates.semantic import unit
from funneltune.decisions.scorer import Scorer
from funneltune.metrics.selective import Threshold

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
WAYS = ("hybrid", "semantic", "lexical")
DEPTH = 100
"""Passages that each way of finding brings into the fusion."""
_WORD = re.compile(r"\w+")
CANDIDATES = 20
"""Passages of a question that are looked at closely."""


@dataclass(frozen=True)
class Retrieved:
    """The candidates of one question."""

    numbers: Integers
    """(C,) passages, best first by the way that found them."""
    evidence: Floats
    """(C, F) what speaks for each."""


@dataclass(frozen=True)
class Answered:
    """What is said to one question."""

    question: str
    intent: str
    """Empty where no intents were learnt."""
    intent_chance: float
    confidence: float
    """That the first passage answers it; NaN where nothing was calibrated."""
    answered: bool
    numbers: Integers
    """Passages, best first; shown as suggestions where it is not answered."""
    scores: Floats
    """Of each, the chance that it answers."""


class Reader:
    """A run's encoder, which reads each text once: most of what an assistant takes is reading.

    Args:
        scorer: The run.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._read: dict[str, NDArray[np.float32]] = {}

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, W)."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._read]:
            self._read.update(zip(new, self.scorer.query_vectors(new), strict=True))
        return np.stack([self._read[text] for text in texts])


class Finder:
    """Passages by words, by meaning, or by both.

    Args:
        scorer: The run whose encoder reads questions and passages.
        passages: What is searched.
        way: `lexical` (BM25), `semantic` (cosine), or `hybrid`: the sum of both, each standardised over the candidates.

    Raises:
        ConfigError: if the run reads no text.
    """

    def __init__(self, scorer: Scorer, passages: Passages, way: str = "hybrid") -> None:
        self.reader, self.passages, self.way = Reader(scorer), passages, way
        self.index = LexicalIndex(passages.read)
        extra = passages.read[len(scorer.catalogue) :]
        vectors = [scorer.item_vectors, self.reader.vectors(extra)] if extra else [scorer.item_vectors]
        self.vectors = unit(np.concatenate(vectors))
        alone = unit(self.reader.vectors(passages.texts[len(scorer.catalogue) :])) if extra else self.vectors[:0]
        self.own = np.concatenate([self.vectors[: len(scorer.catalogue)], alone])
        self.words = [_WORD.findall(text.lower()) or [text] for text in passages.texts]
        vocabulary = sorted({word for words in self.words for word in words})
        self.number = {word: place for place, word in enumerate(vocabulary)}
        self.of_word = unit(self.reader.vectors(vocabulary))

    def by(self, way: str) -> Finder:
        """The same passages found another way: nothing is read again."""
        other = copy(self)
        other.way = way
        return other

    def find(self, questions: Sequence[str]) -> tuple[list[Retrieved], NDArray[np.float32]]:
        """Each question's candidates; and the questions' vectors, (n, W)."""
        read = self.reader.vectors(questions)
        near = unit(read)
        cosines, own = (near @ vectors.T for vectors in (self.vectors, self.own))
        words = [self.index.scores(text) for text in questions]
        numbers = [self._candidates(cosine.astype(np.float64), of) for cosine, of in zip(cosines, words, strict=True)]
        left = [
            [self._beside_title(text, int(item)) for item in self.passages.items[some]]
            for text, some in zip(questions, numbers, strict=True)
        ]
        distinct = sorted({text for some in left for text in some})
        vector = dict(zip(distinct, unit(self.reader.vectors(distinct)), strict=True))
        found = []
        for row, some in enumerate(numbers):
            beside = np.array(
                [self._served(vector[text], int(number)) for text, number in zip(left[row], some, strict=True)]
            )
            length = max(len(questions[row].split()), 1)
            found.append(Retrieved(some, self._evidence(cosines[row], own[row], words[row] / length, beside, some)))
        return found, read

    def _candidates(self, cosine: Floats, words: Floats) -> Integers:
        k = min(CANDIDATES, len(cosine))
        if self.way == "semantic":
            return best(cosine, k)[0]
        if self.way == "lexical":
            return best(words, k)[0]
        depth = min(DEPTH, len(cosine))
        both = np.union1d(best(cosine, depth)[0], best(words, depth, words > 0)[0])
        both = both[both >= 0]
        fused = standardised(cosine[both]) + standardised(words[both])
        return np.asarray(both[best(fused, min(k, len(both)))[0]])

    def _beside_title(self, text: str, item: int) -> str:
        """What a question asks beside naming the item: its words that the title has not."""
        return " ".join(word for word in _WORD.findall(text.lower()) if word not in self.words[item]) or text

    def _served(self, beside: NDArray[np.float32], number: int) -> tuple[float, float]:
        """Cosine of what is asked beside the title with a passage, and with the nearest of its words."""
        words = self.of_word[[self.number[word] for word in self.words[number]]]
        return float(self.own[number] @ beside), float((words @ beside).max())

    def _evidence(self, cosine: Any, own: Any, words: Floats, beside: Floats, numbers: Integers) -> Floats:
        """Of each candidate: cosine with its item's title and without, BM25 per word of the question, what the question
        asks beside the title, how far each is behind the best of all, its place, and whether it is a sentence.
        """
        review = np.array([float(self.passages.is_review(int(number))) for number in numbers])
        columns = [cosine[numbers], own[numbers], words[numbers], *beside.T]
        columns += [cosine[numbers] - cosine.max(), own[numbers] - own.max(), words[numbers] - words.max()]
        columns += [*(beside - beside.max(axis=0)).T, np.arange(len(numbers)), review]
        return np.stack(columns, axis=1).astype(np.float64)


class Intents:
    """What a question is after, by a multinomial logistic regression on its vector.

    Args:
        vectors: (n, W) of labelled questions.
        labels: Their intents.
    """

    def __init__(self, vectors: NDArray[np.float32], labels: Sequence[str]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.names = sorted(set(labels))
        self.model: Any = None
        if len(self.names) > 1:
            self.model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
            self.model.fit(vectors.astype(np.float64), list(labels))

    def of(self, vectors: NDArray[np.float32]) -> tuple[list[str], Floats]:
        """Each question's most probable intent and its probability."""
        if self.model is None:
            return [self.names[0]] * len(vectors), np.ones(len(vectors))
        chances = self.model.predict_proba(vectors.astype(np.float64))
        return [str(self.model.classes_[row]) for row in chances.argmax(axis=1)], chances.max(axis=1)


class Confidence:
    """p(a candidate answers its question), by extremely randomised trees (Geurts et al. 2006) on what speaks for it and
    the question's intents.

    Args:
        evidence: (rows, F): every candidate of every labelled question.
        right: (rows,) whether it answers.
    """

    def __init__(self, evidence: Floats, right: NDArray[np.bool_]) -> None:
        from sklearn.ensemble import ExtraTreesClassifier

        self.constant = float(right.mean())
        self.model: Any = None
        if 0 < self.constant < 1:
            trees = ExtraTreesClassifier(300, min_samples_leaf=3, max_features=0.5, random_state=0)
            self.model = trees.fit(evidence, right)

    def of(self, evidence: Floats) -> Floats:
        """(rows,)."""
        if self.model is None:
            return np.full(len(evidence), self.constant)
        return np.asarray(self.model.predict_proba(evidence)[:, 1], dtype=np.float64)


class Assistant:
    """Answers with a source, or says that it has none.

    Args:
        finder: Of passages.
        threshold: From which confidence on it answers.
        intents: None: not learnt.
        confidence: None: not learnt, so that nothing is held back.
    """

    def __init__(
        self,
        finder: Finder,
        threshold: Threshold,
        intents: Intents | None = None,
        confidence: Confidence | None = None,
    ) -> None:
        self.finder, self.threshold, self.intents, self.confidence = finder, threshold, intents, confidence

    def answer(self, questions: Sequence[str], k: int = 3) -> list[Answered]:
        """What is said to each, with its k best passages."""
        found, vectors = self.finder.find(questions)
        intents, chances = ([""] * len(found), np.full(len(found), math.nan))
        if self.intents is not None:
            intents, chances = self.intents.of(vectors)
        asked = [questions, intents, chances, found, self._sure(found, vectors)]
        answers = []
        for text, intent, chance, one, sure in zip(*asked, strict=True):
            order = np.argsort(-sure, kind="stable")[:k]
            answers.append(
                Answered(
                    question=text,
                    intent=intent,
                    intent_chance=float(chance),
                    confidence=float(sure[order[0]]) if self.confidence is not None else math.nan,
                    answered=self.confidence is None or bool(sure[order[0]] >= self.threshold.value),
                    numbers=one.numbers[order],
                    scores=sure[order],
                )
            )
        return answers

    def _sure(self, found: Sequence[Retrieved], vectors: NDArray[np.float32]) -> list[Floats]:
        """Each question's candidates' confidences; their places turned round where none was learnt."""
        if self.confidence is None:
            return [-np.arange(len(one.numbers), dtype=np.float64) for one in found]
        sure = self.confidence.of(evidence_of(found, self.intents, vectors))
        return np.split(sure, np.cumsum([len(one.numbers) for one in found])[:-1])


def evidence_of(found: Sequence[Retrieved], intents: Intents | None, vectors: NDArray[np.float32]) -> Floats:
    """(rows, F): every candidate's evidence, and beside it the probabilities of its question's intents."""
    told = np.concatenate([one.evidence for one in found])
    if intents is None or intents.model is None:
        return told
    chances = intents.model.predict_proba(vectors.astype(np.float64))
    of_rows = np.repeat(np.arange(len(found)), [len(one.numbers) for one in found])
    return np.concatenate([told, chances[of_rows]], axis=1)
