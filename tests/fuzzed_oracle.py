"""What a spoilt log must be read as: by Python's csv module and plain loops."""

import csv
import io
import math
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from fuzzed import HEADER

NEEDED = HEADER[:-1]
MISSING = {"", "NA", "NaN", "nan", "NULL", "null"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
SURROGATES = re.compile("[\udc80-\udcff]")
LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Verdict:
    """What a log must be read as.

    Args:
        refused: The whole file must be refused.
        rows: What the store holds, as `stored` has it.
        bad: Numbers of rows with faults: they refuse the log, or are left out.
        unsure: Refusing the file is right, too: quotation marks that two readers may take differently.
    """

    refused: str = ""
    rows: list = field(default_factory=list)
    bad: list = field(default_factory=list)
    unsure: bool = False


def verdict_on(content):
    """By the bytes of a CSV file. A byte that is no UTF-8 matters in the cells that are read."""
    text = content.decode("utf-8-sig", "surrogateescape")
    before = csv.field_size_limit(sys.maxsize)
    try:
        lines = [line for line in _lines(text, strict=False) if "".join(line).strip(" \t") or len(line) > 1]
        try:
            list(_lines(text, strict=True))
            unsure = bool(SURROGATES.search(text))
        except csv.Error:
            unsure = True
    finally:
        csv.field_size_limit(before)
    if not lines:
        return Verdict("no header")
    header = lines[0]
    if any(header.count(name) != 1 for name in NEEDED):
        return Verdict("columns", unsure=unsure)
    read = [header.index(name) for name in NEEDED]
    if any(SURROGATES.search(line[at]) for line in lines for at in read if at < len(line)):
        return Verdict("no UTF-8")
    if len(lines) == 1:
        return Verdict("no rows", unsure=unsure)
    return verdict_on_rows(header, lines[1:], unsure)


def _lines(text, *, strict):
    return csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=strict)


def verdict_on_rows(header, lines, unsure=False):
    """By the cells as texts; None or a word for it is a missing one."""
    place = {name: header.index(name) for name in NEEDED}
    known, rows, bad = {}, [], []
    sessions = {}
    for number, line in enumerate(lines, start=1):
        cells = None
        if len(line) == len(header):
            row = {name: line[at] for name, at in place.items()}
            cells = _cells({name: None if cell is None or cell in MISSING else cell for name, cell in row.items()})
        if cells is None:
            bad.append(number)
            continue
        group = sessions.setdefault(cells[0], len(sessions))
        title = known.setdefault(cells[3], cells[4])
        if cells[-1] and not cells[-2]:
            bad.append(number)
            continue
        rows.append((group, *cells[1:4], title, *cells[5:]))
    rows.sort(key=lambda row: row[0])
    return Verdict(rows=_renumbered(rows), bad=bad, unsure=unsure)


def _renumbered(rows):
    numbers = {}
    return [(numbers.setdefault(group, len(numbers)), *rest) for group, *rest in rows]


def _cells(row):
    """The values of a row, or None where one breaks a rule."""
    texts = [row[name] for name in ("session", "shopper", "q", "sku", "name")]
    if any(text is None or not text.strip() for text in texts):
        return None
    rank, price, score = (_number(row[name]) for name in ("rank", "price", "score"))
    time, labels = _time(row["at"]), [_label(row[name]) for name in ("clicked", "bought")]
    if None in (rank, price, score, time, *labels) or rank != int(rank) or abs(rank) > 32_767:
        return None
    return (*texts, int(rank), time, np.float32(price), row["colour"] or "", np.float32(score), *labels)


def _number(text):
    if text is None or not NUMBER.fullmatch(text.strip(" ")):
        return None
    return value if math.isfinite(value := float(text)) and abs(value) <= LARGEST else None


def _time(text):
    if text is None:
        return None
    if NUMBER.fullmatch(text):
        return float(text) if math.isfinite(float(text)) else None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _label(text):
    number = _number({"True": "1", "true": "1", "False": "0", "false": "0"}.get(text, text))
    return int(number) if number in (0, 1) else None


def stored(store):
    """A store's rows, as a verdict has them."""
    named = {side: store.table(table).column("key").to_pylist() for side, table in SIDES.items()}
    titles, queries = store.text("items", "{title}"), store.text("queries", "{query}")
    colours = store.manifest["notes"]["categories"].get("colour", [""])
    columns = {name: store.column(name).tolist() for name in ("request", *SIDES, *NUMBERS, "click", "purchase")}
    rows = []
    for i in range(store.n_rows):
        row = {name: values[i] for name, values in columns.items()}
        item = row["item"]
        rows.append(
            (
                *(row["request"], named["user"][row["user"]], queries[row["query"]], named["item"][item], titles[item]),
                *(row["position"], row["time"], np.float32(row["price"]), colours[row["colour"]]),
                *(np.float32(row["score"]), row["click"], row["purchase"]),
            )
        )
    return rows


SIDES = {"user": "users", "query": "queries", "item": "items"}
NUMBERS = ("position", "time", "price", "colour", "score")
