"""Counts what marked tests tried: `@pytest.mark.tried(ROW, KIND)`, and `tally(n)` where one test tries n things."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from faults.rows import KINDS, ROWS

LEDGER = "FUNNELTUNE_FAULTS"
"""Environment variable: the file that a session's cases are written to."""
PROPERTY = "tried"


@dataclass(frozen=True)
class Case:
    """One marked test that ran.

    Args:
        row: What went wrong, of `faults.rows`.
        kind: How it counts.
        test: The test's node id.
        tried: Things that the test tried.
        held: Whether all of them ended as they must.
    """

    row: str
    kind: str
    test: str
    tried: int
    held: bool


class Ledger:
    """Collects the cases of a session, from all of its workers."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.cases: dict[tuple[str, str, str], Case] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test's call that ended, or its set-up that failed."""
        if report.when != "call" and not report.failed:
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                row, kind, tried = json.loads(str(value))
                case = Case(row, kind, report.nodeid, tried, held=report.passed)
                if not report.skipped:
                    before = self.cases.get((row, kind, report.nodeid))
                    held = case.held and (before is None or before.held)  # a clean-up that fails takes it back
                    self.cases[row, kind, report.nodeid] = Case(row, kind, report.nodeid, tried, held)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write them down, unless this is a worker, whose reports its session hears too."""
        if self.path is not None and not hasattr(session.config, "workerinput"):
            self.path.write_text(json.dumps([asdict(case) for case in self.cases.values()]))


def pytest_configure(config: pytest.Config) -> None:
    """Join the session, where someone asks for its ledger."""
    if path := os.environ.get(LEDGER):
        config.pluginmanager.register(Ledger(Path(path)), "faults")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Each mark becomes a property of its test, which a worker's report carries to the session.

    Raises:
        pytest.UsageError: if a mark names no row or kind.
    """
    for mark in item.iter_markers("tried"):
        if len(mark.args) != 2 or mark.args[0] not in ROWS or mark.args[1] not in KINDS:
            raise pytest.UsageError(
                f"{item.nodeid}: tried{mark.args} must be (row, kind); rows: {', '.join(ROWS)}; "
                f"kinds: {', '.join(KINDS)}"
            )
        item.user_properties.append((PROPERTY, json.dumps([*mark.args, 1])))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Call it once, with the number of things that this test tries and asserts."""

    def count(tried: int) -> None:
        properties = request.node.user_properties
        assert any(name == PROPERTY for name, _ in properties), "tally counts for tests that are marked tried"
        for place, (name, value) in enumerate(properties):
            if name == PROPERTY:
                row, kind, _ = json.loads(value)
                properties[place] = (name, json.dumps([row, kind, tried]))

    return count
