"""Cross-validation: what the folds of a log have to do with one another."""

import numpy as np
import pytest

from funneltune.data import Split
from funneltune.errors import ConfigError, DataError


class Log:
    """Ten requests of five users and four queries, as far as a split looks at a store."""

    n_requests = 10
    user = np.array([0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    query = np.array([7, 7, 7, 7, 8, 8, 9, 9, 5, 5])

    def of_requests(self, name):
        return getattr(self, name)


def cuts(by, folds, **shares):
    return [Split(by=by, folds=folds, fold=fold, **shares).cut(Log()) for fold in range(folds)]


def groups(by):
    return np.arange(10) if by == "request" else getattr(Log, by)


@pytest.mark.parametrize(("by", "folds"), [("request", 2), ("request", 3), ("request", 10), ("user", 5), ("query", 3)])
def test_over_all_folds_each_group_is_tested_exactly_once_and_lies_in_one_split_of_each(by, folds):
    member = groups(by)
    tested = []
    for cut in cuts(by, folds, validation=0.3):
        of = {split: set(member[requests].tolist()) for split, requests in cut.items()}
        assert all(of.values())
        assert len(set.union(*of.values())) == sum(map(len, of.values())) == len(set(member.tolist()))
        assert sorted(np.concatenate(list(cut.values())).tolist()) == list(range(10))
        tested += sorted(of["test"])
    assert sorted(tested) == sorted(set(member.tolist()))


def test_parts_differ_by_one_group_at_most_and_the_validation_share_is_of_the_rest():
    found = cuts("request", 3, validation=0.3)
    assert sorted(len(cut["test"]) for cut in found) == [3, 3, 4]
    # 7 requests are left beside 3: round(2.1) = 2 validate; 6 beside 4: round(1.8) = 2
    assert [len(cut["validation"]) for cut in found] == [2, 2, 2]
    assert [len(cut["train"]) for cut in found] == [4, 5, 5]


def test_folds_are_dealt_from_the_permutation_by_seed_and_validation_follows_the_tested_part():
    order = np.random.default_rng(4).permutation(10)
    cut = Split(by="request", folds=5, fold=4, seed=4, validation=0.25).cut(Log())
    assert cut["test"].tolist() == sorted(order[8:].tolist())
    assert cut["validation"].tolist() == sorted(order[:2].tolist())
    assert cut["train"].tolist() == sorted(order[2:8].tolist())
    again = Split(by="request", folds=5, fold=4, seed=4, validation=0.25).cut(Log())
    assert all(np.array_equal(cut[split], again[split]) for split in cut)
    other = Split(by="request", folds=5, fold=4, seed=5, validation=0.25).cut(Log())
    assert not np.array_equal(cut["test"], other["test"])


def test_the_test_share_plays_no_part_and_a_group_always_validates():
    few = Split(by="user", folds=5, validation=0.01).cut(Log())
    assert len(few["validation"]) == 2  # one user, two requests
    assert np.array_equal(Split(by="user", folds=5, validation=0.01, test=0.99).cut(Log())["test"], few["test"])


def test_without_folds_a_cut_is_what_it_was():
    order = np.random.default_rng(0).permutation(10)
    cut = Split(by="request", validation=0.1, test=0.2).cut(Log())
    assert cut["test"].tolist() == sorted(order[:2].tolist())
    assert cut["validation"].tolist() == [order[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1}, r"data.split.folds=1 must be a whole number >= 2"),
        ({"folds": 2.5}, r"data.split.folds=2.5 must be a whole number"),
        ({"folds": True}, r"data.split.folds=True must be a whole number"),
        ({"folds": 3, "fold": 3}, r"data.split.fold=3 must be a whole number in \[0, 3\), folds=3"),
        ({"folds": 3, "fold": -1}, r"data.split.fold=-1 must be"),
        ({"fold": 2}, r"data.split.fold=2 says nothing without data.split.folds"),
        ({"folds": 5, "by": "time"}, r"by=time cannot be cut into folds=5; set data.split.by to one of request, user"),
        ({"folds": 5, "by": "item_cold"}, r"by=item_cold cannot be cut into folds"),
        ({"folds": 5, "validation": 1.0}, r"data.split.validation=1.0 must lie in \(0, 1\)"),
    ],
)
def test_folds_that_cannot_be_are_refused_with_the_remedy(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Split(**({"by": "request"} | arguments))


def test_a_log_with_fewer_groups_than_folds_is_refused():
    with pytest.raises(DataError, match=r"data.split.folds=6 is more than the log's 5 of user; lower it"):
        Split(by="user", folds=6).cut(Log())


def test_two_groups_in_two_folds_leave_none_to_train():
    class Pair(Log):
        n_requests = 2

    with pytest.raises(DataError, match=r"leaves no request for train out of 2"):
        Split(by="request", folds=2).cut(Pair())
