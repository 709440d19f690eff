"""Which requests train, validate and test: by time, by user, by query, at random, with items held back, in folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.data.store import LogStore
from funneltune.errors import ConfigError, DataError

By = Literal["time", "request", "user", "query", "item_cold", "column"]
SPLITS = ("train", "validation", "test")
IN_FOLDS: tuple[By, ...] = ("request", "user", "query")
Requests = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """How a log is cut. Whole requests always stay together.

    `time`: the last requests test, those before them validate. `request`, `user`, `query`: drawn at random; no user or
    query lies in two splits. `item_cold`: a share of the items is held back, so that the test's items are unseen: a
    request that shows a held-back test item tests, one that shows a held-back validation item validates, and only
    requests without either train (on pages of many items that leaves few; lower the shares). `column`: a categorical
    column of the log says `train`, `validation` or `test`, the same for all rows of a request; where it says
    `validation` of none, that share of the training requests is drawn at random.

    With `folds` the cut is one of a cross-validation: the requests (users, queries) are shuffled by `seed` and dealt
    into that many parts of equal size (one more or less); part `fold` tests, a share `validation` of the others
    validates, the rest trains. Over all folds each request (user, query) tests exactly once.

    Args:
        by: The rule.
        validation: Share of requests (users, queries, items); with folds, of those that do not test.
        test: Likewise; not used with folds.
        seed: Of the drawing; time and column need none.
        column: The column, where `by` is column.
        folds: Parts of a cross-validation, 2 or more; None: one cut by the shares.
        fold: The part that tests, from 0.

    Raises:
        ConfigError: if the shares leave nothing to train on, or the folds do not fit the rule.
    """

    by: By = "time"
    validation: float = 0.07
    test: float = 0.15
    seed: int = 0
    column: str | None = None
    folds: int | None = None
    fold: int = 0

    def __post_init__(self) -> None:
        """Check the rule and the shares."""
        if self.by not in get_args(By):
            raise ConfigError(f"data.split.by={self.by!r} must be one of {', '.join(get_args(By))}.")
        if (self.by == "column") != (self.column is not None):
            raise ConfigError(f"data.split.by={self.by} and column={self.column!r} do not fit; give both or neither.")
        if self.folds is not None or self.fold != 0:
            self._check_folds()
        elif not (0 < self.validation < 1 and 0 < self.test < 1 and self.validation + self.test < 1):
            raise ConfigError(
                f"data.split: validation={self.validation} and test={self.test} must each lie in (0, 1) and leave a "
                "share to train on; lower one."
            )

    def _check_folds(self) -> None:
        folds, fold = self.folds, self.fold
        if folds is None:
            raise ConfigError(
                f"data.split.fold={fold} says nothing without data.split.folds; set ++data.split.folds=5."
            )
        if self.by not in IN_FOLDS:
            raise ConfigError(
                f"data.split.by={self.by} cannot be cut into folds={folds}; set data.split.by to one of "
                f"{', '.join(IN_FOLDS)}, or leave folds out."
            )
        if type(folds) is not int or folds < 2:
            raise ConfigError(f"data.split.folds={folds!r} must be a whole number >= 2; set ++data.split.folds=5.")
        if type(fold) is not int or not 0 <= fold < folds:
            raise ConfigError(f"data.split.fold={fold!r} must be a whole number in [0, {folds}), folds={folds}.")
        if not 0 < self.validation < 1:
            raise ConfigError(
                f"data.split.validation={self.validation} must lie in (0, 1): the share of what does not test."
            )

    def cut(self, store: LogStore) -> dict[str, Requests]:
        """Request numbers of each split, in ascending order.

        Raises:
            DataError: if a split would be empty.
        """
        if self.by == "time":
            found = self._by_time(store)
        elif self.by == "item_cold":
            found = self._by_item(store)
        elif self.by == "column":
            found = self._by_column(store)
        else:
            found = self._by_group(np.arange(store.n_requests) if self.by == "request" else store.of_requests(self.by))
        for name in SPLITS:
            if not len(found[name]):
                raise DataError(
                    f"data.split.by={self.by} leaves no request for {name} out of {store.n_requests}; "
                    "change the shares or the rule."
                )
        return found

    def _by_time(self, store: LogStore) -> dict[str, Requests]:
        if not store.has("time"):
            raise DataError("data.split.by=time, but the log has no time column; map one, or split by request.")
        order = np.argsort(store.of_requests("time"), kind="stable")
        n_test, n_validation = round(len(order) * self.test), round(len(order) * self.validation)
        last = len(order) - n_test
        return {
            "train": np.sort(order[: last - n_validation]),
            "validation": np.sort(order[last - n_validation : last]),
            "test": np.sort(order[last:]),
        }

    def _drawn(self, n: int) -> NDArray[np.int8]:
        """Per group: 0 train, 1 validation, 2 test."""
        order = np.random.default_rng(self.seed).permutation(n)
        kind = np.zeros(n, dtype=np.int8)
        if self.folds is not None:
            if n < self.folds:
                raise DataError(f"data.split.folds={self.folds} is more than the log's {n} of {self.by}; lower it.")
            parts = np.array_split(order, self.folds)
            # The parts behind the tested one, in a ring: what validates differs between folds too.
            rest = np.concatenate([*parts[self.fold + 1 :], *parts[: self.fold]])
            kind[parts[self.fold]] = 2
            kind[rest[: max(1, round(len(rest) * self.validation))]] = 1
            return kind
        n_test, n_validation = round(n * self.test), round(n * self.validation)
        kind[order[:n_test]] = 2
        kind[order[n_test : n_test + n_validation]] = 1
        return kind

    def _by_group(self, member: NDArray[np.int64]) -> dict[str, Requests]:
        groups, index = np.unique(member, return_inverse=True)
        kind = self._drawn(len(groups))[index]
        return {name: np.flatnonzero(kind == code) for code, name in enumerate(SPLITS)}

    def _by_column(self, store: LogStore) -> dict[str, Requests]:
        name = str(self.column)
        words = store.manifest["notes"].get("categories", {}).get(name)
        if words is None:
            raise DataError(f"data.split.column={name!r} is no categorical column of the log; list it there.")
        odd = sorted(set(words) - set(SPLITS))
        if odd:
            raise DataError(f"data.split.column={name!r} holds {odd[0]!r}; it must be one of {', '.join(SPLITS)}.")
        code = store.column(name)
        starts = store.request_offsets[:-1]
        if (np.minimum.reduceat(code, starts) != np.maximum.reduceat(code, starts)).any():
            raise DataError(f"data.split.column={name!r} changes within a request; whole requests stay together.")
        found = {
            split: np.flatnonzero(code[starts] == words.index(split)) if split in words else np.zeros(0, np.int64)
            for split in SPLITS
        }
        if not len(found["validation"]):
            order = np.random.default_rng(self.seed).permutation(found["train"])
            drawn = round(len(order) * self.validation)
            found |= {"validation": np.sort(order[:drawn]), "train": np.sort(order[drawn:])}
        return found

    def _by_item(self, store: LogStore) -> dict[str, Requests]:
        items, index = np.unique(store.column("item"), return_inverse=True)
        kind = np.maximum.reduceat(self._drawn(len(items))[index], store.request_offsets[:-1])
        return {name: np.flatnonzero(kind == code) for code, name in enumerate(SPLITS)}


class Whole(Split):
    """No split: every request is predicted."""

    def cut(self, store: LogStore) -> dict[str, Requests]:
        """No part."""
        return {}


def shared(requests: Requests, share: float, seed: int) -> Requests:
    """A share of some requests, at least one, drawn by a seed."""
    kept = np.random.default_rng((seed, 1)).permutation(requests)[: max(1, round(len(requests) * share))]
    return np.sort(kept)
