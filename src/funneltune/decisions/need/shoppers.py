"""What some shoppers need next, as rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from funneltune.decisions.need.judging import Study
from funneltune.decisions.requests import read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError

MOST_COMPARED = 100_000
"""Identifiers that a mistyped one is held against."""
COLUMNS = ["user", "place", "category", "p", "prior", "lift", "events"]


def asked_for(scorer: Scorer, user: str = "", users: Path | None = None) -> list[str]:
    """Shoppers' identifiers: the one, those of a file with a column `user`, or by default all of the test days.

    One of the file that the log does not know has no past.

    Raises:
        ConfigError: if both are given, or the log does not know the one.
        DataError: if the file cannot be read, or has no such column.
    """
    if user and users is not None:
        raise ConfigError(f"user and users={users} are both given; give one of them.")
    if user:
        if scorer.rows.users.get(user) is None:
            raise ConfigError(f"user={scorer.rows.shown.user(user)} is no shopper of the log{_known(scorer, user)}")
        return [user]
    if users is not None:
        frame = read_frame(users, "users")
        if "user" not in frame:
            raise DataError(f"users={users}: column 'user' is missing among the {len(frame.columns)} of its first row.")
        return list(dict.fromkeys(frame["user"].astype(str)))
    data, keys = scorer.assembly.data, list(scorer.rows.users)
    rows = data.store.request_offsets[np.sort(data.requests("test"))]
    return [keys[number] for number in np.unique(data.store.column("user")[rows])]


def _known(scorer: Scorer, user: str) -> str:
    """The rest of a refusal: the shopper that was probably meant, or one that there is; none by name where the log's
    shoppers are shown by pseudonyms only.
    """
    keys = list(islice(scorer.rows.users, MOST_COMPARED))
    if scorer.rows.shown.hides("user") or not keys:
        return "; give one of its user column, or users=FILE."
    near = difflib.get_close_matches(user, keys, 1)
    told = f"did you mean {near[0]}" if near else f"it has {keys[0]}, for one"
    return f" ({told}); give one of its user column, or users=FILE."


def needs_of(scorer: Scorer, found: Study, users: Sequence[str], query: str = "") -> pd.DataFrame:
    """The likeliest categories of each shopper after all that the log holds, best first: `COLUMNS`, where `lift` is p
    over the prior and `events` counts its clicks and purchases.

    `query`: as if each had just searched for these words.

    Raises:
        ConfigError: if there are words and the run reads none.
    """
    history, need, log = found.history, found.need, found.log
    if query and not history.reads_texts:
        raise ConfigError("query is given, and this run has backbone=none and reads no words; use another run.")
    number = np.array([scorer.rows.users.get(key, -1) for key in users], dtype=np.int64)
    when = np.full(len(users), np.nextafter(log.end, np.inf))
    if found.own is not None:
        p = found.own.after(users, query)
    else:
        p = need.of(history.attributes(number, when, need.prior, history.of_words([query]) if query else None))
    events = history.own_counts(number, when).sum(axis=1).astype(np.int64)
    top = min(found.settings.top, len(log.names))
    order = np.argsort(-p, axis=1, kind="stable")[:, :top]
    row, category = np.repeat(np.arange(len(users)), top), order.ravel()
    chosen = p[row, category]
    columns = [
        np.array([scorer.rows.shown.user(key) for key in users], dtype=object)[row],
        np.tile(np.arange(1, top + 1), len(users)),
        np.array(log.names, dtype=object)[category],
        chosen,
        need.prior[category],
        chosen / need.prior[category],
        events[row],
    ]
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
