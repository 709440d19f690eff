"""From a run's config back to its world: the log's own truth, and that of any other page."""

import dataclasses

import numpy as np
import pytest

from funneltune.data import Simulated
from funneltune.errors import ConfigError, RunError
from funneltune.marketplace import Mixture, State, World, simulate, world_of, world_requests
from funneltune.records import RunRecord

SOURCE = {
    "_target_": "funneltune.data.Simulated",
    "impressions": 6_000,
    "items": 400,
    "queries": 80,
    "shoppers": 200,
    "page": 10,
    "days": 30,
    "fitting": 0.3,
    "popular": 0.6,
}


@pytest.fixture(scope="module")
def log():
    knobs = {
        key: value for key, value in SOURCE.items() if key not in ("_target_", "impressions", "fitting", "popular")
    }
    parts = list(simulate(World(**knobs), Mixture(0.3, 0.6), SOURCE["impressions"]))
    return {name: np.concatenate([part[name] for part in parts]).reshape(-1, 10) for name in parts[0]}


@pytest.fixture(scope="module")
def requests():
    return world_requests(SOURCE)


def test_the_logs_own_pages_have_the_truth_and_the_outcomes_that_the_log_wrote(log, requests):
    found = requests.outcomes(requests.shown)
    np.testing.assert_array_equal(requests.shown, log["item"])
    np.testing.assert_array_equal(requests.request.number, log["request"][:, 0])
    for name in ("p_click", "p_purchase_given_click"):
        np.testing.assert_array_equal(getattr(found, name), log[f"oracle_{name}"])
    for name in ("click", "purchase"):
        np.testing.assert_array_equal(getattr(found, name), log[name])


def test_some_requests_have_the_truth_that_they_have_among_all_in_whatever_order(log, requests):
    numbers = np.array([555, 3, 42])
    found = world_requests(SOURCE, numbers)
    np.testing.assert_array_equal(found.outcomes(found.shown).p_click, log["oracle_p_click"][numbers])
    np.testing.assert_array_equal(requests.among(numbers).shown, log["item"][numbers])


def test_a_turned_page_moves_the_looks_and_leaves_the_appeal(requests):
    some = requests.among(np.arange(40))
    turned = some.shown[:, ::-1]
    before, after = some.outcomes(some.shown), some.outcomes(turned)
    np.testing.assert_array_equal(before.p_examine, after.p_examine)
    np.testing.assert_allclose((before.p_click / before.p_examine)[:, ::-1], after.p_click / after.p_examine, rtol=1e-5)
    np.testing.assert_allclose(some.appeal(turned)[0], after.p_click / after.p_examine, rtol=1e-6)


def test_what_is_sold_out_where_a_request_comes_is_bought_less(requests):
    one = requests.among(np.array([10]))
    state = one.states[one.state[0]]
    bare = dataclasses.replace(
        one, states=(State(state.day, np.zeros_like(state.stock), state.spent),), state=np.zeros(1, int)
    )
    full, none = one.outcomes(one.shown), bare.outcomes(one.shown)
    assert (none.p_purchase_given_click < full.p_purchase_given_click).all()
    np.testing.assert_array_equal(none.p_click, full.p_click)


def test_what_is_on_sale_is_what_was_launched(requests):
    launched = requests.world.catalogue.launched
    assert (launched > 0).any()
    assert requests.on_sale.shape == (600, 400)
    assert requests.on_sale[-1].sum() > requests.on_sale[0].sum() == (launched <= requests.request.day[0]).sum()


def test_a_runs_record_leads_to_its_world_as_its_config_does(tmp_path):
    RunRecord(name="mine", config={"data": {"source": SOURCE}}).write(tmp_path / "record.json")
    for there in (tmp_path, str(tmp_path), tmp_path / "record.json"):
        np.testing.assert_array_equal(world_of(there).catalogue.price, world_of(SOURCE).catalogue.price)


def test_the_world_has_the_defaults_that_the_source_has():
    knobs = Simulated(impressions=100).describe()
    world = World()
    assert {name: getattr(world, name) for name in ("seed", "page", "days", "selection_bias", "position_decay")} == {
        name: knobs[name] for name in ("seed", "page", "days", "selection_bias", "position_decay")
    }
    assert (len(world.catalogue), len(world.searches), len(world.shoppers)) == tuple(
        knobs[name] for name in ("items", "queries", "shoppers")
    )


@pytest.mark.parametrize("target", ["funneltune.data.Table", ""])
def test_a_log_whose_truth_no_one_knows_is_refused(target, tmp_path):
    source = {"_target_": target}
    with pytest.raises(ConfigError, match="whose truth no one knows"):
        world_of(source)
    RunRecord(name="mine", config={"data": {"source": source}}).write(tmp_path / "record.json")
    with pytest.raises(ConfigError, match=f"run={tmp_path} has the log of"):
        world_requests(tmp_path)


def test_a_folder_without_a_record_and_a_request_that_is_none_are_told(tmp_path, requests):
    with pytest.raises(RunError, match="is missing"):
        world_of(tmp_path)
    with pytest.raises(ConfigError, match="the log has no request 600; its last is 599"):
        requests.among(np.array([3, 600]))
