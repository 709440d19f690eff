"""What runs in one table do not share and should is said; what they may differ in is not."""

import io

import pytest
from rich.console import Console

from funneltune.records import RunRecord, read_records
from funneltune.reporting import report
from funneltune.reporting.comparisons import compare
from funneltune.reporting.provenance import provenance

PLACES = {"full": "cells/tuning=full/seed=1/record.json", "frozen": "cells/tuning=frozen/seed=0/record.json"}


def change(study, which="full", **fields):
    path = study / PLACES[which]
    record = RunRecord.read(path)
    for name, value in fields.items():
        setattr(record, name, value)
    record.write(path)


def said(study):
    records = read_records(study)
    return provenance(records, {cell: cell.removeprefix("tuning=") for cell in records.cells})


def test_runs_of_one_origin_are_not_remarked_on(study):
    assert said(study) == []


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"git_commit": "0123456789abcdef+changes"},
            "runs come from different commits: no commit (frozen, full, adalora), 0123456789ab+changes (full)",
        ),
        (
            {"versions": {"torch": "2.13.0", "threads": "2"}},
            "runs used different package versions: torch none (frozen, full, adalora), 2.13.0 (full)",
        ),
        (
            {"data": {"fingerprint": "fedcba9876543210"}},
            "the log changed between runs of one data config: fingerprint None (frozen, full, adalora), "
            "fedcba987654 (full)",
        ),
    ],
)
def test_what_differs_is_said_with_the_cells_in_every_report(study, fields, line):
    change(study, **fields)
    assert sorted(said(study)) == sorted([line])
    console = Console(record=True, width=120, file=io.StringIO())
    report(study, console=console)
    assert " ".join(f"Careful: {line}.".split()) in " ".join(console.export_text().split())
    assert f"**Careful:** {line}." in (study / "table.md").read_text()
    assert f"Careful:</strong> {line}." in (study / "report.html").read_text()


def test_another_log_by_config_is_no_change_of_the_log_but_another_way_of_reading_it_is_none(study):
    config = {"seed": 1, "data": {"path": "other.csv"}}
    change(study, data={"fingerprint": "f"}, config=config)
    assert said(study) == []
    config = {"seed": 1, "data": {"path": "/opt/somewhere/data/log.csv.gz", "workers": 4}}
    change(study, data={"fingerprint": "f"}, config=config)
    assert len(said(study)) == 1


def test_a_pair_whose_log_changed_claims_nothing(study):
    change(study, data={"fingerprint": "f"})
    found = {c.cell: c for c in compare(read_records(study), metrics=["ctr/auc"])}
    assert (found["tuning=full"].verdict, found["tuning=full"].note) == ("no claim", "the log changed")
    assert found["tuning=adalora"].verdict == "better"
