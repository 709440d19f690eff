"""What each ranking rule sells, by the truth of the world behind a run's log.

`python -m benchmarks.ranking_rules RUN OUTPUT` writes decision.json and a picture.

Legend: n requests, pages of k items.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from funneltune.decisions import Ranking, Recommender, Request, Scorer, logged_requests
from funneltune.decisions.candidates import Lexical
from funneltune.marketplace import WorldRequests, world_requests
from funneltune.records import DecisionRecord
from funneltune.reporting.figures import Drawing, save
from funneltune.reporting.figures.drawing import in_style, look, panel
from funneltune.runs.identity import git_commit, versions

TOP, REFERENCE = 10, "ctcvr"
RANKINGS: dict[str, dict[str, Any]] = {
    "ctr": {"by": "ctr"},
    "cvr": {"by": "cvr"},
    REFERENCE: {"by": "ctcvr"},
    "revenue": {"by": "revenue"},
    "ctcvr, MMR 0.8": {"by": "ctcvr", "diversity": {"weight": 0.8}},
    "ctcvr, MMR 0.5": {"by": "ctcvr", "diversity": {"weight": 0.5}},
    "ctcvr, fair sellers (merit)": {"by": "ctcvr", "exposure": {"column": "seller", "target": "merit"}},
    "ctcvr, fair brands (merit)": {"by": "ctcvr", "exposure": {"column": "brand", "target": "merit"}},
    "ctcvr, fair brands (catalogue)": {"by": "ctcvr", "exposure": {"column": "brand", "target": "catalogue"}},
}
MEASURES = ("clicks", "purchases", "revenue")
Pages = dict[str, NDArray[np.int64]]


def pages_of(scorer: Scorer, world: WorldRequests, requests: list[Request]) -> Pages:
    """Each rule's page for each request, among all items on sale at its time."""
    made = {name: Recommender(scorer, Ranking.from_config({"top": TOP, **of})) for name, of in RANKINGS.items()}
    lexical, popular, rng = Lexical.of(scorer), scorer.catalogue.popularity, np.random.default_rng(0)
    controls: dict[str, Callable[[Request, NDArray[np.int64]], NDArray[np.float64]]] = {
        "random": lambda _, sale: rng.random(len(sale)),
        "popularity": lambda _, sale: popular[sale].astype(np.float64),
        "BM25": lambda request, sale: lexical.index.scores(request.asked.query)[sale],
    }
    found: Pages = {name: np.zeros((len(requests), TOP), np.int64) for name in (*made, *controls)}
    for row, request in enumerate(track(requests, "ranking")):
        sale = np.flatnonzero(world.on_sale[row])
        own = replace(request, asked=replace(request.asked, columns={}), items=sale, rows=None)
        for name, one in made.items():
            found[name][row] = one.page(own).items
        for name, score in controls.items():
            found[name][row] = sale[np.argsort(-score(own, sale), kind="stable")[:TOP]]
    return found


def oracle_pages(world: WorldRequests, at_once: int = 12) -> Pages:
    """The order of the truth, private needs included: a ceiling for each measure that no model reaches."""
    n, items = world.on_sale.shape
    found: Pages = {f"oracle by {measure}": np.zeros((n, TOP), np.int64) for measure in MEASURES}
    for start in track(range(0, n, at_once), "the oracle"):
        some = world.among(world.request.number[start : start + at_once])
        every = np.broadcast_to(np.arange(items), (len(some), items)).copy()
        click, buy = some.appeal(every)
        price = world.world.prices(every, some.request.day)
        for measure, value in zip(MEASURES, (click, click * buy, click * buy * price), strict=True):
            allowed = np.where(some.on_sale, value, -1.0)
            order = np.argsort(-allowed, axis=1, kind="stable")[:, :TOP]
            found[f"oracle by {measure}"][start : start + at_once] = order
    return found


def gained(world: WorldRequests, page: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Expected clicks, purchases and revenue of each request's page."""
    outcome = world.outcomes(page)
    bought = outcome.p_click.astype(np.float64) * outcome.p_purchase_given_click
    paid = bought * world.world.prices(page, world.request.day)
    return dict(zip(MEASURES, (of.sum(axis=1) for of in (outcome.p_click, bought, paid)), strict=True))


def numbers_of(gains: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> dict[str, dict[str, Any]]:
    """Means, and differences from the reference, each with a 95% interval over requests (normal, paired)."""
    found: dict[str, dict[str, Any]] = {}
    for name, of in gains.items():
        for measure in MEASURES:
            against = of[measure] - gains[REFERENCE][measure]
            for key, values in ((measure, of[measure]), (f"{measure}_against_{REFERENCE}", against)):
                half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
                told = {"value": values.mean(), "low": values.mean() - half, "high": values.mean() + half}
                found[f"{name}/{key}"] = told | {"protocol": f"per request, truth; {len(values)} requests"}
    return found


@in_style
def draw(numbers: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Purchases per request of each rule, oracles apart."""
    figure, axes = panel()
    names = [name.partition("/")[0] for name in numbers if name.endswith("/purchases") and "oracle" not in name]
    for place, name in enumerate(reversed(names)):
        told = numbers[f"{name}/purchases"]
        around = [[told["value"] - told["low"]], [told["high"] - told["value"]]]
        axes.errorbar([told["value"]], [place], xerr=around, capsize=3, **look(0) | {"linestyle": "none"})
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_xlabel("expected purchases per request")
    rows = tuple((name, f"{numbers[f'{name}/purchases']['value']:.4f}") for name in names)
    title = "What each ranking sells"
    told = "Expected purchases per request of ten items, by the world's truth, with 95% intervals over requests."
    return save(Drawing("purchases", title, told, figure, ("ranking", "purchases"), rows), folder, "png")


def main(run: Path, output: Path) -> DecisionRecord:
    """Measure, draw and write."""
    scorer = Scorer.of_run(run)
    requests = list(logged_requests(scorer))
    world = world_requests(run, np.array([int(request.key) for request in requests]))
    pages = pages_of(scorer, world, requests) | oracle_pages(world)
    numbers = numbers_of({name: gained(world, page) for name, page in pages.items()})
    output.mkdir(parents=True, exist_ok=True)
    columns = ["ranking", *MEASURES, "purchases against ctcvr", "low", "high"]
    rows = [
        [name, *(numbers[f"{name}/{measure}"]["value"] for measure in MEASURES)]
        + [numbers[f"{name}/purchases_against_{REFERENCE}"][key] for key in ("value", "low", "high")]
        for name in pages
    ]
    record = DecisionRecord(
        verb="ranking_rules",
        run=str(run),
        settings={"top": TOP, "requests": len(requests), "rankings": RANKINGS},
        numbers=numbers,
        tables={"per request": {"columns": columns, "rows": rows}},
        figures=[draw(numbers, output).name],
        notes=["All items on sale compete; each request is judged alone, in the state that it met in the log."],
        git_commit=git_commit(),
        versions=versions(),
    )
    record.write(output)
    for row in rows:
        print(f"{row[0]:32s}" + "".join(f" {value:9.4f}" for value in row[1:]))
    return record


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
