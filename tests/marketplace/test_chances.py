"""The logging policy's chances: they are those by which its pages were drawn."""

import numpy as np
import pytest

from funneltune.marketplace import Mixture, Requests, World, arrivals


@pytest.fixture(scope="module")
def world():
    return World(items=60, queries=30, shoppers=40, page=5, cold_items=0.2)


def test_first_and_second_places_come_as_often_as_the_chances_say(world):
    n = 40_000
    request = Requests(
        np.arange(n), np.zeros(n, np.int64), np.full(n, 7, np.int64), np.full(n, world.days / 2, np.float64)
    )
    policy = Mixture()
    q = policy.chances(world, request)
    assert q.shape == (n, 60)
    np.testing.assert_allclose(q.sum(axis=1), 1.0)
    assert (q[0] == q[1]).all()
    assert (q[:, world.catalogue.launched > world.days / 2] == 0).all()
    page = policy.rank(world, request)
    seen = np.bincount(page[:, 0], minlength=60) / n
    assert np.abs(seen - q[0]).max() < 4 * np.sqrt(0.25 / n)
    # Given the commonest first item, the second place is drawn among the rest.
    first = int(seen.argmax())
    rows = page[:, 0] == first
    second = np.bincount(page[rows, 1], minlength=60) / rows.sum()
    wanted = np.where(np.arange(60) == first, 0.0, q[0] / (1 - q[0, first]))
    assert np.abs(second - wanted).max() < 4 * np.sqrt(0.25 / rows.sum())


def test_chances_follow_the_query_and_what_is_on_sale(world):
    request = arrivals(world, 50)
    q = Mixture().chances(world, request)
    early, late = q[0] > 0, q[-1] > 0
    assert early.sum() < late.sum() <= 60
    target = world.searches.target[request.query]
    pairs = [(a, b) for a in range(50) for b in range(a) if (q[a] > 0).sum() == (q[b] > 0).sum()]
    assert any((target[a] == target[b]) == np.allclose(q[a], q[b]) for a, b in pairs)


def test_a_policy_without_fit_or_popularity_is_uniform(world):
    q = Mixture(fitting=0.0, popular=0.0).chances(world, arrivals(world, 4))
    for row in q:
        np.testing.assert_allclose(row[row > 0], 1 / (row > 0).sum())


def test_places_that_the_draws_did_not_fill_are_told(world):
    request = arrivals(world, 300)
    policy = Mixture(fitting=1.0, popular=0.0)
    places = policy.places_drawn(world, request)
    page = policy.rank(world, request)
    assert places.min() < world.page == places.max()
    row = int(places.argmin())
    on_sale = world.catalogue.by_popularity[world.catalogue.launched[world.catalogue.by_popularity] <= request.day[row]]
    above = page[row, : places[row]]
    filled = on_sale[~np.isin(on_sale, above)][: world.page - places[row]]
    assert (page[row, places[row] :] == filled).all()
