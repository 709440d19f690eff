"""For whom the price matters: groups of shoppers whose elasticities are known."""

import math

import numpy as np
import pytest

from funneltune.decisions.pricing import Curve, Settings, Support
from funneltune.decisions.pricing.groups import grouped

PRICES = np.linspace(0.7, 1.3, 7)
HELD = np.full(len(PRICES), 100)
SETTINGS = Settings(draws=500)


def curve_of(elasticities, pages=3):
    """An item that each shopper was shown on some pages, with an elasticity of their own at every price."""
    own = np.repeat(elasticities, pages)
    purchase = 0.1 * PRICES ** own[:, None]
    keys = [f"u{n}" for n in np.repeat(np.arange(len(elasticities)), pages)]
    user = np.repeat(np.arange(len(elasticities)), pages)
    stood_in = np.zeros(len(own), bool)
    support = Support(HELD, HELD, HELD / 1e3, HELD / 1e3)
    return Curve(0, "item", 1.0, PRICES, 2 * purchase, purchase, user, keys, np.zeros(len(own), int), stood_in, support)


def shoppers(spread=0.5):
    """Forty who mind the price and forty who do not, as a curve; and who is which."""
    rng = np.random.default_rng(0)
    own = np.concatenate([rng.normal(-2.0, spread, 40), rng.normal(-0.5, spread, 40)])
    return curve_of(own), {f"u{n}": "keen" if n < 40 else "easy" for n in range(80)}


def test_groups_that_differ_are_told_apart_by_how_much_they_do():
    curve, groups = shoppers()
    easy, keen = grouped([curve], groups, 0.0, SETTINGS)
    assert (easy.name, keen.name) == ("easy", "keen")
    assert keen.elasticity == pytest.approx(-2.0, abs=0.2)
    assert keen.apart == keen.elasticity - easy.elasticity == -easy.apart
    assert keen.apart_ends[1] < -1.0
    assert keen.p_holm < 1e-6
    # Two means of forty, each of a standard deviation of 0.5.
    assert np.diff(keen.apart_ends) == pytest.approx(2 * 1.96 * 0.5 * math.sqrt(2 / 40), rel=0.2)


def test_groups_by_lot_are_told_apart_as_often_as_chance_has_it():
    curve, _ = shoppers()
    rng = np.random.default_rng(1)
    found = []
    for _ in range(100):
        lots = rng.permutation(80)
        groups = grouped([curve], {f"u{n}": str(lots[n] % 4) for n in range(80)}, 0.0, Settings(draws=200))
        found.append(min(group.p_holm for group in groups) < 0.05)
    assert sum(found) <= 11  # 5% of 100, and what a binomial leaves above it in one case of a hundred


def test_a_correction_widens_a_groups_own_interval_and_not_what_sets_it_apart():
    curve, groups = shoppers()
    plain, moved = (grouped([curve], groups, error, SETTINGS)[1] for error in (0.0, 1.0))
    assert np.diff(moved.ends) > 3 * np.diff(plain.ends)
    assert moved.apart_ends == plain.apart_ends


def test_one_group_and_one_shopper_have_nothing_to_be_told_from():
    curve, groups = shoppers()
    (all_of_them,) = grouped([curve], dict.fromkeys(groups, "all"), 0.0, SETTINGS)
    assert math.isnan(all_of_them.apart)
    assert math.isnan(all_of_them.p_holm)
    alone, others = grouped([curve], {"u0": "alone"} | {f"u{n}": "others" for n in range(1, 80)}, 0.0, SETTINGS)
    assert math.isnan(alone.p_holm)
    assert math.isnan(others.p_holm)
    assert not math.isnan(others.ends[0])
