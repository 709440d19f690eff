import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from funneltune.errors import ConfigError
from funneltune.experiments import Cell, Study, override_text


def test_a_grid_is_every_combination_times_the_seeds():
    study = Study("s", {"tuning": ("frozen", "full"), "head": ("esmm",)}, seeds=(0, 1))
    assert study.cells() == [
        Cell("tuning=frozen,head=esmm", 0, ("tuning=frozen", "head=esmm", "seed=0")),
        Cell("tuning=frozen,head=esmm", 1, ("tuning=frozen", "head=esmm", "seed=1")),
        Cell("tuning=full,head=esmm", 0, ("tuning=full", "head=esmm", "seed=0")),
        Cell("tuning=full,head=esmm", 1, ("tuning=full", "head=esmm", "seed=1")),
    ]
    assert study.cells()[0].folder == "cells/tuning=frozen,head=esmm/seed=0"


def test_a_grid_without_axes_is_one_cell_per_seed():
    assert [cell.folder for cell in Study("s", seeds=(3,)).cells()] == ["cells/all/seed=3"]


def test_a_value_with_slashes_and_spaces_makes_one_folder():
    (cell,) = Study("s", {"backbone.name": ("'a b/c'",)}).cells()
    assert cell.name == "backbone.name=_a_b_c_"
    assert cell.overrides[0] == "backbone.name='a b/c'"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axes": {"tuning": ()}}, r"study.axes.tuning has no values"),
        ({"axes": {"tuning": ("a", "a")}}, r"study.axes.tuning names a twice"),
        ({"axes": {"seed": ("1",)}}, r"study.axes.seed is no axis; use study.seeds"),
        ({"seeds": ()}, r"study.seeds is empty"),
        ({"seeds": (1, 2, 1)}, r"study.seeds names 1 twice"),
        ({"axes": {"a": ("'x y'", "'x/y'")}}, r"two cells would share one folder name"),
    ],
)
def test_a_grid_that_cannot_run_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Study("s", **fields)


def test_all_faults_of_a_grid_are_told_together():
    with pytest.raises(ConfigError, match=r"tuning has no values.*seeds names 0 twice"):
        Study("s", {"tuning": ()}, seeds=(0, 0))


def test_a_baseline_that_is_no_cell_names_the_nearest():
    study = Study("s", {"tuning": ("frozen", "full")}, baseline="tuning=froze")
    with pytest.raises(ConfigError, match=r"nearest: tuning=frozen; cells: tuning=frozen, tuning=full"):
        study.check_baseline()


def test_a_baseline_that_every_run_is_scored_beside_will_do():
    Study("s", {"tuning": ("frozen",)}, baseline="bm25").check_baseline(["bm25"])
    with pytest.raises(ConfigError, match="is no cell"):
        Study("s", {"tuning": ("frozen",)}, baseline="bm25").check_baseline()


def test_a_label_stands_for_several_overrides():
    node = {"axes": {"input": {"ids": ["backbone=none", "tuning=frozen"], "both": []}}, "seeds": [3]}
    study = Study.from_config("s", node)
    assert study.cells() == [
        Cell("input=ids", 3, ("backbone=none", "tuning=frozen", "seed=3")),
        Cell("input=both", 3, ("seed=3",)),
    ]
    assert Study.from_config("s", study.to_json()) == study
    with pytest.raises(ConfigError, match=r"study.axes.input.ids='backbone=none' must be a list of overrides"):
        Study.from_config("s", {"axes": {"input": {"ids": "backbone=none"}}, "seeds": [0]})


def test_comma_lists_of_the_command_line_replace_axes_and_seeds():
    node = {"axes": {"tuning": ["frozen"], "head": ["esmm"]}, "seeds": [0], "metric": "ctr/auc"}
    study = Study.from_config("s", node, {"tuning": ["full", "adalora"], "seed": ["3", "4"]})
    assert study.axes == {"tuning": ("full", "adalora"), "head": ("esmm",)}
    assert study.seeds == (3, 4)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", exclude_categories=("C",)), max_size=12),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@example("\\")
@example(["\\", "'"])
@example("it's \\'")
@given(values)
def test_hydra_reads_back_the_value_that_was_written(value):
    (override,) = OverridesParser.create().parse_overrides([f"key={override_text(value)}"])
    found = override.value()
    assert unquoted(found) == value


def unquoted(value):
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    return [unquoted(item) for item in value] if isinstance(value, list) else value


