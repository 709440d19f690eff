"""Differentially private runs as configs name them: what is refused, what they leave behind, how they go on."""

import json
import sys

import pytest
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.records import NO_GUARANTEE, RunRecord
from funneltune.runs import check_config, config_hash, evaluate, train
from funneltune.runs.assemble import assemble
from resuming import SMALL, fit, sweep

PRIVATE = ["privacy=dp_sgd", "data.unique=false", "tuning=lora", "tuning.rank=2", "trainer.precision=32-true"]
PLAIN = ["~callbacks.efficiency"]
SHORT = [word for word in SMALL if word not in PLAIN and not word.startswith(("callbacks.", "select="))]


def words(cache, *more):
    return [*SHORT, f"data.cache_dir={cache}", *PRIVATE, *more]


def assembled(cache, *more):
    return assemble(compose_config(words(cache, *more)))


# --- what mixes rows, or reads past the noise ----------------------------------------------------------------------


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["data.unique=true"], "data.unique=true lets rows share a text.*set data.unique=false"),
        (["data.tokens_per_batch=400"], "data.tokens_per_batch sizes batches by their texts"),
        (["data.rows_per_batch=null", "data.tokens_per_batch=400"], ".*set data.rows_per_batch, the rows expected"),
        (["data.sampling={negatives: {click: 0.5}}"], "data.sampling makes draws, labels or denominators"),
        (
            ["+data.tasks.purchase.window=3", "data.observed_until=train"],
            "data.observed_until makes draws, labels or denominators",
        ),
        (["objective=escm2_ips"], "objective=ESCM2IPS divides by what a batch holds"),
        (["objective=dcmt"], "objective=DCMT divides by what a batch holds"),
        (
            ["+objective.lists={_target_: funneltune.objectives.ListTerm, kind: softmax}"],
            "objective.lists.kind=softmax sets the rows of a page against one another",
        ),
        (["objective.delayed=model"], "objective.delayed=model needs data.observed_until"),
        (["tuning=adalora", "~tuning.rank"], "tuning=AdaLoRA uses parameters outside of their own layers"),
        (["tuning=dora", "tuning.rank=2"], "tuning=DoRA uses parameters outside"),
        (["tuning.sharing=per_task"], "tuning.sharing=per_task puts weights in place in turn"),
        (["balancing=pcgrad"], "balancing=Aggregation weighs tasks by losses or gradients as they are"),
        (["balancing=uncertainty"], "balancing=Uncertainty weighs tasks by losses"),
        (["adversary=fgm"], "adversary=FGM goes through a batch more than once"),
        (["gradients_every=5"], "gradients_every writes norms and cosines of gradients without noise"),
        (["skip_nonfinite=2"], "skip_nonfinite leaves steps out by what their rows hold"),
        (["++features.numbers={price: log}"], "features.numbers are scaled by the training rows' means"),
        (["features.history=3"], "features.history puts other rows of the shopper into a row"),
        (["+data.tasks.click.kind=regression"], "data.tasks.click is a regression, which is scaled by"),
        (["trainer.devices=2"], "trainer.devices=2 trainer.num_nodes=1: draws and noise are one process's"),
        (["trainer.strategy=ddp"], "trainer.strategy=ddp wraps the model for several ranks"),
        (["trainer.precision=bf16-true"], "trainer.precision=bf16-true clips and noises too coarsely; use 32-true"),
        (["backbone.compile=true"], "backbone.compile=true hides the layers"),
    ],
    ids=lambda value: value[0].partition("=")[0] if isinstance(value, list) else "",
)
def test_what_mixes_rows_or_reads_past_the_noise_is_refused_in_a_line(cache, more, message):
    given = [word for word in words(cache) if not (word == "tuning.rank=2" and "tuning.rank" in " ".join(more))]
    given = [word for word in given if word.partition("=")[0] not in [m.partition("=")[0] for m in more]]
    if more[0].startswith("tuning=adalora"):
        given, more = [word for word in given if word != "tuning.rank=2"], more[:1]
    with pytest.raises(ConfigError, match=f"privacy=dp_sgd: {message}") as caught:
        assemble(compose_config([*given, *more]))
    assert "\n" not in str(caught.value)


@pytest.mark.tried("dp_sgd", "bad_input")
def test_every_reason_is_told_at_once(cache):
    with pytest.raises(ConfigError, match=r"data.unique=true.*; privacy=dp_sgd: skip_nonfinite.*\.$"):
        assembled(cache, "skip_nonfinite=1", "data.unique=true")


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("privacy.epsilon=much", "privacy.epsilon='much' must be a number, or null"),
        ("privacy.clip=null", "privacy.clip=None must be a number"),
        ("privacy.rows_per_shopper=2.5", "privacy.rows_per_shopper=2.5 must be a whole number, or null"),
    ],
)
def test_values_of_another_kind_are_refused_before_anything_is_built(word, message):
    with pytest.raises(ConfigError, match=message):
        check_config(compose_config(["privacy=dp_sgd", word]))


# --- the record ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_run(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "private"
    more = ["privacy.epsilon=2", "privacy.unit=shopper", "privacy.rows_per_shopper=4", "baselines=[bm25]"]
    return train(compose_config(words(cache, "data.rows_per_batch=30", *more)), folder), folder


