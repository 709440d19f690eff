"""The configs of large public logs: tiny files of their form are read by hand-checked rules, and train two steps."""

import functools

import numpy as np
import pytest
import torch
from omegaconf import open_dict

from funneltune.cli.compose import compose_config
from funneltune.data import prepare
from funneltune.funnel import TaskFunnel
from funneltune.metrics.lists import exponential_gain
from funneltune.runs import train
from funneltune.runs.assemble import assemble, assemble_data
from funneltune.runs.targets import build
from published import write_ali_ccp, write_ali_express, write_census, write_criteo, write_esci, write_wands

TEXTS = ("esci", "wands")
LOGS = {
    "ali_ccp": write_ali_ccp,
    "ali_express": write_ali_express,
    "census_income_full": write_census,
    "census_income_full_education": write_census,
    "criteo_conversions": write_criteo,
    "esci": write_esci,
    "wands": write_wands,
}
SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def path_of(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")

    @functools.cache
    def path(name):
        more = {}
        if name.startswith("census"):
            source = compose_config([f"data={name}"]).data.source
            more = {"columns": list(source.columns), "numeric": list(source.numeric)}
        return LOGS[name](root / name, **more)

    return path


def composed(name, path_of, tmp_path, *more):
    words = [
        f"experiment={name}",
        f"data.path={path_of(name)}",
        f"data.cache_dir={tmp_path}/cache",
        "logger=none",
        *more,
    ]
    cfg = compose_config(words)
    if name in TEXTS:
        with open_dict(cfg):
            cfg.backbone.pretrained, cfg.backbone.architecture = False, SMALL
    return cfg


@pytest.fixture
def read(path_of, tmp_path):
    def found(name, *more):
        cfg = composed(name, path_of, tmp_path, *more)
        store = prepare(build(cfg.data.source), TaskFunnel.from_config(dict(cfg.data.tasks)), tmp_path / "cache")
        return store, build(cfg.data.split).cut(store)

    return found


def words(store, name, rows=slice(None)):
    return np.array(store.manifest["notes"]["categories"][name])[store.column(name)[rows]].tolist()


def test_ali_express_has_searches_of_two_files(read):
    store, cut = read("ali_express")
    assert store.request_offsets.tolist() == list(range(0, 33, 4))
    assert cut["test"].tolist() == [0, 1]  # test.csv is read first; its searches 0 and 1 are not those of train.csv
    assert (len(cut["train"]), len(cut["validation"])) == (5, 1)
    assert store.column("click")[:4].tolist() == [0, 1, 0, 1]
    assert store.column("conversion")[:4].tolist() == [0, 0, 0, 1]
    assert store.column("numerical_63")[1] == 0
    assert store.column("numerical_5")[1] == pytest.approx(5 / 7)
    assert words(store, "categorical_16", slice(3)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("census_income_full", {"income": [1, 0, 0, 0, 0, 1], "never_married": [0, 1, 0, 1, 0, 1]}),
        ("census_income_full_education", {"college": [0, 1, 1, 0, 1, 1], "never_married": [0, 1, 0, 1, 0, 1]}),
    ],
)
def test_the_census_has_its_published_halves(read, name, labels):
    store, cut = read(name)
    assert {part: len(requests) for part, requests in cut.items()} == {"train": 54, "validation": 6, "test": 20}
    assert cut["test"].tolist() == list(range(60, 80))
    assert {task: store.column(task)[:6].tolist() for task in labels} == labels
    assert store.column("age")[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert not store.has("instance weight")


def test_criteos_conversions_are_the_moments_that_are_there(read):
    store, cut = read("criteo_conversions")
    assert store.column("conversion")[:7].tolist() == [1, 0, 0, 1, 0, 0, 1]
    assert store.column("delay_conversion")[:7].tolist() == [0, 0, 0, 3, 0, 0, 6]  # days
    assert store.column("time")[:3].tolist() == [0, 43_200, 86_400]
    assert store.column("n1")[0] == -1  # nothing there
    assert store.column("n2")[:3].tolist() == [0, 1, 2]
    assert words(store, "c1", slice(2)) == ["", f"{1:032x}"]
    assert cut["test"].tolist() == list(range(106, 120))
    assert store.funnel["conversion"].window == 30


def test_escis_pairs_are_joined_to_the_products_of_their_country(read):
    store, cut = read("esci")
    kept = [i for i in range(96) if i % 8 and not (i % 4 == 3 and i < 80)]  # small, and of the country
    assert store.n_rows == len(kept) == 64
    titles, queries = store.text("items", "{title}"), store.text("queries", "{query}")
    assert [titles[i] for i in store.column("item")] == [f"Sofa {i % 7}" for i in kept]
    assert [queries[q] for q in store.column("query")] == [f"red sofa {i // 4}" for i in kept]
    labels = ["ESCI"[(i // 2) % 4] for i in kept]
    assert store.column("exact").tolist() == [int(label == "E") for label in labels]
    assert store.column("fitting").tolist() == [int(label in "ES") for label in labels]
    assert store.column("related").tolist() == [int(label != "I") for label in labels]
    gain = dict(zip("ESCI", (1, 0.1, 0.01, 0), strict=True))
    assert exponential_gain(store.column("grade"), 0.0) == pytest.approx([gain[label] for label in labels], abs=1e-6)
    assert set(words(store, "split", store.request_offsets[cut["test"]])) == {"test"}
    assert len(cut["test"]) == 4


def test_escis_larger_version_is_one_override_away(read):
    store, _ = read("esci", "~data.source.where.small_version", "++data.source.where.large_version=1")
    assert store.n_rows == 96 - 20


def test_wands_judgments_are_joined_to_queries_and_products(read):
    store, cut = read("wands")
    titles, queries = store.text("items", "{title}"), store.text("queries", "{query}")
    assert [titles[i] for i in store.column("item")[:10]] == [f'{i % 9}" wide chair' for i in range(10)]
    assert [queries[q] for q in store.column("query")[:5]] == ["salon chair 0"] * 4 + ["salon chair 1"]
    assert store.column("grade")[:3].tolist() == [2, 1, 0]
    assert store.column("exact")[:3].tolist() == [1, 0, 0]
    assert store.column("relevant")[:3].tolist() == [1, 1, 0]
    assert store.manifest["notes"]["filled"] == {"product_class": 26}
    assert {part: len(requests) for part, requests in cut.items()} == {"train": 7, "validation": 1, "test": 2}


SHORT = (
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.enable_progress_bar=false", "baselines=[]"),
    *("data.rows_per_batch=8", "data.workers=0", "select=last", "calibration.methods=[]"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGS)
def test_two_steps_are_trained_on_a_tiny_log_of_the_published_form(name, path_of, tmp_path):
    more = ("tuning.warmup_steps=0", "tuning.final_steps=1", "tuning.interval=1") if name in TEXTS else ()
    # A tiny log is not that of its name: few rows tell their labels.
    cfg = composed(name, path_of, tmp_path, *SHORT, *more, "++data.leaks=ignore")
    if "buckets" in cfg.features:
        cfg.features.buckets = 100
    record = train(cfg, tmp_path / "run")
    assert record.status == "finished"
    assert set(record.metrics) == {"validation", "test"}


@pytest.mark.parametrize("name", [name for name in LOGS if name not in TEXTS])
def test_the_model_of_the_whole_log_is_built_without_storage(name, path_of, tmp_path):
    cfg = composed(name, path_of, tmp_path)
    data = assemble_data(cfg, build(cfg.backbone))
    data.prepare_data()
    data.setup()
    with torch.device("meta"):
        module = assemble(cfg, data).module
    weights = list(module.parameters())
    assert all(weight.is_meta for weight in weights)
    if name == "ali_ccp":
        assert max(weight.numel() for weight in weights) == 4_194_304 * 18
