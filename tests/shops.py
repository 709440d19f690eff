"""A small shop's log, clean, and what the guard finds in it: for the tests of leaks."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from funneltune.data import FeatureColumns, Split, Table, prepare
from funneltune.data.leaks import find_leaks, text_columns
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds

DATA = Path(os.environ.get("FUNNELTUNE_DATA", Path(__file__).parents[2] / "shared" / "data"))
FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}})
CLICKS = TaskFunnel.from_config({"click": {}})
BY_TIME = Split(by="time", validation=0.1, test=0.2)
ROWS, PAGE = 6000, 5


def shop(seed=0):
    """A clean log of pages: who, when, what for, five items, and labels that inputs explain in part."""
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(ROWS // PAGE), PAGE)
    item = np.concatenate([rng.permutation(200)[:PAGE] for _ in range(ROWS // PAGE)])
    taste = rng.normal(size=200)
    click = rng.random(ROWS) < 1 / (1 + np.exp(1.8 - taste[item]))
    query = rng.integers(0, 40, ROWS // PAGE)[request]
    return pd.DataFrame(
        {
            "request": request,
            "user": rng.integers(0, 150, ROWS // PAGE)[request],
            "at": 1_700_000_000 + 61.5 * request,
            "query": [f"query number {q}" for q in query],
            "item": item,
            "title": [f"thing of kind {i % 30} and make {i}" for i in item],
            "click": click.astype(int),
            "purchase": (click & (rng.random(ROWS) < 0.3)).astype(int),
            "price": rng.lognormal(size=ROWS),
            "colour": rng.integers(0, 5, ROWS),
            "split": np.select([request < 800, request < 900], ["train", "validation"], "test"),
        }
    )


def table(tmp_path, frame, **changes):
    frame.to_csv(tmp_path / "log.csv", index=False)
    roles = {
        "request": "request",
        "user": "user",
        "time": "at",
        "query_text": {"query": "query"},
        "item": "item",
        "item_text": {"title": "title"},
        "price": "price",
        "categorical": [name for name in ("colour", "state", "split") if name in frame],
        "numeric": [name for name in ("seconds", "score") if name in frame],
        "labels": {"click": "click", "purchase": "purchase"},
    }
    return Table(tmp_path / "log.csv", **{**roles, **changes})


def leaks(tmp_path, frame, funnel=FUNNEL, split=BY_TIME, needs=None, texts=None, source=None):
    source = source or table(tmp_path, frame)
    store = prepare(source, funnel, tmp_path / "cache")
    needs = needs or FeatureNeeds(
        ids=tuple(n for n in ("user", "item", "colour", "state") if "." in n or n in frame),
        numbers=tuple(n for n in ("price", "seconds", "score") if n in frame),
    )
    columns = FeatureColumns(store, needs, np.ones(store.n_rows, dtype=bool))
    texts = {"query": "{query}", "item": "{title}"} if texts is None else texts
    return find_leaks(store, split.cut(store), texts, columns, funnel, split, text_columns(source))


def noise(frame, seed=1):
    return np.random.default_rng(seed).normal(size=len(frame))


def label_in_an_id(frame):
    return frame.assign(state=np.where(frame.click == 1, "seen", "unseen"))


def label_in_a_number(frame):
    return frame.assign(score=frame.click + 1e-3 * noise(frame))
