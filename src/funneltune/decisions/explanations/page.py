"""An explanation as one self-contained HTML page: words shaded by what they push, tables, no script."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from funneltune.decisions.explanations.explanation import Completeness, Explanation, Word
from funneltune.decisions.explanations.sentence import percent
from funneltune.reporting.page import ASSETS

MARKED = 0.2
"""Of the largest push: from here on a word carries its arrow."""
TITLES = {"query": "Query", "item": "Item"}


def to_html(told: Explanation) -> str:
    """The page. The same explanation gives the same page."""
    pushes = [*(word.push for word in told.words), *(one.push for one in told.features)]
    strongest = max(map(abs, pushes), default=0.0) or 1.0
    tasks = list(told.evidence.nearest[0].happened) if told.evidence.nearest else []
    return ASSETS.get_template("explanation.html.j2").render(
        style=Markup(_asset("report.css") + _asset("explanation.css")),
        contents=[
            *([("words", "Words")] if told.words else []),
            *([("features", "Beside the words")] if told.features else []),
            *(("evidence", "What training saw nearby"), ("changes", "What if"), ("how", "How it was computed")),
        ],
        title=told.title,
        query=told.query,
        user=told.user,
        item=told.item,
        run=told.run,
        event=told.event,
        sentence=told.sentence,
        p=percent(told.p[told.rate]),
        rates=[
            {"name": rate, "p": percent(p), "event": told.events[rate], "explained": rate == told.rate}
            for rate, p in told.p.items()
        ],
        path=told.completeness,
        gap=f"{told.completeness.gap:+.4f}",
        tolerance=f"{told.completeness.tolerance:.4f}",
        factor="times the odds" if told.completeness.scale == "logit" else "times the chance",
        texts=[
            {"name": TITLES[role], "pieces": list(_pieces(text, role, told.words, strongest))}
            for role, text in (("query", told.query), ("item", told.title))
            if any(word.role == role for word in told.words)
        ],
        unread=any(not word.read for word in told.words),
        words=[
            {"text": word.text, "where": TITLES[word.role].lower(), **_pushed(word.push)}
            for word in sorted(told.words, key=lambda word: -abs(word.push))
            if word.read
        ],
        features=[
            {"name": one.name, "value": one.value, "force": _force(one.push, strongest), **_pushed(one.push)}
            for one in sorted(told.features, key=lambda one: -abs(one.push))
        ],
        measure=told.evidence.measure,
        shares=list(_shares(told)),
        tasks=tasks,
        nearest=[
            {
                "similarity": f"{one.similarity:.2f}",
                "query": one.query,
                "item": one.item,
                "title": one.title,
                "happened": [one.happened[task] for task in tasks],
            }
            for one in told.evidence.nearest
        ],
        changes=[
            {
                "what": one.what,
                "before": one.before,
                "after": one.after,
                "asked": one.asked,
                "p": percent(one.p),
                "push": one.difference,
                "shown": points(one.difference),
            }
            for one in sorted(told.changes, key=lambda one: (not one.asked, -abs(one.difference)))
        ],
        how=list(_how(told.completeness)),
    )


def _pieces(text: str, role: str, words: tuple[Word, ...], strongest: float) -> Iterator[dict[str, Any]]:
    """The text word by word, and what stands between."""
    done = 0
    for word in (word for word in words if word.role == role):
        if word.start > done:
            yield {"word": False, "text": text[done : word.start]}
        force, up = _force(word.push, strongest), word.push > 0
        kind = "unread" if not word.read else "up" if up else "down" if word.push < 0 else ""
        yield {
            "word": True,
            "text": text[word.start : word.stop],
            "kind": kind,
            "force": force,
            "mark": "" if not word.read or force < MARKED else "▲" if up else "▼",
            "told": f"{word.push:+.3f}" if word.read else "not read",
        }
        done = word.stop
    if done < len(text):
        yield {"word": False, "text": text[done:]}


def _force(push: float, strongest: float) -> float:
    """From 0 to 1."""
    return round(abs(push) / strongest, 3)


def _pushed(push: float) -> dict[str, Any]:
    return {"push": push, "shown": f"{push:+.3f}", "times": f"{math.exp(push):.2f}"}


def _shares(told: Explanation) -> Iterator[str]:
    for rate, (happened, of) in told.evidence.near.items():
        everywhere, among = told.evidence.everywhere[rate]
        usual = f"; of all training impressions {percent(everywhere / among)}" if among else ""
        if " given " in told.events[rate] and among:
            usual = f"; everywhere in training {percent(everywhere / among)}"
        share = f" ({percent(happened / of)})" if of else ""
        yield f"{told.events[rate]}: {happened} of the {of} nearest that it could happen on{share}{usual}"


def _how(path: Completeness) -> Iterator[str]:
    unit = "log-odds (logit)" if path.scale == "logit" else "logarithm of the chance"
    yield (
        f"A push is what an input adds to the {unit} on the straight way from its absence to what it is (integrated "
        f"gradients, Sundararajan et al. 2017), from {path.steps} points of that way."
    )
    yield f"Absence: {'; '.join(path.absent)}."
    held = "They do" if path.complete else "They do not"
    yield (
        f"All pushes must add up to {path.value:+.4f} - ({path.baseline:+.4f}) = {path.value - path.baseline:+.4f}, "
        f"before calibration. {held}: the gap is {path.gap:+.5f}, at most {path.tolerance:.5f} passes."
    )
    yield "A push says what moved this run's number, not what moves shoppers: that takes an experiment."


def points(difference: float) -> str:
    """A difference of probabilities, in percentage points."""
    digits = 2 if abs(difference) >= 0.001 else 4
    return f"{100 * difference:+.{digits}f} points"


def _asset(name: str) -> str:
    loader = ASSETS.loader
    assert loader is not None
    return loader.get_source(ASSETS, name)[0]