def test_a_record_holds_the_promise_and_what_it_leaves_out(private_run):
    record, folder = private_run
    found = RunRecord.read(folder / "record.json").privacy
    assert found == json.loads(json.dumps(record.privacy))
    assert found["guarantee"] == "(epsilon, delta)-differential privacy"
    assert 1.98 <= found["epsilon"] <= 2.0
    assert (found["unit"], found["clip"], found["accountant"]) == ("shopper", 1.0, "prv")
    assert found["delta"] == pytest.approx(1 / (10 * found["units"]))
    assert found["neighbours"] == "training splits that differ in one shopper, there or not"
    assert found["steps"] == found["planned_steps"] == 2 * round(1 / found["sample_rate"])
    told = " ".join(found["not_covered"])
    for part in ("history.parquet", "validation and test rows", "taken as public", "bm25", "other runs"):
        assert part in told
    assert "chose the weights" not in told


def test_a_run_that_was_private_is_evaluated_without_opacus(private_run, monkeypatch):
    record, folder = private_run
    monkeypatch.setitem(sys.modules, "opacus", None)
    again = evaluate(folder)
    for key, entry in record.metrics["test"].items():
        if entry["value"] is not None:
            assert again[key]["value"] == pytest.approx(entry["value"], rel=1e-4, abs=1e-6), key


def test_elsewhere_a_record_says_that_there_is_no_guarantee(cache, tmp_path):
    cfg = compose_config([*SHORT, f"data.cache_dir={cache}", "tuning=frozen", "trainer.max_steps=2"])
    assert train(cfg, tmp_path / "plain").privacy == {"guarantee": "none"}
    assert json.loads((tmp_path / "plain" / "record.json").read_text())["privacy"] == {"guarantee": "none"}
    old = json.loads((tmp_path / "plain" / "record.json").read_text())
    del old["privacy"]  # written before there was the field
    assert RunRecord.from_json(old).privacy == NO_GUARANTEE


@pytest.mark.tried("dp_sgd", "fault")
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["privacy.seed=4"], "privacy.seed=4 is in the config: whoever reads it can take the noise off"),
        (["privacy.epsilon=null", "privacy.noise=0.0"], "privacy.noise=0: gradients are clipped"),
    ],
)
def test_a_known_seed_or_no_noise_promises_nothing(cache, tmp_path, more, reason):
    record = train(compose_config(words(cache, "trainer.max_steps=2", *more)), tmp_path / "run")
    assert record.privacy["guarantee"] == "none"
    assert reason in record.privacy["reason"]
    assert "epsilon" not in record.privacy


@pytest.mark.tried("dp_sgd", "fault")
def test_a_run_that_fails_promises_nothing(cache, tmp_path):
    with pytest.raises(ConfigError, match=r"privacy.delta=0.5 must be below 1 /"):
        train(compose_config(words(cache, "privacy.delta=0.5")), tmp_path / "run")
    assert RunRecord.read(tmp_path / "run" / "record.json").privacy == NO_GUARANTEE


@pytest.mark.slow
def test_what_chose_or_began_the_weights_is_named(cache, private_run, tmp_path):
    more = ["select=best", f"start={private_run[1]}", "trainer.max_epochs=1"]
    record = train(compose_config(words(cache, "data.rows_per_batch=30", *more)), tmp_path / "run")
    told = " ".join(record.privacy["not_covered"])
    assert "of which the former chose the weights (select=best)" in told
    assert "the weights that start= begins with" in told
    assert "only one row is hidden" in told


def test_runs_without_a_guarantee_keep_the_hash_that_they_had():
    plain = compose_config([])
    before = OmegaConf.create({key: value for key, value in plain.items() if key != "privacy"})
    assert config_hash(plain) == config_hash(before)
    assert config_hash(compose_config(["privacy=dp_sgd"])) != config_hash(plain)


# --- steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.tried("dp_sgd", "fault")
@pytest.mark.parametrize("tuning", [["tuning=lora", "tuning.rank=2"], ["tuning=frozen"]], ids=["lora", "frozen"])
def test_steps_that_hold_nothing_pass_through_a_whole_run(cache, tmp_path, tuning):
    given = [word for word in words(cache) if not word.startswith("tuning")]
    cfg = compose_config([*given, *tuning, "data.rows_per_batch=1", "trainer.max_steps=12"])
    module, rows = fit(cfg, tmp_path)
    assert [] in rows
    assert module.privacy.steps_taken == module.steps_taken == 12


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "bitfit", "houlsby", "pfeiffer", "pfeiffer_hub", "lora", "frozen"])
def test_every_tuning_that_is_let_through_trains(cache, tmp_path, tuning):
    given = [word for word in words(cache) if not word.startswith("tuning")]
    size = ["data.rows_per_batch=5"] if tuning == "full" else []
    module, _ = fit(compose_config([*given, *size, f"tuning={tuning}", "trainer.max_steps=2"]), tmp_path)
    assert module.privacy.steps_taken == 2


@pytest.mark.slow
def test_bfloat16_and_features_train_too(cache, tmp_path):
    more = ["features=ids", "features.ids=[user, item]", "trainer.max_steps=2", "trainer.precision=bf16-mixed"]
    module, _ = fit(compose_config([*words(cache)[:-1], *more]), tmp_path)
    assert module.privacy.steps_taken == 2


@pytest.mark.slow
@pytest.mark.tried("kill_mid_epoch", "resume")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_goes_on_bit_for_bit_with_its_own_draws_and_noise(cache, tmp_path, accumulate, tally):
    small = [word for word in SMALL if not word.startswith("data.rows_per_batch")]
    more = [f"data.rows_per_batch={120 // accumulate}", f"trainer.accumulate_grad_batches={accumulate}"]
    cfg = compose_config([*small, f"data.cache_dir={cache}", *PRIVATE, "tuning.dropout=0.1", *more])
    differing, _, last = sweep(cfg, tmp_path)
    assert len(differing) == last - 1 >= 3
    tally(len(differing))
    assert {step: places for step, places in differing.items() if places} == {}
