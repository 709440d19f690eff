"""Small trained runs of each kind."""

import pytest

from funneltune.cli import main
from funneltune.decisions import Scorer

SMALL = (
    "quickstart",
    "debug=tiny",
    "data.source.impressions=1000",
    "data.source.items=80",
    "data.source.queries=30",
    "trainer.limit_train_batches=3",
    "trainer.precision=32-true",
    "baselines=[]",
    "logger=none",
)
KINDS = {
    "twin": ("tuning=full",),
    "half": ("tuning=lora", "trainer.precision=bf16-mixed"),
    "cross": ("tuning=houlsby", "backbone.interaction=cross"),
    "features": ("backbone=none", "tuning=frozen", "features=all"),
    "history": ("tuning=frozen", "features=all"),
}


@pytest.fixture(scope="session")
def explained_run(tmp_path_factory, kept_logs):
    """The folder of a run of a kind; each is trained once."""
    folder, made = tmp_path_factory.mktemp("explained"), {}

    def run(kind):
        if kind not in made:
            made[kind] = folder / kind
            assert main(["train", *SMALL, *KINDS[kind], kept_logs, f"run_dir={made[kind]}"]) == 0
        return made[kind]

    return run


@pytest.fixture(scope="session")
def scorer_of(explained_run):
    made = {}

    def scorer(kind):
        if kind not in made:
            made[kind] = Scorer.of_run(explained_run(kind))
        return made[kind]

    return scorer
