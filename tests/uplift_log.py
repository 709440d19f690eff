"""A randomised campaign whose responders are known, in the columns of Hillstrom's, and a run on it of a few seconds."""

import numpy as np
import pandas as pd

from funneltune.cli import main

ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")


def campaign(rows=4000, seed=0):
    """Mens E-Mail moves newcomers' visits by 40 points and puts others off by 10; Womens E-Mail does nothing. Who lives
    in town visits anyway: a model of visits ranks them first, and is wrong.
    """
    rng = np.random.default_rng(seed)
    segment = rng.choice(ARMS, rows)
    newbie, urban = rng.integers(0, 2, rows), rng.integers(0, 2, rows)
    uplift = np.where(newbie == 1, 0.4, -0.1)
    visit = rng.random(rows) < 0.15 + 0.3 * urban + uplift * (segment == "Mens E-Mail")
    return pd.DataFrame(
        {
            "recency": rng.integers(1, 13, rows),
            "history_segment": rng.choice(["1) $0 - $100", "2) $100 - $200"], rows),
            "history": rng.lognormal(4, 1, rows).round(2),
            "mens": rng.integers(0, 2, rows),
            "womens": rng.integers(0, 2, rows),
            "zip_code": np.where(urban == 1, "Urban", "Rural"),
            "newbie": newbie,
            "channel": rng.choice(["Web", "Phone"], rows),
            "segment": segment,
            "visit": visit.astype(int),
            "conversion": (visit & (rng.random(rows) < 0.3)).astype(int),
        }
    )


def train(folder, frame, *more):
    """Trains on a campaign into `folder`; its run folder."""
    frame.to_csv(folder / "campaign.csv", index=False)
    words = [
        f"run_dir={folder / 'run'}",
        f"data.cache_dir={folder / 'cache'}",
        f"data.path={folder / 'campaign.csv'}",
        "backbone=none",
        "tuning=frozen",
        "trainer.max_epochs=1",
        "trainer.precision=32-true",
        "trainer.enable_progress_bar=false",
        "baselines=[]",
        "logger=none",
        *more,
    ]
    assert main(["train", "hillstrom", *words]) == 0
    return folder / "run"
