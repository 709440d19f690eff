"""The marketplace's photographs carry what the catalogue says, and nothing else decides them but seed and item."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from funneltune.marketplace import World
from funneltune.marketplace.images import PAINT, SIZE, photograph, photographs, silhouette

ITEMS = 2400


@pytest.fixture(scope="module")
def world():
    return World(items=ITEMS, queries=50, shoppers=50, domains=["home"])


@pytest.fixture(scope="module")
def drawn(world):
    return np.stack(list(photographs(world.vocabulary, world.catalogue, world.seed)))


def test_photographs_are_small_whole_and_the_same_again(world, drawn):
    assert drawn.shape == (ITEMS, SIZE, SIZE, 3)
    assert drawn.dtype == np.uint8
    again = photographs(world.vocabulary, world.catalogue, world.seed)
    assert all(np.array_equal(next(again), drawn[item]) for item in range(20))
    other = next(photographs(world.vocabulary, world.catalogue, world.seed + 1))
    assert not np.array_equal(other, drawn[0])


@pytest.mark.parametrize("carried", ["colour", "group", "style"])
def test_a_linear_probe_of_the_pixels_recovers_what_the_catalogue_says(world, drawn, carried):
    """Against the most frequent answer on held-out items: colour 0.20, group 0.10, style 0.55."""
    slots = {"colour": 1, "style": 2}
    truth = (
        world.catalogue.slots[:, slots[carried]]
        if carried in slots
        else world.vocabulary.type_group[world.catalogue.type]
    )
    pixels, half = drawn.reshape(ITEMS, -1) / 255.0 - 0.9, ITEMS * 3 // 4
    probe = RidgeClassifier(alpha=10.0).fit(pixels[:half], truth[:half])
    known = probe.score(pixels[half:], truth[half:])
    usual = np.mean(truth[half:] == np.bincount(truth[:half] + 1).argmax() - 1)
    assert known > usual + {"colour": 0.15, "group": 0.35, "style": 0.04}[carried], (known, usual)


def test_paint_is_the_colour_and_an_item_without_one_is_an_outline():
    red = photograph(1, 0, "red", None, np.random.default_rng(0)).astype(float)
    middle = red[12:20, 12:20].reshape(-1, 3).mean(axis=0)
    assert np.abs(middle - PAINT["red"]).max() < 25
    outline = photograph(1, 0, None, None, np.random.default_rng(0)).astype(float)
    assert outline[12:20, 12:20].mean() > 200
    quarters = photograph(1, 0, "multicolour", None, np.random.default_rng(0)).astype(float)
    corners = [quarters[at].reshape(-1, 3).mean(axis=0) for at in (np.s_[8:12, 8:12], np.s_[20:24, 20:24])]
    assert np.abs(corners[0] - corners[1]).max() > 100


def test_groups_of_one_domain_have_silhouettes_of_their_own():
    axis = np.linspace(-1, 1, SIZE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    shapes = [silhouette(group, x, y).tobytes() for group in range(48)]
    assert len(set(shapes)) == 48


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_colour_of_the_vocabulary_has_a_paint(language):
    from funneltune.marketplace.vocabulary import LANGUAGES, load_vocabulary

    vocabulary = load_vocabulary(LANGUAGES[language], language)
    colours = {each.name for each in vocabulary.attributes if each.dimension == "colour"}
    assert colours - {"multicolour"} <= set(PAINT)
