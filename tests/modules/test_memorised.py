"""Canaries (Carlini et al. 2019): what a run remembers of single shoppers who are planted in its log.

A canary is a shopper who always clicks, in a log where clicks are chance. Its exposure is log2(R) - log2(rank), the
rank of its loss among those of R identifiers that were in no row. Under epsilon its rank is in the first share s with
a chance of e^epsilon s at most, so that the mean of exposures is below (1 + epsilon) / ln 2; of what was never seen it
is 1 / ln 2 = 1.44.
"""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from funneltune.backbones import NoEncoder, build_interaction
from funneltune.data import LogDataModule, PrivateData, Split, Table
from funneltune.features import Features, feature_needs
from funneltune.funnel import TaskFunnel
from funneltune.heads import SharedBottom
from funneltune.modules import DPSGD, PrivateSteps, constant, module_class
from funneltune.objectives import MaskedBCE
from funneltune.schema import SHARED
from funneltune.tuning import Frozen
from modules.training import fit

CANARIES, ORDINARY, ROWS, BUCKETS, EPSILON = 24, 300, 10, 4_000, 1.0
FUNNEL = TaskFunnel.from_config({"click": {"rate": "ctr"}})
BOUND = (1 + EPSILON) / math.log(2)


def log_with_canaries(path, rows):
    """Ordinary shoppers click by chance; each canary has `rows` rows and clicks in all of them."""
    random = np.random.default_rng(0)
    shoppers = [f"shopper {n}" for n in range(ORDINARY) for _ in range(ROWS)]
    planted = [f"canary {n}" for n in range(CANARIES) for _ in range(rows)]
    clicks = np.concatenate([random.random(len(shoppers)) < 0.3, np.ones(len(planted))]).astype(int)
    frame = pd.DataFrame({"who": shoppers + planted, "clicked": clicks})
    frame["what"] = random.integers(0, 40, len(frame))
    frame["request"] = np.arange(len(frame))
    frame["when"] = random.integers(1_700_000_000, 1_700_900_000, len(frame))
    held_out = pd.DataFrame({"who": ["a", "b"], "clicked": [0, 1], "what": [50, 51], "request": [-1, -2]})
    held_out = held_out.assign(when=[1_700_900_001, 1_700_900_002], part=["validation", "test"])
    frame = pd.concat([frame.assign(part="train"), held_out])
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    roles = {
        "request": "request",
        "user": "who",
        "item": "what",
        "time": "when",
        "categorical": ["part"],
        "labels": {"click": "clicked"},
    }
    return Table(path, **roles)


def trained(source, folder, privacy=None):
    """A head over a table of hashed shoppers, trained until it fits the log, with its module and its data."""
    features = feature_needs(False, ["user"], BUCKETS, {}, [], 0)
    arguments = {
        "source": source,
        "tasks": FUNNEL,
        "split": Split(by="column", column="part"),
        "texts": None,
        "tokenizer": None,
        "interaction": "none",
        "rows_per_batch": 300,
        "cache_dir": folder,
        "features": features,
        "unique": False,
    }
    data = LogDataModule(**arguments) if privacy is None else PrivateData(unit=privacy.unit, key_seed=1, **arguments)
    data.prepare_data()
    data.setup()
    torch.manual_seed(0)
    tuning, encoder = Frozen(), NoEncoder()
    tuning.apply(encoder.backbone)
    made = Features(0, {}, ids=["user"], buckets=BUCKETS, id_width=4)
    torch.nn.init.normal_(made.ids.table.weight)  # as far apart as trained ones are
    module = module_class(tuning)(
        encoder=encoder,
        interaction=build_interaction("none", 0),
        head=SharedBottom(made.width, FUNNEL, bottom=[16], hidden=[8]),
        features={SHARED: made},
        objective=MaskedBCE(FUNNEL),
        tuning=tuning,
        funnel=FUNNEL,
        optimizer=lambda groups: torch.optim.Adam(groups, lr=0.05),
        scheduler=constant,
        privacy=None if privacy is None else PrivateSteps(privacy),
    )
    fit(module, data, folder, steps=150)
    return module.eval(), data


def exposures(module, data):
    """Of each canary, in bits."""
    store, rows = data.store, data.rows("train")
    names = np.array(store.table("users").column("key").to_pylist(), dtype=object)[store.column("user")[rows]]
    canaries = sorted({name for name in names if name.startswith("canary")})
    first = rows[[int(np.flatnonzero(names == name)[0]) for name in canaries]]
    seen = set(data.collator().rows(rows).ids.flatten().tolist())
    unseen = torch.tensor([bucket for bucket in range(BUCKETS) if bucket not in seen])

    def log_odds(buckets):
        some_row = data.collator().rows(np.repeat(first[:1], len(buckets)))
        with torch.no_grad():
            return module(dataclasses.replace(some_row, ids=buckets[:, None])).logits["click"]

    own = log_odds(data.collator().rows(first).ids[:, 0])
    ranks = 1 + (log_odds(unseen)[None] >= own[:, None]).sum(dim=1)
    assert len(ranks) == CANARIES
    return np.log2(len(unseen)) - np.log2(ranks.numpy())


@pytest.mark.slow
@pytest.mark.tried("dp_sgd", "canary")
@pytest.mark.parametrize(("unit", "rows"), [("impression", 1), ("shopper", ROWS)])
def test_canaries_are_remembered_without_privacy_and_not_with_it(tmp_path, unit, rows, tally):
    tally(CANARIES)
    source = log_with_canaries(tmp_path / "log.csv", rows)
    plain = exposures(*trained(source, tmp_path))
    private = exposures(*trained(source, tmp_path, DPSGD(unit=unit, epsilon=EPSILON, seed=2)))
    assert plain.mean() > 2 * BOUND
    error = private.std(ddof=1) / CANARIES**0.5
    assert private.mean() < BOUND + 2 * error
    assert private.mean() < 0.5 * plain.mean()
