"""A run that reads pictures: composed, put together, trained, loaded, asked, explained."""

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.features import GatedFusion
from funneltune.runs.assemble import assemble, needed_features
from funneltune.runs.pictures import pictures_of, vision_of
from funneltune.runs.targets import build
from small_market import train

WORDS = ["quickstart", "features=all", "vision=tiny", "features.fusion=gate", "tuning=frozen", "features.history=0"]
COMPOSED = [f"experiment={WORDS[0]}", *WORDS[1:]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return train(folder, *WORDS, "backbone=none", "trainer.limit_train_batches=4")


def test_the_words_of_the_page_compose_and_name_the_pictures_behind_the_vectors():
    config = compose_config(COMPOSED)
    assert needed_features(config, build(config.backbone)).vectors == ("image", "photo")
    assert pictures_of(config) == ("photo",)
    plain = compose_config(COMPOSED[:2])
    assert vision_of(plain) is None
    assert needed_features(plain, build(plain.backbone)).images == ()
    assert plain.features.fusion == "concat"


def test_a_run_from_before_there_were_pictures_reads_none():
    told = OmegaConf.to_container(compose_config(COMPOSED[:2]), resolve=True)
    del told["vision"], told["features"]["fusion"], told["data"]["features"]["images"]
    old = OmegaConf.create(told)
    assert vision_of(old) is None
    assert needed_features(old, build(old.backbone)).vectors == ("image",)


@pytest.mark.parametrize("words", [["data.features.images=[]"], ["vision.images=[]"], ["data=homedepot"]])
def test_a_log_without_pictures_is_told(words):
    words = [word for word in COMPOSED if words != ["data=homedepot"] or not word.startswith("experiment")] + words
    with pytest.raises(ConfigError, match="this log offers no pictures .data.features.images is empty."):
        pictures_of(compose_config(words))


def test_features_of_a_twin_run_are_fused_with_both_texts(tmp_path):
    words = ["backbone=tiny", "data.source.impressions=400", "data.source.items=60", "data.source.queries=20"]
    config = compose_config([*COMPOSED, *words, "data.source.shoppers=20", f"data.cache_dir={tmp_path}"])
    module = assemble(config).module
    fusion = module.features["shared"].fusion
    assert isinstance(fusion, GatedFusion)
    assert fusion.context_width == 2 * module.encoder.width
    assert fusion.others == 2


def test_a_trained_run_scores_with_its_pictures_as_it_did_and_the_picture_counts(run):
    scorer = Scorer.of_run(run)
    data = scorer.assembly.data
    assert data.store.vectors("photo").shape == (150, 128)
    rows = data.rows("test")[:40]
    batch = data.collator().rows(rows)
    assert batch.vectors.shape[1] == 32 + 128
    with torch.no_grad():
        texts = scorer.module.encoder.views(batch.texts)
        before = scorer.module.score(batch, texts).logits["click"]
        batch.vectors[:, 32:] = 0.0  # no picture
        without = scorer.module.score(batch, texts).logits["click"]
    assert not torch.allclose(before, without)
    written = pd.read_parquet(run / "predictions.parquet").p_click.to_numpy()[:40]
    np.testing.assert_allclose(torch.sigmoid(before).numpy(), written, atol=1e-5)


def test_a_run_with_pictures_ranks_and_explains(run, capsys):
    assert main(["explain", f"run={run}", "row=1"]) == 0
    assert "image and photo" in capsys.readouterr().out
