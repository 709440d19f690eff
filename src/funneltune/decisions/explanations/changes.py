"""What if one thing were otherwise: the run's own probabilities, with and without."""

from __future__ import annotations

import difflib
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funneltune.data import Asked
from funneltune.decisions.explanations.words import WORD
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

CHEAPER = 0.9
LEFT_OUT = "query without a word"
MOST_WORDS = 40
"""Words that are left out one by one, of a text."""


@dataclass(frozen=True)
class Altered:
    """A request or an item with one thing changed."""

    what: str
    before: str
    after: str
    asked: Asked | None = None
    """None: as it is."""
    fields: Mapping[str, Any] | None = None
    """Of the item; None: as they are."""
    wished: bool = False


def asked_changes(scorer: Scorer, asked: Asked, item: int, wished: Mapping[str, str]) -> list[Altered]:
    """What the user wants to know: `price`, `query`, `user`, a field of the item or a feature -> its other value.

    Raises:
        ConfigError: if the run reads nothing of that name.
    """
    return [replace(_wished(scorer, asked, item, name, value), wished=True) for name, value in wished.items()]


def _wished(scorer: Scorer, asked: Asked, item: int, name: str, value: str) -> Altered:
    if name == "query" and scorer.assembly.data.interaction != "none":
        return Altered("query", asked.query, value, asked=replace(asked, query=value))
    if name == "user" and reads_shopper(scorer):
        return Altered("user", asked.user, value, asked=replace(asked, user=value))
    own, column = scorer.rows.fields(item), name.removeprefix("item.")
    needs = scorer.assembly.data.features
    named = f"item.{column}" if f"item.{column}" in (*needs.ids, *needs.numbers) else name
    if column in own and (column in template_fields(scorer) or named in (*needs.ids, *needs.numbers)):
        # A logged request tells of its rows what the item's fields would say.
        there = replace(asked, columns={key: told for key, told in asked.columns.items() if key not in (name, named)})
        return Altered(name, shown(own[column]), value, asked=there, fields={column: value})
    if name in (*needs.ids, *needs.numbers):
        before = shown(asked.columns.get(name, ""))
        return Altered(name, before, value, asked=replace(asked, columns={**asked.columns, name: value}))
    known = readable(scorer)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it reads {', '.join(known)}."
    told = name if name in ("query", "user") else f"{name}={value}"
    raise ConfigError(f"what_if={told}: the run reads no {name!r} of a request or an item; {hint}")


def readable(scorer: Scorer) -> list[str]:
    """Everything that can be changed, by name."""
    needs = scorer.assembly.data.features
    found = ["query"] if scorer.assembly.data.interaction != "none" else []
    found += ["user"] if reads_shopper(scorer) else []
    return list(dict.fromkeys([*found, *template_fields(scorer), *needs.ids, *needs.numbers]))


def reads_shopper(scorer: Scorer) -> bool:
    """Whether anything of the shopper enters the run."""
    needs = scorer.assembly.data.features
    return needs.history > 0 or any(name.partition(".")[0] == "user" for name in (*needs.ids, *needs.numbers))


def template_fields(scorer: Scorer) -> list[str]:
    """The fields of an item that its text is made of; none where no text is read."""
    data = scorer.assembly.data
    if data.interaction == "none" or "item" not in data.texts:
        return []
    return [name for _, name, _, _ in string.Formatter().parse(data.texts["item"]) if name is not None]


# --- what is tried unasked ---------------------------------------------------------------------------------------


