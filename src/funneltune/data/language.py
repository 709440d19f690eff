"""What a language model is trained on before any label: the log's texts, what it is shown of them, what it must say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data.collate import Specials
from funneltune.data.datamodule import LogDataModule
from funneltune.data.store import Side, require_known
from funneltune.errors import ConfigError, DataError
from funneltune.schema import NOT_ASKED, LanguageBatch, Texts

Tokens = NDArray[np.int64]
Objective = Literal["mlm", "clm"]
TextSide = Literal["items", "queries"]
KEYS = {"items": "item", "queries": "query"}
"""A side of the log -> its key in `data.texts`."""
AS_MASK, AS_OTHER = 0.8, 0.1
"""Of the tokens to predict, those shown as [MASK] and as any token (Devlin et al. 2019, section 3.1)."""
HELD_OUT = 0
"""The epoch whose masks held-out texts always have: losses before and after are of the same tokens."""


@dataclass(frozen=True)
class Pretraining:
    """Language modelling on a log's texts before fine-tuning (Gururangan et al. 2020: domain-adaptive pretraining).

    Args:
        objective: `mlm` predicts hidden tokens (encoders), `clm` each next one (decoders).
        texts: Whose texts are read: `items`, `queries`. Queries are those of training requests alone.
        catalogue: `whole`: the texts of all items, which a shop has before they sell; `training`: of items that
            training requests show.
        mask_share: Of the tokens that are predicted; special tokens never are.
        validation: Share of the texts that are held out; which ones depends on the seed and the text alone.
        epochs: Passes over the texts.
        steps: Most optimizer steps; None: as many as the epochs have.
        texts_per_batch: Texts of a batch.
        learning_rate: Of the backbone; None: the tuning method's own.

    Raises:
        ConfigError: if a value is out of range.
    """

    objective: Objective = "mlm"
    texts: Sequence[TextSide] = ("items", "queries")
    catalogue: Literal["whole", "training"] = "whole"
    mask_share: float = 0.15
    validation: float = 0.1
    epochs: int = 5
    steps: int | None = None
    texts_per_batch: int = 64
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        """Check words and ranges."""
        texts = list(self.texts) if isinstance(self.texts, Sequence) and not isinstance(self.texts, str) else []
        positive = (int, float)
        for field, right, rule in (
            ("objective", self.objective in get_args(Objective), "must be mlm or clm"),
            ("texts", bool(texts) and set(texts) <= set(KEYS), "must list items, queries or both"),
            ("catalogue", self.catalogue in ("whole", "training"), "must be whole or training"),
            ("mask_share", _in_range(self.mask_share, 0, 1), "must lie in (0, 1); BERT takes 0.15"),
            ("validation", _in_range(self.validation, 0, 1), "must lie in (0, 1)"),
            ("epochs", _is_count(self.epochs), "must be a whole number >= 1"),
            ("steps", self.steps is None or _is_count(self.steps), "must be a whole number >= 1, or null"),
            ("texts_per_batch", _is_count(self.texts_per_batch), "must be a whole number >= 1"),
            (
                "learning_rate",
                self.learning_rate is None or (isinstance(self.learning_rate, positive) and self.learning_rate > 0),
                "must be above 0, or null for the tuning method's own",
            ),
        ):
            if not right:
                raise ConfigError(f"pretraining.{field}={getattr(self, field)!r} {rule}.")


def _in_range(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and low < value < high


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


# --- which texts ---------------------------------------------------------------------------------------------------


def pretraining_texts(data: LogDataModule, plan: Pretraining) -> list[Tokens]:
    """The token ids of every distinct text that may be read before training, without special tokens.

    Items' texts come from the catalogue, items that only the test shows included (`catalogue=whole`): a shop has them
    before it has a click. Queries come from training requests alone: what is asked tomorrow is not known today.

    Raises:
        ConfigError: if the log has no such texts, or the tokenizer does not know its language.
    """
    found: dict[bytes, Tokens] = {}
    room = data.max_tokens - len(_around(Specials.of(data.tokenizer)))
    for side in plan.texts:
        template = data.texts.get(KEYS[side])
        if template is None:
            raise ConfigError(
                f"pretraining.texts={list(plan.texts)}: data.texts has no {KEYS[side]!r}; leave {side} out."
            )
        table = data.store.tokens(side, template, data.tokenizer, data.max_tokens)
        require_known({side: table}, data.tokenizer, data.max_unknown)
        for number in _numbers(data, side, plan).tolist():
            ids = table.ids[table.offsets[number] : table.offsets[number + 1]][:room].astype(np.int64)
            if len(ids):
                found.setdefault(ids.tobytes(), ids)
    return list(found.values())


def _numbers(data: LogDataModule, side: Side, plan: Pretraining) -> Tokens:
    """Which rows of a side's table may be read."""
    if side == "items" and plan.catalogue == "whole":
        return np.arange(data.store.table("items").num_rows)
    column = "item" if side == "items" else "query"
    seen = [
        np.unique(data.store.column(column)[rows]) for rows in data.store.row_parts(np.sort(data.requests("train")))
    ]
    return np.unique(np.concatenate(seen)).astype(np.int64)


