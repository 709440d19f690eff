"""What is put together must fit together."""

import pytest
import torch
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.runs import check_config, chosen_precision
from funneltune.runs.assemble import assemble


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["data.max_tokens=40", "++backbone.architecture.max_position_embeddings=32"],
            r"data\.max_tokens=40 must be <= 32",
        ),
        (["++backbone.architecture.vocab_size=100"], r"vocab_size=100 must be >= 30522"),
    ],
)
def test_texts_that_the_backbones_tables_do_not_reach_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        assemble(compose_config(["experiment=quickstart", "backbone=tiny", *overrides]))


@pytest.mark.parametrize(("model_type", "reach"), [("roberta", 40 - 2), ("gpt2", 40), ("qwen2", None)])
def test_learned_positions_have_an_end_and_computed_ones_do_not(model_type, reach):
    from transformers import AutoConfig, AutoModel

    from architectures import TINY
    from funneltune.backbones import Encoder

    fields = TINY[model_type] | {"max_position_embeddings": 40}
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **fields))
    assert Encoder(model).max_positions == reach


@pytest.mark.parametrize(
    ("overrides", "kept_in"),
    [
        (["tuning=lora", "trainer.precision=bf16-mixed"], torch.bfloat16),
        (["tuning=lora", "trainer.precision=32-true"], None),
        (["tuning=dora", "trainer.precision=bf16-mixed"], None),
        (["tuning=lora", "trainer.precision=bf16-mixed", "trainer.strategy=fsdp2"], None),
    ],
)
def test_frozen_matrices_are_kept_in_bfloat16_where_they_only_multiply(overrides, kept_in, tmp_path):
    config = compose_config(["experiment=quickstart", "backbone=tiny", f"data.cache_dir={tmp_path}", *overrides])
    assert assemble(config).module.encoder.kept_in == kept_in


@pytest.mark.parametrize(
    ("native", "asked", "said"), [(True, "auto", True), (False, "auto", False), (True, "32-true", False)]
)
def test_a_precision_that_the_machine_chose_is_told(native, asked, said, monkeypatch):
    monkeypatch.setattr("funneltune.runs.precision._cpu_multiplies_bfloat16", lambda: native)
    told = chosen_precision(OmegaConf.create({"precision": asked, "accelerator": "cpu"}))
    assert (told is not None) == said
    assert not said or "bf16-mixed" in told


def test_a_token_budget_needs_texts():
    words = ["backbone=none", "tuning=frozen", "features=ids", "data.tokens_per_batch=512"]
    with pytest.raises(
        ConfigError, match="tokens_per_batch sizes batches by their texts, and backbone=none reads none"
    ):
        check_config(compose_config(["experiment=quickstart", *words]))
