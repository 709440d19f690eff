"""Shoppers who search in their favourite category, and what each is expected to buy."""

import numpy as np
import pytest

from funneltune.data import Simulated
from funneltune.errors import ConfigError
from funneltune.marketplace import Mixture, World, arrivals, simulate
from funneltune.marketplace.needs import true_needs

KNOBS = {"items": 200, "queries": 60, "shoppers": 40, "page": 10, "days": 30}


def first(world):
    return next(simulate(world, Mixture(), 2000))


def test_without_loyalty_nothing_of_a_log_changes():
    assert "loyalty" not in Simulated().describe()
    assert Simulated(loyalty=0.5).describe()["loyalty"] == 0.5
    plain, told = first(World(**KNOBS)), first(World(**KNOBS, loyalty=0.0))
    assert all((plain[name] == told[name]).all() for name in plain)


def test_loyal_searches_are_for_the_favourite_group_and_the_others_are_as_they_were():
    plain, loyal = (World(**KNOBS, loyalty=share) for share in (0.0, 0.7))
    before, after = arrivals(plain, 2000), arrivals(loyal, 2000)
    assert (before.user == after.user).all()
    served = np.isin(loyal.shoppers.favourite[after.user], loyal.searches.group)
    own = loyal.searches.group[after.query] == loyal.shoppers.favourite[after.user]
    assert own[served].mean() == pytest.approx(0.7, abs=0.06)
    moved = before.query != after.query
    assert own[moved].all()
    assert not moved[~served].any()


def test_expected_purchases_of_loyal_shoppers_lie_in_their_favourite_category():
    shares = {}
    for loyalty in (0.0, 0.9):
        world = World(**KNOBS, loyalty=loyalty)
        category = world.vocabulary.type_group[world.catalogue.type].astype(np.int64)
        user = np.flatnonzero(np.isin(world.shoppers.favourite, world.searches.group))[:12]
        needs = true_needs(world, Mixture(), user, 10.0, category, len(world.vocabulary.groups), pages=60)
        assert needs.sum(axis=1) == pytest.approx(np.ones(len(user)))
        shares[loyalty] = needs[np.arange(len(user)), world.shoppers.favourite[user]].mean()
    assert shares[0.9] > shares[0.0] + 0.2


def test_loyalty_is_a_share():
    with pytest.raises(ConfigError, match=r"data.source.loyalty=1.5 must lie in \[0.0, 1.0\]"):
        World(**KNOBS, loyalty=1.5)