def test_leave_one_out_is_everything_and_everything_but_each_part():
    node = {"design": "leave_one_out", "parts": {"text": ["backbone=none"], "ids": ["features.ids=[]"]}, "seeds": [0]}
    study = Study.from_config("s", node)
    assert [(cell.name, cell.overrides) for cell in study.cells()] == [
        ("without=nothing", ("seed=0",)),
        ("without=text", ("backbone=none", "seed=0")),
        ("without=ids", ("features.ids=[]", "seed=0")),
    ]
    assert (study.baseline, study.pairs) == ("without=nothing", "without")
    assert Study.from_config("s", study.to_json()) == study


def test_leave_one_out_beside_another_axis_pairs_within_it():
    node = {"design": "leave_one_out", "parts": {"ids": ["a=1"]}, "axes": {"tuning": ["lora", "full"]}, "seeds": [0]}
    study = Study.from_config("s", node)
    names = [f"without={left_out},tuning={tuning}" for left_out in ("nothing", "ids") for tuning in ("lora", "full")]
    assert study.cell_names == names
    assert study.baseline == "without=nothing,tuning=lora"


def test_folds_multiply_the_runs_of_each_cell_and_name_their_folders():
    study = Study("s", {"tuning": ("full",)}, seeds=(0, 1), folds=2)
    assert [(cell.folder, cell.overrides) for cell in study.cells()] == [
        (
            f"cells/tuning=full/seed={seed},fold={fold}",
            ("tuning=full", "++data.split.folds=2", f"++data.split.fold={fold}", f"seed={seed}"),
        )
        for seed in (0, 1)
        for fold in (0, 1)
    ]


def test_trials_are_runs_of_their_own_that_leave_the_test_split_alone():
    (cell,) = Study("s", {"tuning": ("lora",)}).cells()
    one, two = cell.trials("tuning.learning_rate", [0.001, 0.01], ["data.train_share=0.25"])
    assert one.folder == "trials/tuning=lora/tuning.learning_rate=0.001/seed=0"
    assert two.overrides == (
        *cell.overrides,
        "data.train_share=0.25",
        "test=false",
        "baselines=[]",
        "tuning.learning_rate=0.01",
    )
    assert cell.also({"tuning.rank": 3}).overrides == ("tuning=lora", "seed=0", "tuning.rank=3")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"design": "random"}, r"study.design=random must be grid or leave_one_out"),
        ({"parts": {"a": []}}, r"study.parts belongs to study.design=leave_one_out"),
        ({"design": "leave_one_out", "parts": ["a"]}, r"study.parts=\['a'\] must map the name of a part"),
        ({"folds": 1}, r"study.folds=1 must be >= 2"),
        ({"retries": -1}, r"study.retries=-1 must be >= 0"),
        ({"pairs": "tunning"}, r"study.pairs=tunning must be one of baseline, all, tuning"),
        ({"pairs": [["tuning=full"]]}, r"study.pairs=.* must be baseline, all, an axis, or a list of \[cell, other\]"),
        ({"pairs": [["tuning=full", "tuning=lor"]]}, r"study.pairs names tuning=lor, .* nearest: tuning=lora"),
        ({"match": "flops"}, r"study.match=flops must be trainable_parameters, or null"),
        ({"budget": 3}, r"study.budget=3 needs study.match=trainable_parameters"),
        ({"match": "trainable_parameters", "budget": 0.5}, r"study.budget=0.5 must be a number of weights"),
        ({"tune": [1]}, r"study.tune=\[1\] must have the keys rates, overrides, metric, seeds"),
        ({"tune": {"rate": [1]}}, r"study.tune=.* must have the keys rates, overrides, metric, seeds"),
        ({"tune": {"rates": [1], "seeds": 0}}, r"study.tune.seeds=0 must be a whole number >= 1"),
        ({"tune": {"rates": [1], "seeds": 2}}, r"study.tune.seeds=2 must be <= 1, the study's seeds"),
        ({"tune": {"rates": [1, 0]}}, r"study.tune.rates=\[1, 0\] must list different multiples above 0"),
        ({"tune": {"rates": [1, 1]}}, r"must list different multiples above 0"),
        ({"tune": {"rates": 3}}, r"study.tune.rates=3 must list"),
        ({"tune": {"rates": [1], "metric": "test/ctr/auc"}}, r"tune.metric=test/ctr/auc must be of the validation"),
        ({"tune": {"rates": [1], "overrides": "a=1"}}, r"study.tune.overrides='a=1' must be a list of overrides"),
    ],
)
def test_a_study_that_cannot_be_is_refused_by_the_field(node, message):
    with pytest.raises(ConfigError, match=message):
        Study.from_config("s", {"axes": {"tuning": ["lora", "full"]}, "seeds": [0], **node})
