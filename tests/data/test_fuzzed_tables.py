"""Spoilt logs through the real reading: each is read as it stands, to the last cell, or refused in one line."""

import csv
import io
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from funneltune.data import Table, prepare
from funneltune.errors import FunnelError
from fuzzed import (
    HEADER,
    ROLES,
    as_csv,
    cut,
    flipped,
    honest,
    pages_of,
    retyped,
    spoilt_cells,
    spoilt_csv,
    spoilt_gzip,
    typed,
)
from fuzzed_oracle import stored, verdict_on, verdict_on_rows

SECONDS = 10
"""For one log of 60 rows; more is a hang."""


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("funneltune.files.to_disk", lambda path: None)
    monkeypatch.setattr("funneltune.data.folders.to_disk", lambda path: None)


@contextmanager
def in_time(case):
    def ended(*_):
        raise TimeoutError(f"case {case} hangs")

    before = signal.signal(signal.SIGALRM, ended)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def read(path, funnel, case, **more):
    """The store's rows and the rows that were left out, or the one line."""
    with tempfile.TemporaryDirectory(dir=path.parent) as cache, in_time(case):
        try:
            store = prepare(Table(path, **ROLES, **more), funnel, Path(cache))
        except FunnelError as error:
            return str(error), []
        texts = [file.read_text("utf-8") for file in Path(cache).glob("quarantine-*.csv")]
        left = {int(row["row"]) for text in texts for row in csv.DictReader(io.StringIO(text))}
        return stored(store), sorted(left)


def agrees(found, left, verdict, limit=None):
    """Whether a reading is the oracle's; what is not is told. `limit`: the share of rows that may be left out."""
    total = len(verdict.bad) + len(verdict.rows)
    too_many = len(verdict.bad) > (0 if limit is None else int(limit * total if limit < 1 else limit))
    if isinstance(found, str):
        if "\n" in found or len(found) > 3000:
            return f"told at length: {found!r}"
        return "" if verdict.refused or verdict.unsure or too_many or not verdict.rows else f"refused: {found}"
    if verdict.refused or too_many:
        return f"read, although {verdict.refused or f'rows {verdict.bad[:5]} have faults'}"
    if left != verdict.bad:
        return f"left out {left[:9]}, not {verdict.bad[:9]}"
    odd = [pair for pair in zip(found, verdict.rows, strict=False) if pair[0] != pair[1]]
    return f"{len(found)} rows, not {len(verdict.rows)}; {odd[:1]}" if odd or len(found) != len(verdict.rows) else ""


CSV, GZIP, PARQUET = 330, 40, 130


def tried_csv(case, folder, funnel):
    """Whether a spoilt CSV file was read, and what is wrong with that."""
    random, limit, path = np.random.default_rng(case), (None, 0.3)[case % 2], folder / "log.csv"
    content = spoilt_csv(random)
    path.write_bytes(content)
    found, left = read(path, funnel, case, bad_rows=limit)
    return isinstance(found, str), agrees(found, left, verdict_on(content), limit)


def tried_gzip(case, folder, funnel):
    """The same of a packed one: a flipped bit of its name or time changes nothing, another refuses it."""
    path = folder / "log.csv.gz"
    path.write_bytes(spoilt_gzip(np.random.default_rng(case)))
    found, left = read(path, funnel, case)
    verdict = verdict_on(as_csv(HEADER, honest()))
    verdict.unsure = True
    return isinstance(found, str), agrees(found, left, verdict)


def tried_parquet(case, folder, funnel):
    """A Parquet file: other types, a cell that breaks a rule, cut short, a flipped bit, another name."""
    random, path = np.random.default_rng(case), folder / "log.parquet"
    kind, verdict = KINDS[case % len(KINDS)], verdict_on_rows(HEADER, honest())
    if kind == "cell":
        frame, row = spoilt_cells(random)
        frame.to_parquet(path)
        found, left = read(path, funnel, case, bad_rows=1)
        expected = verdict_on_rows(HEADER, [line if n != row else [] for n, line in enumerate(honest(), start=1)])
        return isinstance(found, str), agrees(found, left, expected, limit=1)
    (retyped(random) if kind == "type" else typed()).to_parquet(path, write_page_checksum=True)
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(cut(random, content))
    elif kind == "flip":
        flipped_at = int(random.integers(0, pages_of(content)))
        path.write_bytes(
            content[:flipped_at] + flipped(random, content[flipped_at : flipped_at + 1]) + content[flipped_at + 1 :]
        )
    elif kind == "name":
        path = path.rename(
            path.with_suffix(str(random.choice([".csv", ".tsv", ".arrow", ".csv.gz", ".xlsx", ".feather"])))
        )
    found, left = read(path, funnel, case)
    verdict.unsure = kind == "flip"  # of a byte that says nothing
    verdict.refused = f"a {kind}" if kind in ("cut", "name") else ""
    return isinstance(found, str), agrees(found, left, verdict)


KINDS = ("type", "cell", "cut", "flip", "flip", "name")


def held(tried, cases, folder, funnel):
    """All cases end as they must; some are read, and some refused."""
    found = [tried(case, folder, funnel) for case in range(cases)]
    wrong = [f"case {case}: {told}" for case, (_, told) in enumerate(found) if told]
    assert not wrong, "\n".join(wrong)
    return sum(refused for refused, _ in found) / cases


@pytest.mark.slow
@pytest.mark.tried("bad_table", "fuzz")
def test_a_spoilt_csv_file_is_read_as_it_stands_or_refused_in_one_line(tmp_path, funnel, tally):
    assert 0.2 < held(tried_csv, CSV, tmp_path, funnel) < 0.8
    assert held(tried_gzip, GZIP, tmp_path, funnel) > 0.8
    tally(CSV + GZIP)


@pytest.mark.slow
@pytest.mark.tried("parquet", "fuzz")
def test_a_spoilt_parquet_file_is_read_as_it_stands_or_refused_in_one_line(tmp_path, funnel, tally):
    assert 0.2 < held(tried_parquet, PARQUET, tmp_path, funnel) < 0.8
    tally(PARQUET)
