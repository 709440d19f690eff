"""What a run is: equal hashes for equal computations, and only for those."""

import torch
from omegaconf import OmegaConf

from funneltune.runs.identity import config_hash
from funneltune.runs.precision import resolve_precision

CONFIG = {"seed": 0, "tuning": {"rank": 4}, "run_dir": "a", "logger": {"csv": {}}}


def changed(**changes):
    return config_hash(OmegaConf.create(CONFIG | changes))


def test_the_hash_is_of_what_is_computed_not_of_where_it_goes():
    same = config_hash(OmegaConf.create(CONFIG))
    assert changed(run_dir="b") == changed(logger=None) == same
    assert len({same, changed(seed=1), changed(tuning={"rank": 8})}) == 3


def test_leaving_the_test_split_alone_is_another_run_and_testing_it_is_what_was_always_done():
    assert changed(test=True) == config_hash(OmegaConf.create(CONFIG)) != changed(test=False)


def test_tasks_that_share_are_what_was_always_done_and_tasks_that_do_not_another_run():
    shared = changed(tuning={"rank": 4, "sharing": "shared", "adapters": None})
    assert shared == config_hash(OmegaConf.create(CONFIG))
    apart = [
        changed(tuning={"rank": 4, "sharing": word, "adapters": n}) for word, n in (("mixture", 2), ("mixture", 3))
    ]
    assert len({shared, *apart, changed(tuning={"rank": 4, "sharing": "per_task", "adapters": None})}) == 4


def test_an_interpolation_counts_by_its_value():
    assert changed(tuning={"rank": "${seed}"}) == changed(tuning={"rank": 0})


def test_precision_is_chosen_only_where_it_is_left_open(monkeypatch):
    assert resolve_precision("32-true", "cpu") == "32-true"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve_precision("auto", "cpu") == "bf16-mixed"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert resolve_precision("auto", "cpu") == "32-true"
