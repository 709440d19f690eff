"""A server over a scorer that is made up, asked in the process of the test."""

import asyncio
import hashlib
import json

import httpx
import numpy as np
import pyarrow as pa

from funneltune.data.shown import Shown
from funneltune.decisions.candidates import Found
from funneltune.errors import ConfigError
from funneltune.serving import ServedRun

TITLES = ["red shoes", "blue shoes", "steam mop", "desk lamp", "rain coat", "oak table"]
RATES = ("ctr", "cvr", "ctcvr")
LABELS = {"ctr": "p(click)", "cvr": "p(purchase | click)", "ctcvr": "p(click and purchase)"}


class Store:
    """Two requests of the first query, one of the second."""

    def __init__(self):
        self.tables = {
            "queries": pa.table({"key": ["q0", "q1"], "query": ["shoes", "lamp"], "category": ["feet", "light"]}),
            "users": pa.table({"key": ["ann", "bob"], "segment": ["loyal", None]}),
        }

    def table(self, side):
        return self.tables[side]

    def of_requests(self, name):
        return np.array({"query": [0, 1, 0], "user": [1, 1, 0]}[name])


class Rows:
    def __init__(self):
        self.queries, self.users, self.store = {"shoes": 0, "lamp": 1}, {"ann": 0, "bob": 1}, Store()
        self.shown = Shown(None, self.store, {})


class Catalogue:
    def __init__(self, keys):
        self.keys, self.titles = keys, TITLES[: len(keys)]
        self.price = np.array([10.0, 20.0, 30.0, 40.0, 50.0, np.nan])[: len(keys)]
        self.columns, self.rows = ["key", "brand", "stars"], Rows()

    def column(self, name):
        values = {"key": self.keys, "brand": ["Brio", "Quill"] * 3, "stars": [4.5, None, 1.0, 2.0, 3.0, 5.0]}[name]
        return np.array(values[: len(self.keys)], dtype=object)


class Scorer:
    """Probabilities by a hash of what is asked and the item; shoppers change them."""

    rates = RATES

    def __init__(self, salt="", keys=None):
        self.salt = salt
        self.catalogue = Catalogue(keys or [f"i{n}" for n in range(len(TITLES))])
        self.batches, self.before = [], lambda asked: None

    def score(self, asked, items):
        self.before(asked)
        self.batches.append(len(asked))
        return [
            self.of(one, np.arange(len(self.catalogue.keys)) if some is None else some)
            for one, some in zip(asked, items, strict=True)
        ]

    def of(self, asked, items):
        if asked.query == "wrong words":
            raise ConfigError("query='wrong words' is not to be had;\nask otherwise.")
        if asked.query == "broken":
            raise ZeroDivisionError(f"secret {asked.query}")
        p = np.array([self.number(asked, item) for item in items]).reshape(-1, 2)
        return {"ctr": p[:, 0], "cvr": p[:, 1], "ctcvr": p.prod(axis=1)}

    def number(self, asked, item):
        found = hashlib.sha256(f"{self.salt}|{asked.query}|{asked.user}|{asked.time}|{item}".encode()).digest()
        return found[0] / 256, found[1] / 256


class Way:
    """Finds the items of some numbers."""

    def __init__(self, numbers):
        self.numbers = np.array([[*numbers, -1]])

    def find(self, asked, k):
        return Found(self.numbers, np.zeros(self.numbers.shape))


class Client:
    """Asks an ASGI application as a browser of this machine would."""

    def __init__(self, app):
        self.app, self.exchange = app, app.app.state.exchange

    def __call__(self, method, path, **options):
        async def ask():
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def post(self, path, body, **options):
        return self("POST", path, json=body, **options)

    def get(self, path, **options):
        return self("GET", path, **options)

    def together(self, *bodies, path="/rank", first=0.0):
        """Answers to several requests at once; the first has a lead of some seconds."""

        async def ask():
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                tasks = [asyncio.create_task(client.post(path, json=bodies[0]))]
                await asyncio.sleep(first)
                tasks += [asyncio.create_task(client.post(path, json=body)) for body in bodies[1:]]
                return await asyncio.gather(*tasks)

        return asyncio.run(ask())


def served(scorer=None, side="a", **changes):
    scorer = scorer or Scorer()
    arguments = {
        "side": side,
        "name": f"run {side}",
        "scorer": scorer,
        "ways": {"some": Way([4, 2])},
        "calibrations": {},
        "named": {},
        "explain": lambda asked, item, rate: {"sentence": f"{asked.query} {item} {rate}"},
        "labels": LABELS,
        "reads_query": True,
        "reads_user": True,
        "sees_all": True,
        "about": {
            "tuning": "full",
            "backbone": "tiny",
            "head": "ESMM",
            "calibration": "platt",
            "metrics": {"ctr/auc": 0.7, "cvr/auc": None},
            "finished": "2026-01-31T12:00:00+00:00",
        },
    }
    return ServedRun(**{**arguments, **changes})


def told(answer):
    """The one line of an answer that is no success."""
    body = json.loads(answer.content)
    assert set(body) == {"error"}
    assert "\n" not in body["error"]
    assert answer.headers["content-type"] == "application/json"
    return body["error"]
