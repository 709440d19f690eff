"""`funneltune sentiment`: what reviews say, one by one, by item and department."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    import pandas as pd

    from funneltune.decisions.sentiment import Push
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "text": "",
    "item": "",
    "input": "",
    "split": "",
    "by": "",
    "baseline": "tfidf",
    "smallest": "20",
    "words": "5",
    "draws": "1000",
    "seed": "0",
    "calibration": "",
    "output": "",
}
SHOWN = 10
"""Groups of a table, from its worst."""


@dataclass(frozen=True)
class Read:
    """Reviews with what the run says of them, what each word of a single one adds, or a split's study."""

    reviews: pd.DataFrame | None = None
    pushes: list[Push] = field(default_factory=list)
    record: DecisionRecord | None = None


def run(arguments: Arguments) -> int:
    """Read, print; write where a file or folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    found = carried_out(keys)
    if found.record is not None:
        _show_study(found.record)
    elif found.reviews is not None:
        _show_reviews(found)
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}" if found.record else f"reviews: {keys['output']}")
    return 0


def carried_out(keys: dict[str, str]) -> Read:
    """Read by all keys of the command, and write where `output` names a folder (of `text` and `input`: a CSV file).

    Raises:
        ConfigError: if a setting is out of range, the run lacks a task, or several things are to be read.
        DataError: if the file cannot be read.
        RunError: if it is no finished run, or the output exists.
    """
    from funneltune.decisions.scorer import Scorer
    from funneltune.decisions.sentiment import Reader, Settings, frame_of, left_out, record_of, study, write

    given = [name for name in ("text", "input", "split") if keys[name]]
    if len(given) > 1:
        raise ConfigError(f"{given[0]}= and {given[1]}= are both given; read one thing at a time.")
    studies = given in ([], ["split"])
    if keys["item"] and given != ["text"]:
        raise ConfigError(f"item={keys['item']} says what text= is about; without text= it has no meaning.")
    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output, () if studies else (".csv",))
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or None)
    if studies:
        studied = study(scorer, settings)
        record = record_of(studied, keys["run"])
        record.settings["calibration"] = scorer.calibration
        if output is not None:
            write(record, studied, output)
        return Read(record=record)
    reader = Reader(scorer)
    pushes: list[Push] = []
    if keys["text"]:
        texts, items = [keys["text"]], [keys["item"]]
        said, pushes = left_out(reader, texts[0], items[0])
    else:
        texts, items = reader.of_file(Path(keys["input"]))
        said = reader.of_texts(texts, items)
    frame = frame_of(reader, said, texts, items)
    if output is not None:
        frame.to_csv(output, index=False, float_format="%.5g")
    return Read(reviews=frame, pushes=pushes)


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {"split": keys["split"] or "test", "baseline": keys["baseline"]}
    found["by"] = tuple(one.strip() for one in keys["by"].split(",") if one.strip())
    for name in ("smallest", "words", "draws", "seed"):
        try:
            found[name] = int(keys[name])
        except ValueError:
            raise ConfigError(f"{name}={keys[name]} must be a whole number.") from None
    return found


def _show_reviews(found: Read) -> None:
    assert found.reviews is not None
    levels = [name for name in found.reviews.columns if name.startswith("p_")]
    rows = [
        [f"{row['rating']:.2f}", *(f"{row[name]:.0%}" for name in levels), str(row["text"])[:40]]
        for row in found.reviews.head(SHOWN).to_dict("records")
    ]
    headings = ["rating", *(name.removeprefix("p_").replace("_", " ") for name in levels), "review"]
    _table(f"{len(found.reviews)} reviews", headings, rows)
    if found.pushes:
        ranked = sorted(found.pushes, key=lambda push: -abs(push.rating))[:SHOWN]
        told = [[push.word, f"{push.rating:+.3f}", f"{push.recommended:+.1%}"] for push in ranked]
        _table("what each word adds: with it less without it", ["word", "rating", "recommended"], told)


def _show_study(record: DecisionRecord) -> None:
    rows = [[*map(str, row[:2]), *(f"{value:.4f}" for value in row[2:])] for row in record.tables["readers"]["rows"]]
    _table("who reads better (95% intervals over items)", record.tables["readers"]["columns"], rows)
    for name, table in record.tables.items():
        if not name.startswith("by "):
            continue
        rows = [
            [str(row[0]), str(row[1]), f"{row[2]:.2f}", f"{row[5]:.2f}", f"{row[6]:.0%}", row[8], row[9]]
            for row in table["rows"][:SHOWN]
        ]
        headings = [table["columns"][0], "reviews", "predicted", "rated", "recommend", "better with", "worse with"]
        _table(f"{name}, the lowest first ({len(table['rows'])} with enough reviews)", headings, rows)
    for note in record.notes:
        say(f"note: {note}")


def _table(title: str, headings: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    Screen().print(table)


VERB = Verb(
    name="sentiment",
    summary="ratings and recommendation from what reviews say: one, a file's, or by item and department",
    usage="funneltune sentiment run=PATH [text=WORDS | input=FILE | split=test] [output=FOLDER]",
    examples=(
        "funneltune sentiment run=runs/womens_clothing/2026-01-31_12-00-00 'text=Runs small, but the fabric is lovely'",
        "funneltune sentiment run=runs/womens_clothing/2026-01-31_12-00-00 input=reviews.csv output=read.csv",
        "funneltune sentiment run=runs/womens_clothing/2026-01-31_12-00-00 split=test by=department output=sentiment",
    ),
    run=run,
    keys={
        "run": "folder of a finished run with an ordinal task (stars) and a binary one (recommended)",
        "text": "one review: its ratings, and what each word adds",
        "item": "what text= is about, by the log's identifier (default: not told)",
        "input": "a CSV, Parquet or JSON-lines file of reviews: text, or the fields that the run reads; item",
        "split": "the log's reviews: test (default) or validation, grouped, and held against words alone",
        "by": "what groups them: item, fields of the items (default: item and each field of few values)",
        "baseline": "tfidf (default): TF-IDF and logistic regression on the run's training reviews; none",
        "smallest": "reviews that a group needs (default 20)",
        "words": "words told of each group, better and worse (default 5)",
        "draws": "of items, for the intervals (default 1000)",
        "seed": "of these draws (default 0)",
        "calibration": "none, temperature, platt, isotonic (default: as the run's config says)",
        "output": "a new folder for decision.json, reviews.csv, groups.csv and the picture; of text= and input= a new "
        "CSV file (default: print only)",
    },
)
