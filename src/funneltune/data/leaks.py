"""What makes a result too good: inputs that tell a label, splits that share requests or break time order, and texts
that are written after the outcome. Found before a run trains; refused, warned of, or ignored, as `data.leaks` says.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.data.features import FeatureColumns
from funneltune.data.label_leaks import SIDES, as_numbers, fields_of, label_leaks
from funneltune.data.pseudonyms import plain_source
from funneltune.data.sources import Source, Table
from funneltune.data.splits import SPLITS, Requests, Split
from funneltune.data.store import LogStore
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics.ties import block_lengths, block_starts

Kind = Literal["label", "request", "time", "text"]
Word = Literal["refuse", "warn", "ignore"]
DEFAULT: dict[Kind, Word] = {"label": "refuse", "request": "refuse", "time": "warn", "text": "refuse"}
SHARED = 0.001
"""Share of the requests of validation and test that may lie in another split too: logs count some events twice."""
DAY = 86_400
WRITTEN = re.compile(r"review|comment|feedback|rating|opinion|testimonial", re.IGNORECASE)
BOUGHT = re.compile(r"purchas|order|buy|bought|conver[st]|booking|checkout|paid|sale", re.IGNORECASE)


@dataclass(frozen=True)
class Leak:
    """One way in which a run would know what it is asked. `message` holds the column, what was measured, the rule and
    the remedy.
    """

    kind: Kind
    message: str


@dataclass(frozen=True)
class Guard:
    """What is done about each kind of leak."""

    words: Mapping[Kind, Word]

    @classmethod
    def parse(cls, node: Any) -> Guard:
        """`data.leaks`: one word for all kinds, a mapping `{label: warn}` over the defaults, or None.

        Raises:
            ConfigError: with every unknown kind and word, and the nearest.
        """
        rule = "data.leaks takes refuse, warn or ignore, for all kinds or as {kind: word}"
        if node is None:
            return cls(DEFAULT)
        if isinstance(node, str):
            node = dict.fromkeys(get_args(Kind), node) if node in get_args(Word) else {"": node}
        if not isinstance(node, Mapping):
            raise ConfigError(f"data.leaks={node!r} must be a word or a mapping; {rule}.")
        faults = []
        for kind, word in node.items():
            if kind and kind not in get_args(Kind):
                faults.append(f"data.leaks.{kind} is no kind of leak{_near(kind, Kind)}")
            if word not in get_args(Word):
                faults.append(f"data.leaks{'.' if kind else ''}{kind}={word!r} is no word for it{_near(word, Word)}")
        if faults:
            raise ConfigError(f"{'; '.join(faults)}; {rule}; kinds: {', '.join(get_args(Kind))}.")
        return cls({**DEFAULT, **node})

    def act(self, leaks: Sequence[Leak]) -> list[dict[str, str]]:
        """Warn, and refuse. Returns all of them with what was done, as plain values for a run's record."""
        if os.environ.get("LOCAL_RANK", "0") == "0":  # further ranks find the same
            for leak in self.warned(leaks):
                logging.getLogger("funneltune").warning("leak (%s): %s.", leak.kind, leak.message)
        self.refuse(leaks)
        return [{**asdict(leak), "action": self.words[leak.kind]} for leak in leaks]

    def refuse(self, leaks: Sequence[Leak]) -> None:
        """Raises DataError with all refused leaks in one line, and the overrides that would allow them."""
        refused = [leak for leak in leaks if self.words[leak.kind] == "refuse"]
        if refused:
            allowed = " ".join(f"++data.leaks.{kind}=warn" for kind in dict.fromkeys(leak.kind for leak in refused))
            said = "; ".join(leak.message for leak in refused)
            raise DataError(f"leaks: {said}. To run all the same: {allowed}")

    def warned(self, leaks: Sequence[Leak]) -> list[Leak]:
        """Those that are warned of."""
        return [leak for leak in leaks if self.words[leak.kind] == "warn"]


def _near(word: Any, among: Any) -> str:
    near = get_close_matches(str(word), get_args(among), 1)
    return f", nearest: {near[0]}" if near else ""


def find_leaks(
    store: LogStore,
    requests: Mapping[str, Requests],
    texts: Mapping[str, str],
    features: FeatureColumns | None,
    funnel: TaskFunnel,
    split: Split,
    written: Mapping[str, Mapping[str, str]] | None = None,
    kinds: Mapping[Kind, Word] = DEFAULT,
) -> list[Leak]:
    """Every leak of the kinds that are not ignored.

    Args:
        store: The log.
        requests: Request numbers of train, validation and test.
        texts: Templates that the backbone reads; empty where it reads none.
        features: The columns that the features read.
        funnel: The tasks.
        split: How the requests were cut.
        written: Side (`query`, `item`) -> text field -> column of the file, where the source is a table.
        kinds: What is done about each kind.
    """
    found: list[Leak] = []
    if kinds["label"] != "ignore":
        rule = "a single input must stay between AUC 0.02 and 0.98 (Spearman 0.99); remove it from the inputs"
        told = label_leaks(store, requests["train"], texts, features, funnel)
        found += [Leak("label", f"{said}; {rule}") for said in told]
    if kinds["request"] != "ignore":
        found += _shared_requests(store, requests, split)
    if kinds["time"] != "ignore":
        found += _time_order(store, requests, split)
    if kinds["text"] != "ignore":
        found += _written_after(store, texts, funnel, written or {})
    return found


