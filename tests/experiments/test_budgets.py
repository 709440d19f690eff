"""Equal terms: sizes that train as many weights, and the rates that are tried."""

import dataclasses

import pytest
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.experiments.budgets import Match, Matched, Tune, match_sizes
from funneltune.runs.targets import build

ALL_PARTS = "tuning.parts=[query,key,value,attention_out,feed_forward_in,feed_forward_out]"
WIDTH, INNER, LAYERS = 384, 1536, 6
"""MiniLM's."""


def cells(*tunings, backbone="minilm"):
    return {
        tuning: compose_config(["experiment=quickstart", f"backbone={backbone}", f"tuning={tuning}", *more])
        for tuning, *more in tunings
    }


def test_sizes_are_those_that_the_papers_formulas_give_on_minilm():
    made = cells(["adalora"], ["lora", ALL_PARTS], ["houlsby"], ["pfeiffer"], ["full"], ["frozen"], ["bitfit"])
    found = match_sizes(Match(), made)
    per_rank = LAYERS * (4 * (WIDTH + WIDTH) + 2 * (WIDTH + INNER))
    per_triplet = per_rank + LAYERS * 6

    def adapters(bottleneck, places):
        return LAYERS * places * (2 * WIDTH * bottleneck + bottleneck + WIDTH)

    assert found == {
        "adalora": Matched({"tuning.target_rank": 8, "tuning.initial_rank": 12, "tuning.alpha": 32.0}, 8 * per_triplet),
        "lora": Matched({"tuning.rank": 8, "tuning.alpha": 16.0}, 8 * per_rank),
        "houlsby": Matched({"tuning.bottleneck": 35}, adapters(35, 2)),
        "pfeiffer": Matched({"tuning.bottleneck": 71}, adapters(71, 1)),
        "full": None,
        "frozen": None,
        "bitfit": None,
    }
    trained = [one.trained for one in found.values() if one]
    assert max(trained) / min(trained) < 1.02


def test_what_was_matched_is_what_a_run_trains():
    """The count without storage against the real backbone; LayerNorms, which Houlsby trains too, stand apart."""
    (cfg,) = cells(["houlsby"], backbone="tiny").values()
    sized = match_sizes(Match(budget=9_000), {"houlsby": cfg})["houlsby"]
    method = build(cfg.tuning, **{key.removeprefix("tuning."): value for key, value in sized.sizes.items()})
    backbone = build(cfg.backbone).model()
    method.apply(backbone)
    assert method.trained_at_end() == sized.trained == method.adapter_parameters()
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) > sized.trained


def test_sets_of_one_task_each_are_matched_as_a_whole():
    per_rank = LAYERS * 2 * (WIDTH + WIDTH)
    made = cells(["lora"]) | {
        "apart": cells(["lora", "tuning.sharing=per_task"])["lora"],
        "mixed": cells(["lora", "tuning.sharing=mixture", "tuning.adapters=4"])["lora"],
        "stem": cells(["lora", "tuning.sharing=per_task", "head=stem", "objective=masked_bce"])["lora"],
    }
    found = match_sizes(Match(budget=24 * per_rank), {name: made[name] for name in ("lora", "apart", "mixed", "stem")})
    assert {name: one.sizes["tuning.rank"] for name, one in found.items()} == {
        "lora": 24,
        "apart": 12,  # two tasks
        "stem": 8,  # two tasks, and what they share
        "mixed": 6,
    }
    assert found["apart"].trained == found["stem"].trained == 24 * per_rank
    assert found["mixed"].trained == 24 * per_rank + 2 * 4 * WIDTH  # and a gate for each task


def test_a_budget_is_a_number_or_another_cells():
    made = cells(["lora"], ["houlsby"])
    by_name = match_sizes(Match(budget="houlsby"), made)
    assert by_name["houlsby"].sizes == {"tuning.bottleneck": 64}
    assert by_name == match_sizes(Match(budget=by_name["houlsby"].trained), made)
    assert by_name["lora"].sizes["tuning.alpha"] == 2 * by_name["lora"].sizes["tuning.rank"]  # the configured scale


def test_finer_methods_come_to_the_coarsest_where_the_budget_itself_parts_them():
    """AdaLoRA on tiny adds 1,804 weights a rank: 29,000 lies between 16 and 17 of them, and Pfeiffer could meet it."""
    found = match_sizes(Match(budget=29_600), cells(["adalora"], ["pfeiffer"], backbone="tiny"))
    assert found["adalora"].trained == 16 * 1_804
    assert abs(found["pfeiffer"].trained - 16 * 1_804) < 260
    assert abs(found["pfeiffer"].trained - 29_600) > 500


def test_each_of_several_budgets_is_met_by_its_own_cells():
    made = cells(["lora"], ["houlsby"], ["adalora"], ["full"])
    small = {**made, "small": cells(["adalora", "tuning.target_rank=2", "tuning.initial_rank=3"])["adalora"]}
    small["low"] = made["lora"]
    found = match_sizes(Match(budget={"adalora": ("houlsby", "lora"), "small": ("low",)}), small)
    assert found["adalora"].trained == 4 * found["small"].trained
    for cell, budget in (("lora", "adalora"), ("houlsby", "adalora"), ("low", "small")):
        assert found[cell].trained == pytest.approx(found[budget].trained, rel=0.02)
    assert found["full"] is None
    alone = match_sizes(Match(budget={"adalora": ("lora",)}), {"lora": made["lora"], "full": made["full"]})
    assert alone == {"lora": None, "full": None}  # the command line left the budget's own cell out
    with pytest.raises(ConfigError, match="study.budget names adalra, which is no cell; there are: lora"):
        match_sizes(Match(budget={"adalra": ("loar",)}), made)


def test_budgets_are_lists_of_cells_each_in_one():
    with pytest.raises(ConfigError, match=r"study.budget.a='b' must list the cells"):
        Match.from_config("trainable_parameters", {"a": "b"})
    with pytest.raises(ConfigError, match="study.budget names c under two budgets"):
        Match.from_config("trainable_parameters", {"a": ["c"], "b": ["c"]})


def test_methods_that_cannot_meet_are_told_how_far_apart_they_are():
    with pytest.raises(ConfigError, match=r"near 20,000 weights, adalora trains 41,508 and lora 46,080, more than 2%"):
        match_sizes(Match(budget=20_000), cells(["lora"], ["adalora"]))
    with pytest.raises(ConfigError, match="no cell's tuning method has a size"):
        match_sizes(Match(), cells(["full"]))
    with pytest.raises(ConfigError, match="study.budget=full is no cell with a size; there are: lora"):
        match_sizes(Match(budget="full"), cells(["full"], ["lora"]))


def test_what_is_tried_is_the_tuned_weights_rate_or_the_heads():
    tune = Tune((10, 1, 0.1))
    tuned = OmegaConf.create({"tuning": {"learning_rate": 3e-4}, "optimizer": {"lr": 1e-3}})
    frozen = OmegaConf.create({"tuning": {}, "optimizer": {"lr": 1e-3}})
    assert tune.candidates(tuned) == ("tuning.learning_rate", [3e-5, 3e-4, 3e-3])
    assert tune.candidates(frozen) == ("optimizer.lr", [1e-4, 1e-3, 1e-2])
    assert Tune.from_config(tune.to_json()) == dataclasses.replace(tune, rates=(10.0, 1.0, 0.1))
