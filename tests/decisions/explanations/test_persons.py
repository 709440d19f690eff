"""Under pseudonyms an explanation keeps its pushes and loses who asked what."""

import dataclasses
import json

from funneltune.decisions.explanations.changes import LEFT_OUT
from funneltune.decisions.explanations.explanation import (
    Change,
    Completeness,
    Evidence,
    Explanation,
    Neighbour,
    Pushing,
    Word,
)
from funneltune.decisions.explanations.page import to_html
from funneltune.decisions.explanations.persons import without_persons

QUERY, TITLE = "red running shoes", "shoes of red leather"


class Shown:
    """Stands in for `data.shown.Shown`: pseudonyms that can be read."""

    def __init__(self, *hidden):
        self.hidden = hidden

    def hides(self, side):
        return side in self.hidden

    def user(self, key):
        return f"U{len(key)}" if self.hides("user") and key else key

    def query(self, words):
        return f"Q{len(words)}" if self.hides("query") and words else words

    def hides_field(self, name):
        return self.hides("query") and name in ("query", "query.query")


def word(text, role, whole, push):
    start = whole.index(text)
    return Word(text, role, start, start + len(text), push, read=True)


TOLD = Explanation(
    run="runs/a",
    rate="ctr",
    events={"ctr": "click"},
    query=QUERY,
    user="alice",
    item="i1",
    title=TITLE,
    p={"ctr": 0.25},
    completeness=Completeness("logit", -1.0, -2.0, 8, 0.0, 0.1, True, ("nothing",)),
    words=(
        word("red", "query", QUERY, 0.5),
        word("running shoes", "query", QUERY, -0.25),  # two words that share a token
        word("leather", "item", TITLE, 0.75),
    ),
    features=(
        Pushing("user", "id", "alice", 0.1),
        Pushing("query.query", "id", QUERY, 0.2),
        Pushing("price", "number", "9", 0),
    ),
    evidence=Evidence("near", (Neighbour(0.9, "blue shoes", "i2", "shoes", {"click": True}),), {}, {}),
    changes=(
        Change("query", QUERY, "blue shoes", 0.2, -0.05, True),
        Change(LEFT_OUT, "red", "running shoes", 0.2, -0.05),
        Change(LEFT_OUT, "running", "red shoes", 0.2, -0.05),
        Change("shopper", "alice", "one whom the log does not know", 0.2, -0.05),
        Change("user", "alice", "bob", 0.2, -0.05, True),
        Change("title without a word", "leather", "shoes of red", 0.2, -0.05),
        Change("query.query", QUERY, "x", 0.2, -0.05),
    ),
)


def test_without_pseudonyms_it_is_the_same():
    assert without_persons(TOLD, Shown()) is TOLD


def test_pushes_and_places_stay_and_words_are_numbered():
    told = without_persons(TOLD, Shown("user", "query"))
    assert told.query == "Q17 word1 word2+word3"
    assert [told.query[one.start : one.stop] for one in told.words[:2]] == ["word1", "word2+word3"]
    assert [one.text for one in told.words] == ["word1", "word2+word3", "leather"]
    assert told.words[2] == TOLD.words[2]
    assert told.pushes == TOLD.pushes
    assert told.user == "U5"
    assert [one.value for one in told.features] == ["U5", "Q17", "9"]
    assert told.evidence.nearest[0].query == "Q10"
    assert [(one.before, one.after) for one in told.changes] == [
        ("Q17", "Q10"),
        ("word1", "the other words"),
        ("word2", "the other words"),
        ("U5", "one whom the log does not know"),
        ("U5", "U3"),
        ("leather", "shoes of red"),
        ("Q17", "another value"),
    ]
    said = json.dumps(told.to_json()) + to_html(told)
    assert not [one for one in ("alice", "bob", "running", "blue shoes", QUERY) if one in said]
    assert "word1" in to_html(told)


def test_one_side_alone_is_hidden():
    told = without_persons(TOLD, Shown("user"))
    assert dataclasses.replace(told, user=TOLD.user, features=TOLD.features, changes=TOLD.changes) == TOLD
    assert "alice" not in json.dumps(told.to_json())
    assert QUERY in json.dumps(without_persons(TOLD, Shown("user")).to_json())
    assert "alice" in json.dumps(without_persons(TOLD, Shown("query")).to_json())
