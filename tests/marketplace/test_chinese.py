"""The Chinese marketplace: words of its own, the same truth, read character by character and found by pairs of them."""

import re

import bm25s
import numpy as np
import pytest

from chinese import write_backbone
from funneltune.backbones import Backbone
from funneltune.cli import main
from funneltune.data import LogDataModule, Simulated, Split, bm25
from funneltune.data.lexical import cjk_pairs
from funneltune.errors import ConfigError
from funneltune.marketplace import World
from funneltune.marketplace.vocabulary import load_vocabulary
from funneltune.metrics import auc
from funneltune.records import RunRecord

SMALL = {"items": 300, "queries": 80, "shoppers": 60, "page": 8, "days": 20}
DOMAINS = ("home", "fashion", "electronics")
HAN = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def world():
    return World(language="zh", domains=DOMAINS, **SMALL)


def test_every_name_in_the_tables_leads_somewhere():
    words = load_vocabulary(DOMAINS, "zh")
    names = {kind.name for kind in words.types}
    groups = {group.name for group in words.groups}
    assert len(names) == len(words.types) > 90
    assert {kind.group for kind in words.types} == groups
    assert {kind.palette for kind in words.types} <= set(words.palettes)
    known = set(words.attribute_number)
    assert {near for attribute in words.attributes for near in attribute.near} <= known
    assert {"budget", "premium"} <= known
    for occasion in words.occasions:
        assert len(occasion.types) >= 3
    for kind in words.types:
        assert not set(kind.titles) & set(kind.nouns), kind.name  # sellers and shoppers use other words
    assert np.isfinite(words.match).all()


def test_titles_and_queries_are_chinese(world):
    for texts in (world.items["title"], world.queries["query"]):
        assert all(HAN.search(text) for text in texts)
        assert not any(re.search("[a-z]{5}", text.replace("oversize", "")) for text in texts)
    assert len(set(world.queries["query"])) == 80
    assert np.mean([" " in title for title in world.items["title"]]) < 0.9  # most words run together


def test_the_truth_rewards_what_fits(world):
    match = world.vocabulary.match
    assert match.max() == 1.0
    assert 0.01 < (match > 0.5).mean() < 0.2


def test_an_english_world_is_what_it_was():
    plain, named = World(seed=3, **SMALL), World(seed=3, language="en", **SMALL)
    assert plain.items["title"].tolist() == named.items["title"].tolist()
    assert plain.queries["query"].tolist() == named.queries["query"].tolist()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [({"language": "fr"}, "language='fr' must be one of en, zh"), ({"domains": ("outdoor",)}, "'outdoor' is unknown")],
)
def test_a_language_or_domain_that_is_not_there_is_refused(knobs, message):
    with pytest.raises(ConfigError, match=message):
        World(**{"language": "zh", "domains": DOMAINS, **SMALL, **knobs})


def test_pairs_of_characters_are_lucenes():
    assert cjk_pairs("双人沙发").split() == ["双人", "人沙", "沙发"]
    assert cjk_pairs("灯 LED灯泡").split() == ["灯_", "LED", "灯泡"]
    assert cjk_pairs("メモリ 메모리").split() == ["メモ", "モリ", "메모", "모리"]
    english = "Velvet loveseat, 2-seater (grey) caf\xe9"
    assert cjk_pairs(english) == english
    words = bm25s.tokenize(["灯"], stopwords=None, show_progress=False, return_ids=False)
    assert words == [[]]  # without the pairs, one character is no word at all
    assert bm25s.tokenize([cjk_pairs("灯")], stopwords=None, show_progress=False, return_ids=False) == [["灯_"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("zh"))


def make_data(folder, cache, tokenizer=None, **more):
    from funneltune.funnel import TaskFunnel

    return LogDataModule(
        source=Simulated(impressions=4000, language="zh", domains=DOMAINS, ctr=0.2, **SMALL),
        tasks=TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}}),
        split=Split(),
        texts={"query": "{query}", "item": "{title}"},
        tokenizer=tokenizer or Backbone(name=str(folder)).tokenizer(),
        interaction="twin",
        cache_dir=cache,
        **more,
    )


def test_chinese_is_tokenised_character_by_character_and_nothing_is_unknown(folder, tmp_path):
    data = make_data(folder, tmp_path)
    data.setup()
    tokens = data.store.tokens("items", "{title}", data.tokenizer, 64)
    titles = data.store.text("items", "{title}")
    for number in range(0, 300, 31):
        mine = tokens.ids[tokens.offsets[number] : tokens.offsets[number + 1]]
        characters, others = HAN.findall(titles[number]), re.findall("[^\u4e00-\u9fff ]", titles[number])
        assert len(mine) == len(characters) + len(others)
    assert (tokens.ids != data.tokenizer.unk_token_id).mean() > 0.99


def test_a_tokenizer_that_cannot_read_the_log_is_refused(folder, tmp_path, tokenizer):
    with pytest.raises(ConfigError, match=r"does not know \d\d% of the query tokens; choose a backbone for"):
        make_data(folder, tmp_path, tokenizer).setup()
    make_data(folder, tmp_path, tokenizer, max_unknown=1.0).setup()


def test_bm25_finds_what_chinese_queries_ask_for(folder, tmp_path):
    data = make_data(folder, tmp_path)
    data.setup()
    rows = np.arange(data.store.n_rows)
    score = bm25(data.store, rows, data.texts)
    assert (score > 0).mean() > 0.01
    assert auc(data.store.column("click"), score) > 0.52


def test_the_chinese_quickstart_runs_on_a_local_backbone(folder, tmp_path):
    quick = ["trainer.precision=32-true", "trainer.enable_progress_bar=false", "logger=none", "baselines=[bm25,cosine]"]
    small = [f"data.source.{key}={value}" for key, value in SMALL.items()]
    home = [f"backbone.name={folder}", "backbone.pretrained=false", "tuning=lora", f"data.cache_dir={tmp_path}/cache"]
    words = ["train", "quickstart_zh", f"run_dir={tmp_path}/run", "data.source.impressions=1600", *quick, *small, *home]
    assert main(words) == 0
    record = RunRecord.read(tmp_path / "run" / "record.json")
    assert record.value("ctr/auc") is not None
    assert set(record.baselines) == {"bm25", "cosine"}
