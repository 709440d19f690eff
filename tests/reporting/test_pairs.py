"""Which cells are held against which."""

import pytest

from funneltune.errors import ConfigError
from funneltune.reporting.pairs import wanted_pairs

GRID = [f"tuning={t},head={h}" for t in ("frozen", "lora") for h in ("esmm", "mmoe")]
PLAN = {"baseline": GRID[0], "axes": {"tuning": ["frozen", "lora"], "head": ["esmm", "mmoe"]}}


def test_by_default_each_cell_is_held_against_the_baseline():
    for pairs in ({}, {"pairs": None}, {"pairs": "baseline"}):
        assert wanted_pairs({"baseline": "b", **pairs}, ["a", "b", "c"]) == [("a", "b"), ("c", "b")]
    assert wanted_pairs({}, ["a", "b"]) == []


def test_all_holds_every_pair_once_in_the_studys_order():
    assert wanted_pairs({"pairs": "all"}, ["a", "b", "c"]) == [("b", "a"), ("c", "a"), ("c", "b")]


def test_an_axis_holds_cells_against_those_that_differ_in_it_alone():
    assert wanted_pairs(PLAN | {"pairs": "tuning"}, GRID) == [(GRID[2], GRID[0]), (GRID[3], GRID[1])]
    assert wanted_pairs(PLAN | {"pairs": "head"}, GRID) == [(GRID[1], GRID[0]), (GRID[3], GRID[2])]


def test_axes_are_read_from_the_cells_where_the_study_does_not_list_them():
    assert wanted_pairs({"baseline": GRID[0], "pairs": "head"}, GRID)[0] == (GRID[1], GRID[0])


def test_values_of_an_axis_may_hold_commas():
    cells = ["features.ids=_user,item_,head=esmm", "features.ids=_user_,head=esmm", "features.ids=_user_,head=mmoe"]
    plan = {"baseline": cells[0], "axes": {"features.ids": [], "head": []}, "pairs": "features.ids"}
    assert wanted_pairs(plan, cells) == [(cells[1], cells[0])]


def test_a_list_holds_just_its_pairs_and_a_baseline_scored_beside_the_runs_may_stand_second():
    assert wanted_pairs({"pairs": [["c", "a"], ["b", "trees"]]}, ["a", "b", "c"], ["trees"]) == [
        ("c", "a"),
        ("b", "trees"),
    ]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ("tunning", "study.pairs='tunning' is no axis of this study, nearest: tuning; give one of baseline, all"),
        (7, "study.pairs=7 is no axis of this study; give one of"),
        ([["tuning=frozen,head=esm", GRID[1]]], "which is no cell here, nearest: tuning=frozen,head=esmm; name a cell"),
        ([[GRID[0], "tres"]], "study.pairs names tres, which is no cell here, nearest: trees"),
        ([GRID[:3]], r"each entry must be \[cell, other\]"),
        (["ab"], "study.pairs holds 'ab'; each entry"),
        ([GRID[:2], GRID[1::-1]], "one cell or one pair twice; remove it"),
        ([[GRID[0], GRID[0]]], "one cell or one pair twice; remove it"),
    ],
)
def test_wrong_pairs_are_refused_in_one_line(pairs, said):
    with pytest.raises(ConfigError, match=said):
        wanted_pairs(PLAN | {"pairs": pairs}, GRID, ["trees"])


@pytest.mark.parametrize("baseline", [None, "trees"])
def test_an_axis_needs_a_baseline_that_is_a_cell(baseline):
    with pytest.raises(ConfigError, match=f"pairs=tuning needs study.baseline to be a cell .* but it is {baseline}"):
        wanted_pairs(PLAN | {"pairs": "tuning", "baseline": baseline}, GRID, ["trees"])
