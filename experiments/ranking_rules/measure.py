# ruff: noqa
"""Every ranking rule on the same test requests, judged by the world that the log comes from."""

import json, sys, time
from pathlib import Path
import numpy as np
from funneltune.decisions import Ranking, Recommender, Request, Scorer, logged_requests
from funneltune.decisions.candidates import Lexical
from funneltune.marketplace import world_requests

RUN, TOP = Path(sys.argv[1]), 10
t0 = time.time()
scorer = Scorer.of_run(RUN)
requests = list(logged_requests(scorer))
world = world_requests(RUN, np.array([int(r.key) for r in requests]))
n, items = len(requests), len(scorer.catalogue)
rng = np.random.default_rng(0)
on_sale = world.on_sale
made = {
    name: Recommender(scorer, Ranking.from_config(dict(top=TOP, **c)))
    for name, c in {
        "ctr": dict(by="ctr"),
        "cvr": dict(by="cvr"),
        "ctcvr": dict(by="ctcvr"),
        "revenue": dict(by="revenue"),
        "ctcvr, MMR 0.8": dict(by="ctcvr", diversity=dict(weight=0.8)),
        "ctcvr, MMR 0.5": dict(by="ctcvr", diversity=dict(weight=0.5)),
        "ctcvr, fair sellers (merit)": dict(by="ctcvr", exposure=dict(column="seller", target="merit")),
        "ctcvr, fair brands (merit)": dict(by="ctcvr", exposure=dict(column="brand", target="merit")),
        "ctcvr, fair brands (catalogue)": dict(by="ctcvr", exposure=dict(column="brand", target="catalogue")),
    }.items()
}
lexical = Lexical.of(scorer)
pages = {name: np.zeros((n, TOP), np.int64) for name in [*made, "random", "popularity", "BM25"]}
alike = {name: [] for name in pages}
popular = scorer.catalogue.popularity
from funneltune.decisions.diversity import VectorLikeness, intra_list_similarity

for row, request in enumerate(requests):
    sale = np.flatnonzero(on_sale[row])
    asked = request.asked.__class__(request.asked.query, request.asked.user, request.asked.time)
    own = Request(request.key, asked, sale)
    p = scorer.score([asked], [sale])[0]
    real, scorer.score = scorer.score, lambda *_: [p]
    for name, one in made.items():
        pages[name][row] = one.page(own).items
    scorer.score = real
    pages["random"][row] = rng.permutation(sale)[:TOP]
    pages["popularity"][row] = sale[np.argsort(-popular[sale], kind="stable")[:TOP]]
    said = lexical.index.scores(asked.query)[sale]
    pages["BM25"][row] = sale[np.argsort(-said, kind="stable")[:TOP]]
    for name, page in pages.items():
        alike[name].append(intra_list_similarity(VectorLikeness(scorer.item_vectors[page[row]]), np.arange(TOP)))
print("pages", time.time() - t0, flush=True)
for kind in ("purchases", "clicks", "revenue"):
    pages[f"oracle by {kind}"] = np.zeros((n, TOP), np.int64)
for start in range(0, n, 12):
    rows = np.arange(start, min(start + 12, n))
    some = world.among(world.request.number[rows])
    every = np.broadcast_to(np.arange(items), (len(rows), items)).copy()
    click, buy = some.appeal(every)
    price = world.world.prices(every, some.request.day)
    for kind, value in {"clicks": click, "purchases": click * buy, "revenue": click * buy * price}.items():
        value = np.where(on_sale[rows], value, -1.0)
        pages[f"oracle by {kind}"][rows] = np.argsort(-value, axis=1, kind="stable")[:, :TOP]
print("oracle", time.time() - t0, flush=True)
got = {}
for name, page in pages.items():
    o = world.outcomes(page)
    joint = o.p_click * o.p_purchase_given_click
    got[name] = {
        "clicks": o.p_click.sum(1),
        "purchases": joint.sum(1),
        "revenue": (joint * world.world.prices(page, world.request.day)).sum(1),
    }


for name, of in got.items():
    d = of["purchases"] - got["ctcvr"]["purchases"]
    print(
        f"{name:34s}",
        *(f"{k} {v.mean():8.4f}" for k, v in of.items()),
        f"d {d.mean():+.4f} +- {1.96 * d.std(ddof=1) / np.sqrt(n):.4f}",
        f"alike {np.mean(alike[name]):.3f}" if name in alike else "",
    )
