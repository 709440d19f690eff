"""A run of a few seconds on a small log of the marketplace, for what is done with runs."""

from funneltune.cli import main

SMALL = [
    "backbone=tiny",
    "head=esmm",
    "objective=entire_space_bce",
    "data.source.impressions=1200",
    "data.source.items=150",
    "data.source.queries=40",
    "data.source.shoppers=30",
    "data.source.ctr=0.3",
    "data.source.cvr=0.4",
    "trainer.precision=32-true",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]


def train(folder, *more):
    """Trains it into `folder`; its run folder."""
    assert main(["train", f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}", *SMALL, *more]) == 0
    return folder / "run"
