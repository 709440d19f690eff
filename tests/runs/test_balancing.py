"""Balancings and adversaries as configs name them: they train, go on bit for bit, or are refused with a reason."""

import pandas as pd
import pytest
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.cli.locate import config_root
from funneltune.errors import ConfigError
from funneltune.objectives import Aggregation
from funneltune.runs import check_config, config_hash, train
from funneltune.runs.assemble import assemble
from matrices import sampled
from resuming import SMALL, config, fit, sweep

WORDS = sorted(path.stem for path in (config_root() / "balancing").glob("*.yaml"))
ADVERSARIES = ("none", "fgm", "pgd")
SHORT = [word for word in SMALL if not word.startswith(("callbacks.", "~", "select="))]


def words(cache, *more):
    return [
        *("data=simulated", "tuning=lora", "tuning.rank=2", "trainer.precision=32-true", f"data.cache_dir={cache}"),
        *SHORT,
        *more,
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair",
    sampled((word, ADVERSARIES[(place + more) % 3]) for place, word in enumerate(WORDS) for more in range(3)),
    ids="-".join,
)
def test_every_balancing_trains_with_every_adversary(cache, tmp_path, pair):
    word, adversary = pair
    more = [f"balancing={word}", f"adversary={adversary}", "head=shared_bottom", "trainer.max_steps=2"]
    module, _ = fit(compose_config(words(cache, *more)), tmp_path)
    assert module.steps_taken == 2
    assert module.balancing.word == word
    assert bool(module.adversary) == (adversary != "none")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "accumulate", "more"),
    [
        ("uncertainty", 2, []),
        pytest.param("dwa", 1, ["balancing.every=2"], marks=pytest.mark.slow),
        ("gradnorm", 2, []),
        pytest.param("pcgrad", 1, ["trainer.max_epochs=2"], marks=pytest.mark.slow),
        pytest.param("dwa", 2, ["trainer.max_epochs=3"], marks=pytest.mark.slow),
        pytest.param("random", 2, ["adversary=fgm"], marks=pytest.mark.slow),
        pytest.param("graddrop", 1, ["adversary=pgd"], marks=pytest.mark.slow),
    ],
)
def test_a_balanced_run_goes_on_bit_for_bit_from_every_step(cache, tmp_path, word, accumulate, more):
    cfg = config(cache, "lora", "32-true", accumulate, "esmm", f"balancing={word}", "gradients_every=3", *more)
    differing, _, last = sweep(cfg, tmp_path)
    assert len(differing) == last - 1 >= 5
    assert {step: places for step, places in differing.items() if places} == {}


def test_aggregators_draw_by_the_runs_seed_and_leave_what_others_draw(cache):
    made = {}
    for seed in (0, 0, 1):
        module = assemble(compose_config(words(cache, "balancing=pcgrad", f"seed={seed}"))).module
        assert isinstance(module.balancing, Aggregation)
        made.setdefault(int(module.balancing.seed), []).append(seed)
    assert sorted(made.values()) == [[0, 0], [1]]
    plain = assemble(compose_config(words(cache))).module
    same = assemble(compose_config(words(cache, "balancing=pcgrad"))).module.state_dict()
    assert all((same[name] == tensor).all() for name, tensor in plain.state_dict().items())


def test_cosines_stand_in_the_history_at_the_steps_that_measured_them(cache, tmp_path):
    train(compose_config(words(cache, "gradients_every=2", "trainer.max_steps=6")), tmp_path / "run")
    history = pd.read_parquet(tmp_path / "run" / "history.parquet")
    found = history[history.name.str.startswith("gradient/")]
    assert set(found.name) == {"gradient/norm[click]", "gradient/norm[purchase]", "gradient/cosine[click,purchase]"}
    assert sorted(set(found.step)) == [2, 4, 6]
    assert found[found.name.str.contains("cosine")].value.between(-1, 1).all()
    assert not found.duplicated(["step", "name"]).any()


def test_a_run_without_the_two_groups_is_what_it_was_and_watching_changes_nothing_of_it():
    plain = compose_config([])
    assert (
        len({config_hash(compose_config(more)) for more in ([], ["gradients_every=5"], ["adversary.weight=0.3"])}) == 1
    )
    for more in (["balancing=pcgrad"], ["balancing=dwa"], ["adversary=fgm"], ["adversary=pgd", "adversary.steps=2"]):
        assert config_hash(compose_config(more)) != config_hash(plain)
    older = OmegaConf.create(OmegaConf.to_container(plain, resolve=True))
    for key in ("balancing", "adversary", "gradients_every"):
        del older[key]
    assert config_hash(older) == config_hash(plain)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["balancing=pcgrad", "trainer=fp16"], "balancing=pcgrad takes gradients of single tasks, which float16 needs"),
        (["balancing=gradnorm", "trainer=fp16"], "balancing=gradnorm takes gradients of single tasks"),
        (["gradients_every=5", "trainer=fp16"], "gradients_every=5 takes gradients of single tasks"),
        (
            ["balancing=mgda", "trainer=fsdp2"],
            "balancing=mgda goes through a batch more than once, and trainer.strategy",
        ),
        (["gradients_every=5", "trainer=fsdp2"], "gradients_every=5 goes through a batch more than once"),
        (["adversary=fgm", "trainer=fsdp2"], "adversary=fgm goes through a batch more than once, and trainer.strategy"),
        (["balancing=uncertainty", "trainer=fsdp2"], "balancing=uncertainty has weights of its own, which trainer"),
        (["balancing=cagrad", "backbone.compile=true"], "compiled layers free what a second pass reads; set backbone"),
        (["adversary=pgd", "backbone.compile=true"], "adversary=pgd goes through a batch more than once, and compiled"),
    ],
)
def test_what_cannot_go_through_a_batch_twice_is_refused(cache, more, message):
    with pytest.raises(ConfigError, match=message):
        assemble(compose_config(["backbone=tiny", f"data.cache_dir={cache}", *more, "tuning=lora"]))


@pytest.mark.parametrize(
    "more", [["balancing=dwa", "trainer=fp16"], ["adversary=fgm", "trainer=fp16"], ["balancing=dwa"]]
)
def test_what_goes_through_it_once_is_not(cache, more):
    assert assemble(compose_config(["backbone=tiny", f"data.cache_dir={cache}", *more, "tuning=lora"])).module


def test_gradients_are_measured_every_whole_number_of_steps():
    with pytest.raises(ConfigError, match="gradients_every=-1 must be a whole number >= 0"):
        check_config(compose_config(["gradients_every=-1"]))
