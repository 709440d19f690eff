"""Reviews whose words say what was thought, in the columns of Women's Clothing, and a run on them of a few seconds."""

import numpy as np
import pandas as pd

from funneltune.cli import main

GOOD, BAD = ("lovely", "perfect", "soft"), ("broken", "awful", "itchy")
FILLER = ("the", "dress", "arrived", "monday", "wore", "colour", "party", "sleeve")


def reviews(rows=900, seed=0):
    """Stars are one more than the good words among four. Garment 7's zip is `broken` in most of its reviews."""
    rng = np.random.default_rng(seed)
    good, garment = rng.integers(0, 5, rows), rng.integers(0, 12, rows)
    good = np.where((garment == 7) & (rng.random(rows) < 0.8), rng.integers(0, 2, rows), good)
    texts = []
    for n in range(rows):
        bad = ["broken"] * (4 - good[n]) if garment[n] == 7 else list(rng.choice(BAD, 4 - good[n]))
        words = [*rng.choice(GOOD, good[n]), *bad, *rng.choice(FILLER, 4)]
        texts.append(" ".join(rng.permutation(words)))
    return pd.DataFrame(
        {
            "Clothing ID": garment,
            "Age": rng.integers(20, 70, rows),
            "Title": "review",
            "Review Text": texts,
            "Rating": good + 1,
            "Recommended IND": (good >= 2).astype(int),
            "Division Name": "General",
            "Department Name": np.where(garment % 2, "Dresses", "Tops"),
            "Class Name": np.where(garment % 2, "Dresses", "Knits"),
        }
    )


def train(folder, frame, *more):
    """Trains on reviews into `folder`; its run folder."""
    frame.to_csv(folder / "reviews.csv", index=False)
    words = [
        f"run_dir={folder / 'run'}",
        f"data.cache_dir={folder / 'cache'}",
        f"data.path={folder / 'reviews.csv'}",
        "backbone=tiny",
        "backbone.interaction=cross",
        "tuning=full",
        "trainer.max_epochs=4",
        "optimizer.lr=0.003",
        "data.rows_per_batch=16",
        "trainer.precision=32-true",
        "trainer.enable_progress_bar=false",
        "baselines=[]",
        "logger=none",
        *more,
    ]
    assert main(["train", "womens_clothing", *words]) == 0
    return folder / "run"