def text_columns(source: Source) -> dict[str, Mapping[str, str]]:
    """Side -> text field -> column of the file; empty where the source is no table."""
    plain = plain_source(source)
    return {"query": plain.roles.query_text, "item": plain.roles.item_text} if isinstance(plain, Table) else {}


# --- splits ----------------------------------------------------------------------------------------------------------


def _shared_requests(store: LogStore, requests: Mapping[str, Requests], split: Split) -> list[Leak]:
    """Page views that lie in two splits: logged twice, or cut into several requests.

    Without the time two equal lists of one user may be two visits: only lists of several items count then.
    """
    timed, users = store.has("time"), store.table("users").num_rows > 1
    if not (timed or users):
        return []
    numbers = np.concatenate([requests[name] for name in SPLITS])
    cut = np.repeat(np.arange(len(SPLITS)), [len(requests[name]) for name in SPLITS])
    who = [store.of_requests(name)[numbers] for name in ("user", "query", *(["time"] if timed else []))]
    lengths, shown = store.request_lengths[numbers], store.of_requests("items")[numbers]
    several = np.ones(len(cut), bool) if timed else lengths > 1
    copies = _in_two(cut[several], [*(column[several] for column in who), lengths[several], shown[several]])
    evaluated = int((cut > 0).sum())
    by = f"data.split.by={split.by}"
    found = []
    if copies > SHARED * evaluated:
        found.append(
            f"{by}: {copies:,} of {evaluated:,} requests of validation and test are also in another split (same user, "
            f"query{', time' if timed else ''} and items); a request belongs to one split (at most {SHARED:.1%}): drop "
            f"the copies, or split by {'time or user' if timed else 'user'}"
        )
    ends = [store.of_requests(name) % DAY for name in ("time_first", "time_last")] if timed else []
    if timed and users and np.ptp(ends) > 0:  # days alone do not tell page views apart
        parts = _in_two(cut, who)
        if not found and parts > SHARED * evaluated:
            found.append(
                f"{by}: {parts:,} of {evaluated:,} requests of validation and test share user, query and time with one "
                f"in another split; rows of one page view belong together (at most {SHARED:.1%}): name the page view's "
                "column as data.source.request, or split by time or user"
            )
    return [Leak("request", message) for message in found]


def _in_two(cut: NDArray[Any], keys: list[NDArray[Any]]) -> int:
    """Requests of validation or test whose key occurs in another split too."""
    if not len(cut):
        return 0
    order = np.lexsort((cut, *keys[::-1]))
    starts = block_starts(*(key[order] for key in keys))
    ends = starts + block_lengths(starts, len(cut)) - 1
    several = cut[order][starts] != cut[order][ends]
    return int(((cut[order] > 0) & np.repeat(several, ends - starts + 1)).sum())


def _time_order(store: LogStore, requests: Mapping[str, Requests], split: Split) -> list[Leak]:
    """Training on what happened after the first request of the test; equal times are no breach."""
    if not store.has("time"):
        return []
    # A request may last: what it trains on is as late as its last row, what it tests as early as its first.
    earliest = store.of_requests("time_first")[requests["test"]].min()
    late = int((store.of_requests("time_last")[requests["train"]] > earliest).sum())
    if not late:
        return []
    total = len(requests["train"])
    remedy = "use data.split.by=time"
    if split.by == "time":  # then the first of each request's rows does as it should
        longest = (store.of_requests("time_last") - store.of_requests("time_first")).max() / DAY
        remedy = (
            f"the rows of one request lie up to {longest:.4g} days apart: name the page view's column as "
            "data.source.request, or mend data.source.time"
        )
    return [
        Leak(
            "time",
            f"data.split.by={split.by}: {late:,} of {total:,} training requests ({late / total:.1%}) end later than "
            "the earliest test request begins; a model is tested on what comes after it (none may be later): "
            f"{remedy}",
        )
    ]


# --- texts -----------------------------------------------------------------------------------------------------------


def _written_after(
    store: LogStore, texts: Mapping[str, str], funnel: TaskFunnel, written: Mapping[str, Mapping[str, str]]
) -> list[Leak]:
    """Texts that, by their names or `data.source.after`, were written after a purchase that is to be predicted.

    A field of numbers is an aggregate (an average rating, a count of reviews), which may be known before.
    """
    bought = [task.name for task in funnel.tasks if BOUGHT.search(task.name)]
    if not bought:
        return []
    declared = store.manifest["notes"].get("written after the outcome", {})
    found = []
    for side, template in texts.items():
        for name in fields_of(template):
            column = written.get(side, {}).get(name, name)
            outcome = str(declared.get(column, ""))
            if not (BOUGHT.search(outcome) or WRITTEN.search(name) or WRITTEN.search(column)):
                continue
            values = store.table(SIDES[side]).column(name).slice(0, 2000).to_pylist()
            if not outcome and as_numbers([str(value or "") for value in values]) is not None:
                continue
            why = f"is written after {outcome!r} (data.source.after)" if outcome else "is named like a buyer's review"
            field = f"{{{name}}}" + (f" (column {column!r})" if column != name else "")
            found.append(
                f"data.texts.{side}: {field} {why} and would tell {', '.join(bought)}; what is read must be known "
                "before the outcome: remove the field or the task"
            )
    return [Leak("text", message) for message in found]
