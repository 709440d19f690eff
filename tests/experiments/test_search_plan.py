import pytest

from funneltune.errors import ConfigError
from funneltune.experiments.search_plan import Objective, SearchPlan, measurable
from funneltune.funnel import TaskFunnel
from funneltune.records import RunRecord

FUNNEL = TaskFunnel.from_config(
    {"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr", "joint_rate": "ctcvr"}}
)
RATE = {"low": 1e-4, "high": 1e-2, "log": True}
NODE = {"space": {"optimizer.lr": RATE}, "metrics": ["validation/ctr/auc"]}


def plan(**changes):
    return SearchPlan.from_config("s", NODE | changes)


def space(**keys):
    return {"space": {key.replace("__", "."): value for key, value in keys.items()}}


def test_a_setting_is_written_as_on_the_command_line():
    made = plan(
        **space(
            optimizer__lr=RATE,
            tuning__rank={"low": 2, "high": 8},
            tuning=["lora", "adalora"],
            head__hidden=[[64, 32], []],
            size={"small": ["tuning.top=1", "data.max_tokens=16"], "as it is": []},
        )
    )
    made.check(FUNNEL)
    params = {"optimizer.lr": 0.00025, "tuning.rank": 4, "tuning": "lora", "head.hidden": "[64,32]", "size": "small"}
    assert made.trial_overrides(params) == [
        "optimizer.lr=0.00025",
        "tuning.rank=4",
        "tuning=lora",
        "head.hidden=[64,32]",
        "tuning.top=1",
        "data.max_tokens=16",
    ]
    assert SearchPlan.from_config("s", NODE | {"space": made.to_json()["space"]}).space[:2] == made.space[:2]


def test_ends_of_ranges_and_all_choices_together_are_tried_before_anything_runs():
    made = plan(**space(tuning=["lora", "adalora"], tuning__top=[1, None], optimizer__lr={"low": 0.1, "high": 0.2}))
    tried = [" ".join(one) for one in made.to_try()]
    assert len(tried) == len(set(tried)) == 5  # 2 x 2 choices at the lower end, and the upper end
    assert "tuning=adalora tuning.top=null optimizer.lr=0.1" in tried
    assert "tuning=lora tuning.top=1 optimizer.lr=0.2" in tried


def test_a_key_of_the_command_line_is_not_searched_and_replaces_an_override_of_the_search():
    node = NODE | space(tuning=["lora"], optimizer__lr=RATE) | {"overrides": ["data.train_share=0.25", "++a.b=1"]}
    made = SearchPlan.from_config("s", node, {"tuning", "data.train_share", "a.b"})
    assert [setting.key for setting in made.space] == ["optimizer.lr"]
    assert made.overrides == ()


