"""Runs whose tasks do not share the tuned weights: what they log and store, and where they are refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from funneltune.cli.compose import compose_config
from funneltune.decisions import Scorer, logged_requests
from funneltune.errors import ConfigError
from funneltune.runs import evaluate, load, train
from funneltune.runs.assemble import assemble
from funneltune.schema import SHARED
from resuming import SMALL, config, sweep

QUICK = [word for word in SMALL if not word.startswith(("callbacks.", "~", "select="))]


def words(cache, *more):
    return ["data=simulated", *QUICK, f"data.cache_dir={cache}", "trainer.precision=32-true", *more]


def assembled(cache, *more):
    made = assemble(compose_config(words(cache, *more)))
    made.data.prepare_data()
    made.data.setup()
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("runs") / "mixture"
    more = ["tuning=lora", "tuning.rank=2", "tuning.sharing=mixture", "tuning.adapters=3", "gradients_every=1"]
    record = train(compose_config(words(cache, *more)), folder)
    assert record.status == "finished"
    return folder


def test_a_stored_run_measures_as_it_did(run):
    kept = json.loads((run / "record.json").read_text())["metrics"]["test"]
    assert {key: entry["value"] for key, entry in evaluate(run).items()} == {
        key: entry["value"] for key, entry in kept.items()
    }
    assert sorted(path.name for path in (run / "weights" / "peft").iterdir()) == ["0", "1", "2"]
    module = load(run).module
    assert len(module.encoder.sets) == 3
    assert all(gate.abs().max() > 0 for gate in module.encoder.sets.gate_parameters())


def test_the_record_counts_every_set_and_the_gates(run):
    record = json.loads((run / "record.json").read_text())
    module = load(run).module
    parameters = list(module.encoder.parameters())
    assert record["parameters"]["total"] == sum(
        p.numel() for m in (module.encoder, module.head) for p in m.parameters()
    )
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    assert (
        trained
        == module.tuning.trained_at_end()
        == 3 * (2 * 2 * 2 * module.encoder.width) + 2 * 3 * module.encoder.width
    )


def test_a_mixtures_gates_are_logged(run):
    history = pq.read_table(run / "history.parquet").to_pydict()
    found = {name: value for name, value in zip(history["name"], history["value"], strict=True) if "adapters" in name}
    assert set(found) == {
        f"head/gate_adapters_{task}/{what}" for task in ("click", "purchase") for what in (0, 1, 2, "effective")
    }
    for task in ("click", "purchase"):
        assert sum(found[f"head/gate_adapters_{task}/{n}"] for n in range(3)) == pytest.approx(1.0, abs=1e-5)
        assert 1.0 < found[f"head/gate_adapters_{task}/effective"] <= 3.0


def test_a_tasks_loss_moves_its_own_set_and_no_other(cache):
    made = assembled(cache, "tuning=houlsby", "tuning.sharing=per_task", "head=single", "objective=masked_bce")
    module, batch = made.module, made.data.collator().rows(np.arange(40))
    terms = module.objective(batch, module(batch)).terms
    sets = module.encoder.sets
    for task, other in (("click", "purchase"), ("purchase", "click")):
        module.zero_grad()
        terms[task].backward(retain_graph=True)
        assert all(p.grad is None for p in sets.of(other).values())
        moved = [p.grad.abs().max() for n, p in sets.of(task).items() if n.endswith("up.bias")]
        assert moved
        assert all(size > 0 for size in moved)


def test_a_head_that_reads_what_is_shared_beside_gets_a_set_for_it(cache):
    more = ["tuning=lora", "tuning.sharing=per_task", "features=none"]
    stem = assembled(cache, *more, "head=stem", "objective=masked_bce")
    assert stem.module.encoder.sets.labels == ("click", "purchase", SHARED)
    batch = stem.data.collator().rows(np.arange(20))
    assert set(stem.module(batch).logits) == {"click", "purchase"}
    with pytest.raises(ConfigError, match="head=stem reads a representation of each task's own, and there is none"):
        assemble(compose_config(words(cache, "tuning=lora", "features=none", "head=stem", "objective=masked_bce")))


def test_the_shared_run_and_the_one_with_sets_start_with_the_same_logits(cache):
    shared, apart = (
        assembled(cache, "tuning=lora", f"tuning.sharing={word}", "backbone.dropout=0")
        for word in ("shared", "per_task")
    )
    batch = shared.data.collator().rows(np.arange(40))
    with torch.no_grad():
        found, wanted = (made.module.eval()(batch).logits for made in (apart, shared))
    assert all(torch.equal(found[task], wanted[task]) for task in wanted)


@pytest.mark.slow
@pytest.mark.parametrize("more", [("lora", "tuning.sharing=per_task"), ("houlsby", "tuning.sharing=mixture")])
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(cache, tmp_path, more):
    method, sharing = more
    differing, _, _ = sweep(config(cache, method, "32-true", 1, "esmm", sharing), tmp_path, only={2})
    assert differing == {2: []}


def test_an_adversary_moves_what_all_sets_read_or_the_vectors_themselves(cache):
    from funneltune.modules.adversary import site_of

    for method, sites in (("lora", 1), ("bitfit", 2)):
        made = assembled(cache, f"tuning={method}", "tuning.sharing=per_task", "head=single", "objective=masked_bce")
        batch = made.data.collator().rows(np.arange(20))
        made.module.eval()
        site = site_of(made.module, batch)
        assert (site.values[0].ndim == 3) == (method == "lora")  # tokens' states, or texts' vectors
        assert len(site.values) == sites
        found, wanted = site.go_on(site.values).logits, made.module(batch).logits
        assert all(torch.equal(found[task], wanted[task]) for task in wanted)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["trainer.strategy=fsdp2"],
            "fsdp2 shards the weights that stand in a layer, and tuning.sharing=per_task",
        ),
        (["backbone=none", "features=ids"], "tuning=lora has nothing to tune with backbone=none"),
    ],
)
def test_where_there_can_be_no_sets_they_are_refused(cache, more, message):
    base = [word for word in QUICK if not (word.startswith("backbone") and "backbone=none" in more)]
    made = ["data=simulated", *base, f"data.cache_dir={cache}", "tuning=lora", "tuning.sharing=per_task", *more]
    with pytest.raises(ConfigError, match=message):
        assemble(compose_config(made))


def test_a_run_with_vectors_of_each_tasks_own_is_ranked_as_it_predicts(run):
    scorer = Scorer.of_run(run)
    assert not scorer.keeps_items
    request = next(logged_requests(scorer))
    told = pq.read_table(run / "predictions.parquet").to_pandas()
    wanted = told[told.request == int(request.key)].p_click
    np.testing.assert_allclose(scorer.score([request.asked], [request.items])[0]["ctr"], wanted, rtol=1e-4)
