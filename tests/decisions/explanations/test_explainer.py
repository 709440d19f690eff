"""Explanations of trained runs of each kind: they add up, they follow the weights, they are the run's own."""

import json
import re

import numpy as np
import pytest
import torch

from funneltune.data import Asked
from funneltune.decisions.explanations import Explainer, Explanation, explain, explain_row
from funneltune.decisions.explanations.evidence import COUNTED
from funneltune.errors import ConfigError

ASKED = Asked(query="red wool blanket")


@pytest.fixture
def weights(scorer_of):
    """A run's module whose weights may be spoilt; they are mended afterwards."""
    kept = []

    def module(kind):
        found = scorer_of(kind).module
        kept.append((found, {name: value.clone() for name, value in found.state_dict().items()}))
        return found

    yield module
    for found, state in kept:
        found.load_state_dict(state)


def pushes(told):
    return np.array([one.push for one in (*told.words, *told.features)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["twin", "half", "cross", "features", "history"])
def test_pushes_add_up_to_the_modules_own_logit_less_that_of_nothing(scorer_of, kind):
    scorer = scorer_of(kind)
    told = explain_row(scorer, "test", 3, "ctr")
    sums = told.completeness
    assert sums.complete
    assert abs(sums.gap) <= sums.tolerance
    assert told.pushes - sums.gap == pytest.approx(sums.value - sums.baseline, abs=1e-6)
    assert np.abs(pushes(told)).max() > 1e-4
    data = scorer.assembly.data
    with torch.no_grad():
        own = scorer.module(data.collator().rows(data.rows("test")[3:4])).logits["click"].item()
    assert sums.value == pytest.approx(own, abs=2e-3 if kind == "half" else 1e-4)
    assert told.p["ctr"] == pytest.approx(1 / (1 + np.exp(-own)), rel=5e-3 if kind == "half" else 1e-3)


@pytest.mark.parametrize("kind", ["twin", "history"])
def test_an_explanation_leaves_the_module_as_it_was(scorer_of, kind):
    scorer = scorer_of(kind)
    boundary = scorer.module.encoder.boundary
    before = scorer.score([ASKED], [np.arange(5)])[0]["ctr"]
    explain(scorer, ASKED, 3, "cvr", steps=2)
    assert scorer.module.encoder.boundary == boundary
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in scorer.module.modules())
    np.testing.assert_array_equal(scorer.score([ASKED], [np.arange(5)])[0]["ctr"], before)


def test_it_goes_through_json_and_names_words_by_their_places(scorer_of):
    told = explain(scorer_of("cross"), ASKED, 3)
    assert Explanation.from_json(json.loads(json.dumps(told.to_json()))) == told
    assert told.rate == "ctcvr"
    texts = {"query": told.query, "item": told.title}
    assert [texts[word.role][word.start : word.stop] for word in told.words] == [word.text for word in told.words]
    assert [word.text for word in told.words if word.role == "query"] == ["red", "wool", "blanket"]
    assert told.title.split() == [word.text for word in told.words if word.role == "item"]
    assert told.sentence.startswith("For “red wool blanket” the run gives")
    assert re.search(r"a chance of click and purchase of [\d.]+% \(ctcvr; [\d.]+% of the training imp", told.sentence)
    assert "; against a blank query and item (" in told.sentence


def test_where_order_says_nothing_pushes_move_with_their_words(scorer_of, weights):
    module = weights("twin")
    module.encoder.backbone.embeddings.position_embeddings.weight.data.zero_()

    def by_word(query):
        told = explain(scorer_of("twin"), Asked(query=query), 3, "ctr", steps=8)
        return {word.text: word.push for word in told.words if word.role == "query"}

    there, moved = by_word("red wool blanket"), by_word("blanket red wool")
    assert there == pytest.approx(moved, abs=1e-5)
    assert len({round(push, 5) for push in there.values()}) == 3


def test_a_planted_feature_has_the_largest_push(scorer_of, weights):
    scorer, module = scorer_of("features"), weights("features")
    place = scorer.assembly.data.features.numbers.index("price")
    numbers = module.features["shared"].numbers
    numbers.weight.data[place] *= 40.0
    told = explain_row(scorer, "test", 3, "ctr")
    assert max(told.features, key=lambda one: abs(one.push)).name == "price"