@pytest.mark.parametrize(
    ("key", "maximise", "value"),
    [
        ("validation/ctr/auc", True, 0.7),
        ("validation/ctr/log_loss", False, 0.2),
        ("validation/cvr/auc", True, None),
        ("cost/step_milliseconds_median", False, 12.5),
        ("cost/rows_per_second", True, 100.0),
        ("parameters/trainable_end", False, 42.0),
    ],
)
def test_an_objective_reads_the_record_and_knows_its_direction(key, maximise, value):
    record = RunRecord(
        name="r",
        metrics={
            "validation": {"ctr/auc": {"value": 0.7}, "ctr/log_loss": {"value": 0.2}, "cvr/auc": {"value": None}},
            "test": {"ctr/auc": {"value": 0.1}},
        },
        cost={"step_milliseconds_median": 12.5, "rows_per_second": 100.0},
        parameters={"trainable_end": 42},
    )
    assert (Objective(key).maximise, Objective(key).value(record)) == (maximise, value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (space(), r"search.space is empty"),
        (space(a={"low": 2, "high": 1}), r"search.space.a: low=2 must be < high=1"),
        (space(a={"low": 0.0, "high": 1, "log": True}), r"search.space.a: log=true needs low > 0"),
        (space(a={"low": 1, "high": 9, "log": True, "step": 2}), r"log=true needs low > 0 and no step"),
        (space(a={"low": 1, "high": 8, "step": 2}), r"search.space.a.step=2 must lead from low=1 to high=8"),
        (space(a={"low": 1, "high": 8, "step": 0}), r"search.space.a.step=0 must lead"),
        (space(a={"low": 1, "high": 2, "step": 0.5}), r"search.space.a.step=0.5 must lead"),
        (space(a={"low": "1", "high": 2}), r"search.space.a.low='1' must be a number"),
        (space(a={"low": 1, "high": float("inf")}), r"search.space.a.high=inf must be a number"),
        (space(a={"low": 1}), r"search.space.a.high is missing"),
        (space(a={"low": 1, "high": 2, "logg": True}), r"search.space.a.logg is no key \(nearest: log\)"),
        (space(a={"low": 1, "high": 2, "log": 1}), r"search.space.a.log=1 must be true or false"),
        (space(a=3), r"search.space.a=3 must be \{low: ..., high: ...\} or a list of choices; write \[3\]"),
        (space(a=[]), r"search.space.a has no choices"),
        (space(a=[1, 1]), r"search.space.a names 1 twice"),
        (space(a={"x": "tuning=lora"}), r"search.space.a must be"),
        (space(a={"x": ["lora"]}), r"search.space.a.x must be a list of overrides"),
        (space(seed=[0, 1]), r"search.space.seed is not searched: .* compare seeds with funneltune study"),
        (space(data__split__seed=[0, 1]), r"data.split.seed is not searched: trials would be validated on other rows"),
        (space(data=["simulated"]), r"search.space.data is not searched"),
        ({"metrics": []}, r"search.metrics must list"),
        ({"metrics": ["validation/ctr/auc"] * 2}, r"search.metrics must list .* each once"),
        ({"metrics": ["test/ctr/auc"]}, r"test/ctr/auc is of the test split, .* take validation/ctr/auc"),
        ({"metrics": ["validation/ctr/acu"]}, r"not in a run's record \(nearest: validation/ctr/auc\)"),
        ({"metrics": ["cost/step_ms_median"]}, r"nearest: cost/step_milliseconds_median"),
        ({"metrics": ["parameters/trained"]}, r"parameters/trained is not in a run's record"),
        ({"metrics": ["ctr/auc"]}, r"ctr/auc must begin with validation/, cost/ or parameters/"),
        ({"metrics": ["validation/ctr/predicted_over_observed"]}, r"neither better when more nor when less"),
        ({"metrics": ["validation/ctr/predicted_over_true"]}, r"neither better when more nor when less"),
        ({"trials": 0}, r"search.trials=0 must be a whole number >= 1"),
        ({"retries": -1}, r"search.retries=-1"),
        ({"sampler": "cmaes"}, r"search.sampler='cmaes' must be one of tpe, random, grid"),
        ({"pruner": "mean"}, r"search.pruner='mean' must be one of none, median, halving, hyperband"),
        ({"pruner": "median", "metrics": ["cost/steps"]}, r"search.pruner=median needs one objective, of validation/"),
        ({"pruner": "median", "metrics": ["validation/ctr/auc", "cost/steps"]}, r"needs one objective"),
        ({"sampler": "grid"}, r"search.space.optimizer.lr has no step, so search.sampler=grid cannot list it"),
        ({"sampler": "grid"} | space(a={"low": 1, "high": 20_000}), r"search.sampler=grid has 20,000 points"),
    ],
)
def test_a_search_that_cannot_run_is_refused_with_the_remedy(changes, message):
    with pytest.raises(ConfigError, match=message):
        plan(**changes).check(FUNNEL)


def test_all_faults_are_told_together():
    with pytest.raises(ConfigError, match=r"search.space.a=3.*test/ctr/auc.*search.trials=0"):
        plan(**space(a=3), metrics=["test/ctr/auc"], trials=0).check(FUNNEL)


def test_a_grid_visits_every_point_once_in_an_order_by_seed():
    node = space(a=["x", "y"], b={"low": 1, "high": 5, "step": 2}, c={"low": 0.0, "high": 0.5, "step": 0.25})
    made = plan(**node, sampler="grid", trials=100)
    made.check(FUNNEL)
    assert (made.grid_size, made.total) == (18, 18)
    points = [tuple(made.grid_point(n).items()) for n in range(18)]
    assert len(set(points)) == 18
    assert {dict(p)["c"] for p in points} == {0.0, 0.25, 0.5}
    assert {dict(p)["b"] for p in points} == {1, 3, 5}
    assert points != [tuple(plan(**node, sampler="grid", seed=1).grid_point(n).items()) for n in range(18)]
    assert plan(**node, sampler="grid", trials=4).total == 4


def test_metrics_of_every_kind_of_task_are_known_before_a_run():
    funnel = TaskFunnel.from_config(
        {"stars": {"kind": "ordinal", "levels": [1, 2, 3]}, "spend": {"kind": "regression"}}
    )
    assert {"stars/qwk", "spend/rmse"} <= set(measurable(funnel, {}))
    assert "ctr/ndcg@5" in measurable(FUNNEL, {"ks": [5]})
