"""Questions and reviews say what the world's catalogue says."""

import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.marketplace import World
from funneltune.marketplace.questions import BAD, GOOD, INTENTS, questions_of, reviews_of


@pytest.fixture(scope="module")
def world():
    return World(items=300, queries=150, shoppers=20, page=10)


@pytest.fixture(scope="module")
def sentences(world):
    return reviews_of(world)


def test_reviews_praise_what_is_good(world, sentences):
    praised = [world.catalogue.quality[one.item] for one in sentences if one.text in GOOD]
    blamed = [world.catalogue.quality[one.item] for one in sentences if one.text in BAD]
    assert np.mean(praised) > 0.3 > -0.3 > np.mean(blamed)


def test_a_sentence_about_an_attribute_is_about_one_that_the_item_has(world, sentences):
    numbers = world.vocabulary.attribute_number
    told = [one for one in sentences if one.about in numbers]
    assert told
    assert all(numbers[one.about] in world.catalogue.slots[one.item] for one in told)


def test_answers_are_passages_that_answer(world, sentences):
    questions = questions_of(world, sentences, 300)
    keys = {f"{world.items['key'][one.item]}#{one.number}": one for one in sentences}
    assert {one.intent for one in questions} == set(INTENTS)
    for question in questions:
        if question.intent in ("quality", "value"):
            assert all(keys[answer].about == question.intent for answer in question.answers)
            assert all(str(world.catalogue.title[keys[answer].item]) in question.text for answer in question.answers)
        if question.intent == "service":
            assert question.answers == ()
    lookups = [one for one in questions if one.intent == "find" and one.answers]
    assert lookups
    place = {str(key): number for number, key in enumerate(world.items["key"])}
    for question in lookups:
        assert len({int(world.catalogue.type[place[answer]]) for answer in question.answers}) == 1
    assert 0.2 < np.mean([not one.answers for one in questions]) < 0.8


def test_they_are_the_same_every_time(world, sentences):
    assert questions_of(world, sentences, 50) == questions_of(world, reviews_of(world), 50)
    assert questions_of(world, sentences, 50, seed=1) != questions_of(world, sentences, 50)


def test_what_cannot_be_phrased_is_refused(world, sentences):
    with pytest.raises(ConfigError, match="more than this world can phrase"):
        questions_of(World(items=4, queries=5, shoppers=5, page=2), [], 900)
    with pytest.raises(ConfigError, match="questions are in English"):
        reviews_of(World(items=50, queries=20, shoppers=5, page=5, domains=("home",), language="zh"))
