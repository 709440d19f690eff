"""`funneltune rank`: pages from a run, best items first, for a query or for many requests."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.locate import config_root
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    import pandas as pd

    from funneltune.decisions import Ranking, Recommended, Recommender, Summary

PARTS = ("diversity", "rules", "exposure")
TEXTS = ("candidates", "by", "calibration")
NUMBERS = ("depth", "top")
OWN = ("query", "user", "time", "requests", "split", "most", "ranking", "new", "output")


def run(arguments: Arguments) -> int:
    """Load the run, find candidates, rank, print or write."""
    arguments.only_word("run")
    keys, changes = _sorted_out(arguments)
    if not (keys["query"] or keys["user"] or keys["output"]):
        asked = "requests" if keys["requests"] else "split"
        raise ConfigError(f"missing output=FILE; pages of {asked}={keys[asked]} go into a file.")
    from funneltune.decisions import SUFFIXES, page_table, write_pages

    if keys["output"]:
        require_new(Path(keys["output"]), SUFFIXES)
    recommender, pages, summary = _carried_out(keys, changes)
    ranking = recommender.ranking
    if keys["output"]:
        write_pages(page_table(recommender, pages), Path(keys["output"]))
        say(f"{sum(len(page.items) for page in pages)} rows for {len(pages)} requests: {keys['output']}")
    else:
        _show(recommender, pages[0])
    if not ranking.is_plain:
        say("\n".join(summary.in_words()))
    return 0


def ranked(words: Sequence[str], changes: Mapping[str, Any]) -> pd.DataFrame:
    """What the command would write for these words and changes to the ranking, as a table; written where they say."""
    from funneltune.decisions import SUFFIXES, page_table, write_pages

    keys, told = _sorted_out(Arguments(overrides=tuple(words)))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output, SUFFIXES)
    recommender, pages, _ = _carried_out(keys, {**told, **changes})
    table = page_table(recommender, pages)
    if output is not None:
        write_pages(table, output)
    return table


def _carried_out(keys: Mapping[str, str], changes: Mapping[str, Any]) -> tuple[Recommender, list[Recommended], Summary]:
    """Pages for what was asked.

    Raises:
        ConfigError: if there is not one.
    """
    from funneltune.decisions import Recommender, Summary, new_items

    new = new_items(Path(keys["new"])) if keys["new"] else ()
    recommender = Recommender.of_run(Path(keys["run"]), ranking_of(keys["ranking"], changes), new)
    rows = recommender.scorer.rows
    if keys["user"] and rows.users.get(keys["user"]) is None:
        decides = "the query alone decides" if keys["query"] else "the items alone decide"
        told = "user=%s is no shopper of the run's log: %s."
        logging.getLogger("funneltune").warning(told, rows.shown.user(keys["user"]), decides)
    pages = list(recommender.pages(_requests(keys, recommender)))
    summary = Summary.of(recommender, pages)
    if len(summary.empty) == len(pages):
        raise ConfigError(f"no page: {summary.dropped}; loosen a rule, or choose other candidates.")
    return recommender, pages, summary


def ranking_of(named: str, changes: Mapping[str, Any]) -> Ranking:
    """The named ranking, or a file's, with changes to it.

    Raises:
        ConfigError: if there is none of that name, or a setting is wrong.
    """
    from funneltune.decisions import Ranking

    path: Path | None = None
    if named:
        shipped = {one.stem: one for one in sorted((config_root() / "ranking").glob("*.yaml"))}
        path = shipped.get(named, Path(named))
        if not path.is_file():
            raise ConfigError(
                f"ranking={named} is neither a file nor a ranking that ships{nearest_clause(named, shipped)}; there "
                f"are {', '.join(shipped)}."
            )
    return Ranking.read(path, changes)


def _sorted_out(arguments: Arguments) -> tuple[dict[str, str], dict[str, Any]]:
    """The verb's own keys, and the changes to the ranking by dotted keys."""
    import yaml

    inner = [one for one in arguments.overrides if one.partition("=")[0].partition(".")[0] in PARTS]
    others = [one for one in arguments.overrides if one not in inner]
    optional = dict.fromkeys((*OWN, *TEXTS, *NUMBERS), "")
    keys = Arguments(overrides=tuple(others)).keys({"run": "PATH"}, optional)
    asked = [name for name in ("query", "requests", "split") if keys[name]] or (["query"] if keys["user"] else [])
    if not asked:
        raise ConfigError("missing query=WORDS; add it, or user=SHOPPER, requests=FILE, split=test.")
    if len(asked) > 1:
        raise ConfigError(f"{asked[0]} and {asked[1]} are both given; give one of query, requests and split.")
    for name in ("user", "time", "most"):
        of = ("split",) if name == "most" else ("query",)
        if keys[name] and asked[0] not in of:
            raise ConfigError(f"{name} says nothing with {asked[0]}=; it goes with {of[0]}=.")
    changes: dict[str, Any] = {name: keys[name] for name in (*TEXTS, *NUMBERS) if keys[name]}
    for name in NUMBERS:
        changes |= {name: int(keys[name])} if keys[name].isdecimal() else {}
    for one in inner:
        key, _, text = one.partition("=")
        try:
            changes[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{one} cannot be read; write it as YAML: rules='{{at_most: {{brand: 2}}}}'.") from None
    return keys, changes


def _requests(keys: Mapping[str, str], recommender: Recommender) -> list[Any]:
    from funneltune.data import Asked
    from funneltune.decisions import Request, logged_requests, read_requests

    if keys["requests"]:
        return read_requests(Path(keys["requests"]), recommender.scorer)
    if keys["split"]:
        if keys["split"] not in ("train", "validation", "test"):
            raise ConfigError(f"split={keys['split']} must be train, validation or test.")
        if keys["most"] and not (keys["most"].isdecimal() and int(keys["most"])):
            raise ConfigError(f"most={keys['most']} must be a whole number, 1 or more.")
        return list(logged_requests(recommender.scorer, keys["split"], int(keys["most"]) if keys["most"] else None))
    return [Request("1", Asked(keys["query"], keys["user"], _time(keys["time"])))]


def _time(text: str) -> float | None:
    """Unix seconds of a time."""
    import pandas as pd

    from funneltune.data import MOMENT, moments

    if not text:
        return None
    (seconds,) = moments(pd.Series([text])).tolist()
    if math.isnan(seconds):
        raise ConfigError(f"time={text} must be {MOMENT}.")
    return float(seconds)


def _show(recommender: Recommender, page: Recommended) -> None:
    """A page as a table; what moved where something could move."""
    from rich.table import Table

    from funneltune.cli.terminal import Screen

    items, plain = recommender.items, recommender.ranking.is_plain
    valued = not plain or set(recommender.worth.weights) - set(page.p) or len(recommender.worth.weights) > 1
    more = [*(["value"] if valued else []), *([] if plain else ["before", "why"])]
    table = Table("", "item", "title", *page.p, *more)
    for place, number in enumerate(page.items):
        said = [f"{of_rate[place]:.4f}" for of_rate in page.p.values()]
        said += [f"{page.value[place]:.4g}"] if valued else []
        said += [] if plain else [str(page.before[place]), page.why[place]]
        table.add_row(str(place + 1), items.keys[number], items.titles[number], *said)
    Screen().print(table)


VERB = Verb(
    name="rank",
    summary="pages from a trained run: items in order for a query, or for a file of requests",
    usage='funneltune rank run=PATH query="WORDS" | (requests=FILE | split=test) output=FILE [by=ctcvr] [top=10] ...',
    examples=(
        'funneltune rank run=runs/quickstart/2026-01-31_12-00-00 query="red running shoes" by=ctr',
        "funneltune rank run=runs/quickstart/2026-01-31_12-00-00 split=test output=pages.parquet ranking=fair_sellers",
    ),
    run=run,
    keys={
        "run": "folder of a trained run",
        "query": "the words of a search",
        "user": "who asks: the log's identifier of the shopper; one that it does not know is ranked for by the query",
        "time": "when: unix seconds or ISO 8601 (default: after all that the log holds)",
        "requests": "CSV, Parquet or JSONL with request, query, user, time, and item where only some compete",
        "split": "train, validation or test: the requests of the run's log",
        "most": "only the first so many requests of the split",
        "output": "file to write (.parquet, .csv, .jsonl): request, place, item, title, p_..., value, before, why",
        "ranking": "a ranking of configs/ranking (purchases, revenue, varied, fair_sellers, storefront), or a YAML "
        "file like these; the keys below change it",
        "candidates": "all (default), logged (what a logged request showed), lexical, semantic, collaborative, "
        "popular, hybrid",
        "depth": "how many candidates lexical ... hybrid bring (default 1000)",
        "by": "what decides: a rate, revenue (price x ctcvr), or weights: '0.2*ctr + 0.8*ctcvr' (default: the last "
        "rate of the funnel, ctcvr)",
        "calibration": "none, temperature, platt or isotonic (default: the run's calibration.use)",
        "top": "how many items (default 10)",
        "diversity": "MMR: {weight: 0.7, by: vectors, pool: 50}; by: vectors, or columns of the items",
        "diversity.weight": "how much value counts beside being unlike what stands above; 1: value alone",
        "rules": "{stock, price, only, without, boost, at_most, pinned}: configs/ranking/storefront.yaml explains them",
        "rules.stock": "CSV or Parquet with item and stock, or a column of the items: what has none is dropped",
        "rules.price": "[lowest, highest], null for none",
        "exposure": "{column: seller, target: merit}: places for each group near what it is due (DetGreedy)",
        "exposure.column": "the items' column whose values share the page",
        "exposure.target": "catalogue, merit, or shares: {Acme: 0.3}",
        "new": "CSV, Parquet or JSONL with item, title and other fields of items that the log does not have",
    },
)