def usual_changes(
    scorer: Scorer, asked: Asked, item: int, numbers: Mapping[str, tuple[float, float]], other_query: str | None
) -> Iterator[Altered]:
    """Each word left out; numbers at the training rows' median, the price a tenth lower; another brand, a shopper
    whom the log does not know, other words.

    Args:
        scorer: Of the run.
        asked: The request.
        item: Its item.
        numbers: Number -> its value, and the training rows' median.
        other_query: Words under which the item was shown in training.
    """
    reads = scorer.assembly.data.interaction != "none"
    if reads:
        yield from _query_words(asked)
        yield from _item_words(scorer, item)
    for name, (value, median) in numbers.items():
        if name == "price":
            cheaper = replace(asked, columns={**asked.columns, name: CHEAPER * value})
            yield Altered("price, a tenth lower", shown(value), shown(CHEAPER * value), asked=cheaper)
        usual = replace(asked, columns={**asked.columns, name: median})
        yield Altered(f"{name} as it mostly is", shown(value), shown(median), asked=usual)
    if (brand := _other_brand(scorer, item)) is not None:
        yield _wished(scorer, asked, item, "brand", brand)
    if reads_shopper(scorer) and asked.user:
        yield Altered("shopper", asked.user, "one whom the log does not know", asked=replace(asked, user=""))
    if reads and other_query is not None:
        yield Altered("query", asked.query, other_query, asked=replace(asked, query=other_query))


def _query_words(asked: Asked) -> Iterator[Altered]:
    words = list(WORD.finditer(asked.query))
    for word in words[:MOST_WORDS] if len(words) > 1 else ():
        left = without(asked.query, word)
        yield Altered(LEFT_OUT, word.group(), left, asked=replace(asked, query=left))


def _item_words(scorer: Scorer, item: int) -> Iterator[Altered]:
    fields = scorer.rows.fields(item)
    for name in dict.fromkeys(template_fields(scorer)):
        text = fields.get(name)
        if not isinstance(text, str):
            continue
        words = list(WORD.finditer(text))
        for word in words[:MOST_WORDS] if len(words) > 1 else ():
            left = without(text, word)
            yield Altered(f"{name} without a word", word.group(), left, fields={name: left})


def without(text: str, word: re.Match[str]) -> str:
    """The text without a word, and without the blank that it leaves.

    >>> without("red running shoes", WORD.search("red running shoes", 4))
    'red shoes'
    """
    head, tail = text[: word.start()], text[word.end() :]
    return (head.rstrip() + tail if tail[:1].isspace() or not tail else head + tail).strip()


def _other_brand(scorer: Scorer, item: int) -> str | None:
    """The commonest other brand of the item's category; None where the run reads no brand."""
    needs = scorer.assembly.data.features
    columns = scorer.catalogue.columns
    if "brand" not in columns or not ("brand" in template_fields(scorer) or "item.brand" in needs.ids):
        return None
    brand = scorer.catalogue.column("brand")
    same = np.ones(len(brand), dtype=bool)
    if "category" in columns:
        category = scorer.catalogue.column("category")
        same = category == category[item]
    counts = Counter(str(one) for one in brand[same] if one and one != brand[item])
    return counts.most_common(1)[0][0] if counts else None


# --- what the run says -------------------------------------------------------------------------------------------


def probabilities(
    scorer: Scorer, asked: Asked, item: int, altered: Sequence[Altered], rate: str
) -> list[tuple[float, float]]:
    """(without, with) each change: both from one forward, so that no rounding stands between them."""
    found: dict[int, tuple[float, float]] = {}
    plain = [n for n, one in enumerate(altered) if one.fields is None]
    if plain:
        requests = [asked, *(altered[n].asked or asked for n in plain)]
        first, *rest = (float(p[rate][0]) for p in scorer.score(requests, [np.array([item])] * len(requests)))
        found |= {n: (first, p) for n, p in zip(plain, rest, strict=True)}
    groups: dict[int, list[int]] = {}
    for n, one in enumerate(altered):
        if one.fields is not None:
            groups.setdefault(id(one.asked) if one.asked is not None else 0, []).append(n)
    for members in groups.values():
        request = altered[members[0]].asked or asked
        fields: list[Mapping[str, Any]] = [{}, *(altered[n].fields or {} for n in members)]
        said = scorer.score_new([request], fields, like=item)[0][rate]
        found |= {n: (float(said[0]), float(p)) for n, p in zip(members, said[1:], strict=True)}
    return [found[n] for n in range(len(altered))]


def shown(value: Any) -> str:
    """A value as people read it."""
    one = np.ravel(value)[0] if np.size(value) else ""
    return f"{float(one):.6g}" if isinstance(one, (float, np.floating)) else str(one)
