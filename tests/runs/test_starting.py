"""A run that begins with the weights of others: what is carried, how several are averaged, what is refused."""

import json

import pytest
import torch
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import RunError, TuningError
from funneltune.runs import load, start_from, train, zero_shot
from funneltune.runs.assemble import assemble
from funneltune.runs.identity import config_hash
from funneltune.runs.starting import begin, starts_of
from resuming import SMALL

QUICK = [word for word in SMALL if not word.startswith(("callbacks.", "~", "select=", "trainer.max", "trainer.val"))]
LOG = ["data=simulated", "data.source.domains=[home]", "head=esmm", "objective=entire_space_bce"]
TUNED = {
    "lora": ["tuning=lora", "tuning.rank=2"],
    "pfeiffer": ["tuning=pfeiffer", "tuning.bottleneck=4"],
    "adalora": ["tuning=adalora", "tuning.target_rank=1", "tuning.initial_rank=3"],
    "full": ["tuning=full"],
}


@pytest.fixture(scope="module")
def words(cache):
    def words(tuning, *more):
        return [*LOG, *QUICK, f"data.cache_dir={cache}", "trainer.precision=32-true", *TUNED[tuning], *more]

    return words


@pytest.fixture(scope="module")
def run(tmp_path_factory, words):
    """Trains a run once: by its name, tuning and further words."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(name, tuning, *more):
        if name not in made:
            assert train(compose_config(words(tuning, *more)), folder / name).status == "finished"
            made[name] = folder / name
        return made[name]

    return run


def predictions(module, data):
    module.eval()
    with torch.no_grad():
        _, batch = next(data.batches(data.rows("test")))
        return torch.stack([logit for _, logit in sorted(module(batch).logits.items())])


def fashion(folders):
    return ["data.source.domains=[fashion]", f"start=[{','.join(map(str, folders))}]"]


@pytest.mark.parametrize("tuning", ["pfeiffer", "adalora"])
def test_it_begins_with_the_very_function_of_the_run_that_it_starts_from(run, words, tuning):
    source = run(tuning, tuning)
    begun = begin(compose_config(words(tuning, *fashion([source]))))
    begun.data.setup()
    loaded = load(source)
    torch.testing.assert_close(
        predictions(begun.module, begun.data), predictions(loaded.module, begun.data), rtol=1e-5, atol=1e-6
    )
    fresh = assemble(compose_config(words(tuning, *fashion([source]))))
    assert not torch.allclose(predictions(fresh.module, begun.data), predictions(begun.module, begun.data))


@pytest.mark.slow
def test_a_run_of_adalora_goes_on_and_ends_with_its_budget(run, words, tmp_path):
    record = train(compose_config(words("adalora", *fashion([run("adalora", "adalora")]))), tmp_path / "next")
    assert record.status == "finished"
    assert sum(record.rank_pattern.values()) == len(record.rank_pattern)
    load(tmp_path / "next")  # by its own weights alone


@pytest.mark.slow
def test_several_are_averaged_number_by_number(run, words):
    folders = [run("lora", "lora"), run("other", "lora", "data.source.domains=[outdoor]")]
    begun = begin(compose_config(words("lora", *fashion(folders))))
    one, other = (load(folder).module for folder in folders)
    for part in ("encoder", "head", "interaction"):
        named = {name: getattr(one, part).state_dict()[name] for name in getattr(begun.module, part).state_dict()}
        for name, value in getattr(begun.module, part).state_dict().items():
            mean = (named[name] + getattr(other, part).state_dict()[name]) / 2
            torch.testing.assert_close(value, mean, rtol=1e-6, atol=1e-7, msg=f"{part}.{name}")
    moved = [n for n, v in one.head.state_dict().items() if not torch.equal(v, other.head.state_dict()[n])]
    assert moved


def test_zero_shot_measures_the_weights_as_they_are(run, words, tmp_path):
    source = run("lora", "lora")
    cfg = compose_config(words("lora", "data.source.domains=[home]", f"start={source}", "seed=0"))
    module, assembly, carried = zero_shot(cfg, tmp_path)
    kept = json.loads((source / "record.json").read_text())["metrics"]["test"]
    assert module.measured["test"]["ctr/auc"]["value"] == kept["ctr/auc"]["value"]
    assert carried.parts.keys() == {"backbone", "head"}
    assert carried.parts["backbone"] == sum(p.numel() for p in assembly.module.encoder.parameters() if p.requires_grad)


@pytest.mark.slow
def test_identifiers_begin_anew_and_numbers_are_measured_anew(run, words, tmp_path):
    features = ["features=all"]
    source = run("featured", "lora", *features)
    assembly = assemble(compose_config(words("lora", *features, *fashion([source]))))
    before = assembly.module.features["shared"].ids.table.weight.clone()
    carried = start_from(assembly, [source])
    there, here = load(source).module.features["shared"], assembly.module.features["shared"]
    assert carried.anew == ("ids",)
    assert torch.equal(here.ids.table.weight, before)
    assert torch.equal(here.numbers.weight, there.numbers.weight)
    assert torch.equal(here.vectors[1].weight, there.vectors[1].weight)
    assert not torch.equal(here.numbers.centre, there.numbers.centre)
    measured = zero_shot(compose_config(words("lora", *features, *fashion([source]))), tmp_path)[0]
    assert not torch.equal(measured.features["shared"].numbers.centre, there.numbers.centre)


def test_a_start_is_part_of_what_decides_a_run_and_no_start_is_not(words):
    plain = compose_config(words("lora"))
    older = OmegaConf.create({key: value for key, value in OmegaConf.to_container(plain).items() if key != "start"})
    assert config_hash(plain) == config_hash(older)
    assert config_hash(plain) != config_hash(compose_config(words("lora", "start=elsewhere")))
    assert starts_of(plain) == []


@pytest.mark.parametrize(
    ("source", "more", "told"),
    [
        ("nowhere", [], "start=nowhere holds no record.json"),
        ("lora", ["backbone.pooling=cls"], "has backbone.pooling=mean, and this run cls"),
        ("lora", ["backbone.architecture.hidden_size=32"], "has backbone.architecture="),
        ("lora", ["head=single", "objective=masked_bce"], "has head._target_=funneltune.heads.ESMM"),
        ("lora", ["tuning.alpha=8.0"], "has tuning.alpha=16.0, and this run 8"),
        (
            "lora",
            ["~data.tasks.purchase", "head=single", "objective=masked_bce", "monitor=validation/ctr/auc"],
            "predicts click, purchase given click, and this run click; only runs of the same tasks",
        ),
        (
            "lora",
            ["features=ids"],
            r"the head of .* does not fit this run's: \S+ is \(.*\) there and \(.*\) here; give all",
        ),
    ],
)
def test_what_does_not_go_on_from_it_is_refused(run, words, source, more, told):
    folder = run("lora", "lora") if source == "lora" else source
    with pytest.raises(RunError, match=told) as error:
        begin(compose_config(words("lora", f"start={folder}", *more)))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_runs_of_another_tuning_or_size_are_refused(run, words):
    lora, pfeiffer = run("lora", "lora"), run("pfeiffer", "pfeiffer")
    with pytest.raises(TuningError, match="was tuned by tuning=pfeiffer, and this is tuning=lora"):
        begin(compose_config(words("lora", f"start={pfeiffer}")))
    with pytest.raises(RunError, match="were tuned by lora, pfeiffer; average runs of one tuning"):
        begin(compose_config(words("lora", f"start=[{lora},{pfeiffer}]")))
    wide = run("wide", "lora", "tuning.rank=3", "tuning.alpha=16.0")
    with pytest.raises(RunError, match="have no mean; average runs of one tuning and size"):
        begin(compose_config(words("lora", f"start=[{lora},{wide}]")))
    with pytest.raises(TuningError, match="set tuning.initial_rank as that run had it"):
        begin(compose_config(words("adalora", "tuning.initial_rank=4", f"start={run('adalora', 'adalora')}")))


def test_a_random_backbone_of_another_seed_is_another_backbone(run, words):
    with pytest.raises(RunError, match="has seed=0, and this run 7: backbone.pretrained=false draws the backbone"):
        begin(compose_config(words("lora", f"start={run('lora', 'lora')}", "seed=7")))


def test_a_start_that_names_no_folder_is_refused(words):
    for asked in ("start=[1,2]", "start='https://elsewhere/run'"):
        with pytest.raises(RunError, match="must be the folder of a finished run, or a list of them"):
            begin(compose_config(words("lora", asked)))