def test_other_weights_have_other_pushes(scorer_of, weights):
    """Adebayo et al. 2018: an explanation that randomised weights do not change explains no model."""
    before = pushes(explain(scorer_of("twin"), ASKED, 3, "ctr", steps=8))
    again = pushes(explain(scorer_of("twin"), ASKED, 3, "ctr", steps=8))
    np.testing.assert_array_equal(before, again)
    for parameter in weights("twin").encoder.backbone.encoder.parameters():
        parameter.data.normal_(std=0.2)
    after = pushes(explain(scorer_of("twin"), ASKED, 3, "ctr", steps=8))
    assert np.corrcoef(before, after)[0, 1] < 0.9
    assert np.abs(after - before).max() > 1e-3


def test_the_nearest_evidence_of_a_training_row_is_its_own_pair_but_not_itself(scorer_of):
    scorer = scorer_of("twin")
    data = scorer.assembly.data
    told = explain_row(scorer, "train", 0, "ctr")
    near = told.evidence.nearest
    similar = [one.similarity for one in near]
    assert similar == sorted(similar, reverse=True)
    assert similar[0] > 0.5
    assert told.evidence.near["ctr"][1] == COUNTED
    labels, _ = data.told(data.rows("train"))
    assert told.evidence.everywhere["ctr"] == (int(labels["click"].sum()), len(labels["click"]))
    own = data.rows("train")[0]
    explainer = Explainer(scorer)
    rows, _ = explainer.evidence._by_texts(told.query, int(data.store.column("item")[own]))
    assert own in rows
    with_itself = explainer.evidence.of(Asked(query=told.query), scorer.catalogue.number(told.item))
    assert with_itself.nearest[0].item == told.item
    assert with_itself.nearest[0].query == told.query
    assert with_itself.nearest[0].similarity == pytest.approx(1.0, abs=1e-4)


def test_without_texts_evidence_is_near_by_features(scorer_of):
    told = explain_row(scorer_of("features"), "train", 7, "ctr")
    assert "features" in told.evidence.measure
    assert told.evidence.nearest[0].similarity <= 1.0001
    assert told.words == ()


def test_what_ifs_are_the_runs_own_probabilities(scorer_of):
    scorer = scorer_of("history")
    told = explain_row(
        scorer, "test", 3, "ctr", what_if={"title": "Red wool blanket", "price": "9.99", "user": "nobody"}
    )
    asked = {one.what: one for one in told.changes if one.asked}
    assert list(asked) == ["title", "price", "user"]
    assert asked["title"].after == "Red wool blanket"
    made_up = {one.what for one in told.changes if not one.asked}
    assert {"query without a word", "title without a word", "price, a tenth lower", "brand", "query"} <= made_up
    plain = explain(
        scorer, Asked(query=told.query), scorer.catalogue.number(told.item), "ctr", what_if={"price": "9.99"}
    )
    wanted = scorer.score(
        [Asked(query=told.query, columns={"price": 9.99})], [np.array([scorer.catalogue.number(told.item)])]
    )
    assert plain.changes[0].p == pytest.approx(float(wanted[0]["ctr"][0]), rel=1e-5)
    for one in told.changes:
        assert one.p - one.difference == pytest.approx(told.p["ctr"], rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "call", "told"),
    [
        ("twin", {"rate": "ctvr"}, "rate='ctvr' must be one of ctr, cvr, ctcvr; did you mean"),
        ("twin", {"what_if": {"titel": "x"}}, "what_if=titel=x: the run reads no 'titel' .* did you mean 'title'"),
        ("twin", {"what_if": {"price": "3"}}, "what_if=price=3: the run reads no 'price' .* it reads query, title"),
        ("features", {"what_if": {"query": "x"}}, "what_if=query: the run reads no 'query'"),
        ("history", {"what_if": {"price": "cheap"}}, "price='cheap' must be a number"),
    ],
)
def test_what_cannot_be_explained_is_refused(scorer_of, kind, call, told):
    with pytest.raises(ConfigError, match=told):
        explain(scorer_of(kind), ASKED, 3, **call)


def test_a_row_that_is_not_there_is_refused(scorer_of):
    scorer = scorer_of("twin")
    with pytest.raises(ConfigError, match=r"row=100000 must lie in 0 \.\. "):
        explain_row(scorer, "test", 100_000)
    with pytest.raises(ConfigError, match="split='tset' must be one of test, validation, train"):
        explain_row(scorer, "tset", 0)
