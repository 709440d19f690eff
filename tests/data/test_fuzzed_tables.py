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
    honest,
    spoilt_csv,
    spoilt_gzip,
    stored,
    verdict_on,
)

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


def agrees(found, left, verdict, lenient):
    """Whether a reading is the oracle's; what is not is told."""
    if isinstance(found, str):
        if "\n" in found or len(found) > 3000:
            return f"told at length: {found!r}"
        right = verdict.refused or verdict.unsure or (verdict.bad and not lenient) or not verdict.rows
        return "" if right or (lenient and 2 * len(verdict.bad) > len(verdict.rows)) else f"refused: {found}"
    if verdict.refused:
        return f"read, although {verdict.refused}"
    if verdict.bad and not lenient:
        return f"read, although rows {verdict.bad[:5]} have faults"
    if lenient and left != verdict.bad:
        return f"left out {left[:9]}, not {verdict.bad[:9]}"
    odd = [pair for pair in zip(found, verdict.rows, strict=False) if pair[0] != pair[1]]
    return f"{len(found)} rows, not {len(verdict.rows)}; {odd[:1]}" if odd or len(found) != len(verdict.rows) else ""


CSV, GZIP = 330, 40


def tried_csv(case, folder, funnel):
    """Whether a spoilt CSV file was read, and what is wrong with that."""
    random, lenient, path = np.random.default_rng(case), case % 2 == 1, folder / "log.csv"
    content = spoilt_csv(random)
    path.write_bytes(content)
    found, left = read(path, funnel, case, **({"bad_rows": 0.3} if lenient else {}))
    return isinstance(found, str), agrees(found, left, verdict_on(content), lenient)


def tried_gzip(case, folder, funnel):
    """The same of a packed one: a flipped bit of its name or time changes nothing, another refuses it."""
    path = folder / "log.csv.gz"
    path.write_bytes(spoilt_gzip(np.random.default_rng(case)))
    found, left = read(path, funnel, case)
    verdict = verdict_on(as_csv(HEADER, honest()))
    verdict.unsure = True
    return isinstance(found, str), agrees(found, left, verdict, lenient=False)


@pytest.mark.slow
@pytest.mark.tried("bad_table", "fuzz")
def test_a_spoilt_table_is_read_as_it_stands_or_refused_in_one_line(tmp_path, funnel, tally):
    refused, wrong = 0, []
    for case in range(CSV + GZIP):
        was, told = (tried_csv if case < CSV else tried_gzip)(case, tmp_path, funnel)
        refused += was
        wrong += [f"case {case}: {told}"] if told else []
    assert not wrong, "\n".join(wrong)
    assert 0.2 < refused / (CSV + GZIP) < 0.8
    tally(CSV + GZIP)
