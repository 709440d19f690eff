"""`python -m faults [--quick]`: every marked test, a table, a record, and one line of JSON.

Quick: what `make test` runs of them, without the slow tier; no record. A row that nothing tried fails either.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.rows import FAULTS, KINDS, NOT_TRIED, ROWS, THREATS
from faults.tally import LEDGER

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "experiments" / "reliability" / "faults.json"
PAGE = RECORD.with_name("table.md")
KEYS = {
    "resume": ("resume_exact", "resume_tried"),
    "fault": ("faults_survived", "faults_injected"),
    "bad_input": ("bad_inputs_clear", "bad_inputs_tried"),
    "fuzz": ("fuzz_clean", "fuzz_tried"),
    "payload": ("payloads_blocked", "payloads_tried"),
    "leak": ("leaks_caught", "leaks_planted"),
    "canary": ("canaries_missed", "canaries_planted"),
}
PACKAGES = ("torch", "lightning", "hydra-core", "transformers", "peft", "opacus", "pyarrow", "wandb")


def main() -> int:
    """Run the marked tests, print what they tried, keep the record and the page. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the fast cases alone, in under 5 minutes on 2 cores")
    quick = parser.parse_args().quick
    begun = time.perf_counter()
    status, cases = ran("tried and not slow and not gpu" if quick else "tried and not gpu")
    console, counted = Console(stderr=True), counts(cases)
    console.print(table(cases))
    untried = [] if quick else [row for row in ROWS if not any(case["row"] == row for case in cases)]
    for row in untried:
        console.print(f"nothing was tried of {row}: {ROWS[row]}")
    for case in cases:
        if not case["held"]:
            console.print(f"{case['row']}: {case['test']} failed", markup=False)
    if not quick and status == 0:
        write(cases, counted, round(time.perf_counter() - begun))
    print(json.dumps(counted))  # noqa: T201
    return 1 if status or untried else 0


def ran(marked: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the tests that a mark expression chooses. Returns pytest's status and the cases, in the order of the rows."""
    with tempfile.TemporaryDirectory(prefix="funneltune-") as folder:
        ledger = Path(folder, "cases.json")
        command = [sys.executable, "-m", "pytest", "-m", marked, "-n", "2", "--dist", "worksteal"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {LEDGER: str(ledger)}, stdout=sys.stderr, check=False)
        cases = json.loads(ledger.read_text()) if ledger.is_file() else []
    order = list(ROWS)
    return done.returncode, sorted(cases, key=lambda case: (order.index(case["row"]), case["kind"], case["test"]))


def counts(cases: Sequence[dict[str, Any]]) -> dict[str, int]:
    """What was tried of each kind, and what of it ended as it must."""
    tried, held = Counter[str](), Counter[str]()
    for case in cases:
        tried[case["kind"]] += case["tried"]
        held[case["kind"]] += case["tried"] * case["held"]
    found = {key: count for kind in KINDS for key, count in zip(KEYS[kind], (held[kind], tried[kind]), strict=True)}
    missed = found.pop("canaries_missed")
    return found | {"canaries_found": found["canaries_planted"] - missed}


def by_row(cases: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[int]]]:
    """Row -> kind -> [held, tried]."""
    found: dict[str, dict[str, list[int]]] = {}
    for case in cases:
        pair = found.setdefault(case["row"], {}).setdefault(case["kind"], [0, 0])
        pair[0] += case["tried"] * case["held"]
        pair[1] += case["tried"]
    return found


def table(cases: Sequence[dict[str, Any]]) -> Table:
    """Every row, with what was tried of it."""
    shown = Table(title="what can go wrong", title_justify="left")
    for name in ("row", "", *(kind.replace("_", " ") for kind in KINDS)):
        shown.add_column(name, justify="left" if name in ("row", "") else "right")
    found = by_row(cases)
    for row, meaning in ROWS.items():
        pairs = found.get(row, {})
        cells = ["/".join(map(str, pairs[kind])) if kind in pairs else "" for kind in KINDS]
        shown.add_row(row, meaning, *cells, end_section=row == list(FAULTS)[-1])
    return shown


def write(cases: Sequence[dict[str, Any]], counted: dict[str, int], seconds: int) -> None:
    """Keep the counts, and every row with its cases."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    tests: dict[str, list[str]] = {}
    for case in cases:
        tests.setdefault(case["row"], []).append(f"{case['test']} ({case['kind']}, {case['tried']})")
    record = {
        "command": "make faults",
        "commit": commit.stdout.strip() or None,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "seconds": seconds,
        "counts": counted,
        "rows": {row: {"meaning": ROWS[row], "tried": pairs} for row, pairs in by_row(cases).items()},
        "not_tried": NOT_TRIED,
        "cases": tests,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(markdown(cases))


def markdown(cases: Sequence[dict[str, Any]]) -> str:
    """The table as a page."""
    found, lines = by_row(cases), ["# What can go wrong, tried", ""]
    lines += ["Held / tried, of each kind; cases and versions: faults.json. `make faults` writes both.", ""]
    for title, rows in (("Faults", FAULTS), ("Threats", THREATS)):
        lines += [f"## {title}", "", "| row | what goes wrong | tried |", "|---|---|---|"]
        for row, meaning in rows.items():
            pairs = [f"{kind.replace('_', ' ')} {held}/{tried}" for kind, (held, tried) in found.get(row, {}).items()]
            lines.append(f"| `{row}` | {meaning} | {', '.join(pairs) or 'nothing'} |")
        lines.append("")
    lines += ["## Not tried", "", *(f"- {what}: {why}." for what, why in NOT_TRIED.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