def hold_out(texts: Sequence[Tokens], share: float, seed: int) -> tuple[list[Tokens], list[Tokens]]:
    """Texts to train on, and texts to measure on. Each text's lot is its own, whatever else there is.

    Raises:
        DataError: if either part is empty.
    """
    parts: tuple[list[Tokens], list[Tokens]] = ([], [])
    for ids in texts:
        parts[_number(seed, ids) / 2**64 < share].append(ids)
    if not all(parts):
        raise DataError(
            f"pretraining.validation={share} parts {len(texts)} texts into {len(parts[0])} to train on and "
            f"{len(parts[1])} to measure on; give more texts or another share."
        )
    return parts


def _number(seed: int, ids: Tokens) -> int:
    """64 bits that depend on the seed and the text."""
    return int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big") + ids.tobytes()).digest()[:8], "big")


# --- what is shown of them -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextReader:
    """Makes batches of texts for a language model.

    Args:
        objective: `mlm` or `clm`.
        specials: Tokens around a text.
        mask: The tokenizer's [MASK]; not used by clm.
        words: The tokenizer's size: other tokens are drawn below it.
        mask_share: See `Pretraining`.
        seed: Masks are a function of it, the epoch and the text.
    """

    objective: Objective
    specials: Specials
    mask: int
    words: int
    mask_share: float
    seed: int

    @classmethod
    def of(cls, tokenizer: Any, plan: Pretraining, seed: int) -> TextReader:
        """For a tokenizer.

        Raises:
            ConfigError: if it has no mask and the objective needs one.
        """
        if plan.objective == "mlm" and tokenizer.mask_token_id is None:
            raise ConfigError("pretraining.objective=mlm needs a mask token, which the tokenizer has not; take clm.")
        mask = -1 if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id)
        return cls(plan.objective, Specials.of(tokenizer), mask, len(tokenizer), plan.mask_share, seed)

    def batch(self, texts: Sequence[Tokens], epoch: int) -> LanguageBatch:
        """Texts as the model reads them, laid end to end, with what it must predict.

        `mlm`: a token of `mask_share`, drawn for each by itself, is predicted where it stands; 80% of them are shown as
        [MASK], 10% as any token, 10% as they are. `clm`: each place predicts the next, the last none.
        """
        shown, targets = zip(*(self._read(ids, epoch) for ids in texts), strict=True)
        lengths = torch.tensor([len(ids) for ids in shown])
        return LanguageBatch(
            texts=Texts(torch.from_numpy(np.concatenate(shown)), lengths, lengths),
            targets=torch.from_numpy(np.concatenate(targets)),
        )

    def _read(self, ids: Tokens, epoch: int) -> tuple[Tokens, Tokens]:
        before, after = self.specials.before, self.specials.after
        whole = np.concatenate([[] if before is None else [before], ids, [] if after is None else [after]])
        whole = whole.astype(np.int64)
        if self.objective == "clm":
            return whole, np.append(whole[1:], NOT_ASKED)
        generator = np.random.default_rng((self.seed, epoch, _number(self.seed, ids)))
        chance, kind = generator.random((2, len(ids)))
        other = generator.integers(0, self.words, len(ids))
        asked = chance < self.mask_share
        shown = np.where(asked & (kind < AS_MASK), self.mask, ids)
        shown = np.where(asked & (kind >= AS_MASK) & (kind < AS_MASK + AS_OTHER), other, shown)
        start = 0 if before is None else 1
        targets = np.full(len(whole), NOT_ASKED)
        targets[start : start + len(ids)] = np.where(asked, ids, NOT_ASKED)
        whole[start : start + len(ids)] = shown
        return whole, targets


def _around(specials: Specials) -> list[int]:
    return [token for token in (specials.before, specials.after) if token is not None]
