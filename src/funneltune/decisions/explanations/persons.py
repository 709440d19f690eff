"""An explanation under pseudonyms: whose request it was, and what was asked, are not shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from funneltune.data.shown import Shown
from funneltune.decisions.explanations.changes import LEFT_OUT
from funneltune.decisions.explanations.explanation import Change, Explanation, Pushing, Word
from funneltune.decisions.explanations.words import WORD


def without_persons(told: Explanation, shown: Shown) -> Explanation:
    """The same with pseudonyms for the shopper and all queries; a query's words are numbered, their pushes kept."""
    if not (shown.hides("user") or shown.hides("query")):
        return told
    query, words = _numbered(told, shown) if shown.hides("query") else (told.query, told.words)
    nearest = (replace(one, query=shown.query(one.query)) for one in told.evidence.nearest)
    return replace(
        told,
        query=query,
        user=shown.user(told.user),
        words=words,
        features=tuple(_feature(one, told, shown) for one in told.features),
        evidence=replace(told.evidence, nearest=tuple(nearest)),
        changes=tuple(_changes(told, shown)),
    )


def _numbered(told: Explanation, shown: Shown) -> tuple[str, tuple[Word, ...]]:
    """The pseudonym, and `word1 word2 ...` behind it: places and pushes of the words without the words."""
    number = {match.start(): n for n, match in enumerate(WORD.finditer(told.query), 1)}
    text, words = shown.query(told.query), list[Word]()
    for word in told.words:
        if word.role != "query":
            words.append(word)
            continue
        name = "+".join(f"word{n}" for start, n in number.items() if word.start <= start < word.stop)
        text += " "
        words.append(replace(word, text=name, start=len(text), stop=len(text) + len(name)))
        text += name
    return text, tuple(words)


def _feature(one: Pushing, told: Explanation, shown: Shown) -> Pushing:
    if one.name == "user" and one.value == told.user:
        return replace(one, value=shown.user(one.value))
    return replace(one, value=shown.query(told.query)) if shown.hides_field(one.name) else one


def _changes(told: Explanation, shown: Shown) -> Iterator[Change]:
    without = 0
    for one in told.changes:
        if one.what == "query":
            yield replace(one, before=shown.query(one.before), after=shown.query(one.after))
        elif one.what == "user":
            yield replace(one, before=shown.user(one.before), after=shown.user(one.after))
        elif one.what == "shopper":
            yield replace(one, before=shown.user(one.before))
        elif one.what == LEFT_OUT and shown.hides("query"):
            without += 1
            yield replace(one, before=f"word{without}", after="the other words")
        elif shown.hides_field(one.what):
            yield replace(one, before=shown.query(told.query), after="another value")
        else:
            yield one
