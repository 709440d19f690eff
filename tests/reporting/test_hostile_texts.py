"""What a log, a config or a decision holds is text on every page that is made of it."""

import dataclasses
import re
from pathlib import Path

import pytest

from active import HOSTILE, PAYLOADS, active
from funneltune.decisions.explanations.explanation import (
    Change,
    Completeness,
    Evidence,
    Explanation,
    Neighbour,
    Pushing,
    Word,
)
from funneltune.decisions.explanations.page import to_html
from funneltune.records import DecisionRecord, write_json
from funneltune.reporting import report_decisions, write_report
from reporting.test_figures import change

ROOT = Path(__file__).parents[2]
SUMS = Completeness("logit", -1.0, -2.0, 8, 0.0, 0.1, True, (HOSTILE,))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_check_itself_catches(payload):
    if "{{" not in payload:  # that one is a template's, not a page's
        assert active(f'<p title="x">{payload}</p><p title="{payload}"><p title=\'{payload}\'>')


@pytest.mark.tried("card_or_notebook", "payload")
def test_a_reports_page_and_tables_show_texts_as_texts(study, tally):
    hostile = {HOSTILE: {"value": 0.5, "protocol": {"rows": HOSTILE, "n": 1}}}
    fields = {
        "name": HOSTILE,
        "command": f"funneltune train {HOSTILE}",
        "config": {"data": {"path": HOSTILE}, HOSTILE: HOSTILE, "tuning": {"_target_": HOSTILE}},
        "versions": {"torch": HOSTILE},
        "git_commit": HOSTILE,
        "rank_pattern": {HOSTILE: 4},
        "leaks": [{"kind": "label", "message": HOSTILE, "action": HOSTILE}],
        "baselines": lambda record: {HOSTILE: next(iter(record.baselines.values()))},
        "metrics": lambda record: {
            split: {**found, f"ctr/auc[item.category={HOSTILE}]": found["ctr/auc"], **hostile}
            for split, found in record.metrics.items()
        },
    }
    for cell in ("tuning=full", "tuning=adalora"):
        change(study, cell, **fields)
    change(study, "tuning=frozen", status="failed", error=HOSTILE)
    content = {"name": HOSTILE, "baseline": "tuning=full", "metric": "ctcvr/auc", "metrics": ["ctr/auc"]}
    write_json(study / "study.json", {"schema_version": 1, "study": content, "runs": [], "comparisons": []})
    page = write_report(study).page
    html = page.read_text()
    assert "canary" in html
    assert active(html) == []
    tables = "".join(path.read_text() for path in study.glob("*.md"))
    assert "canary" in tables
    assert not re.search(r"<(script|img|svg|a|b|iframe|!--)", tables)
    tally(len(PAYLOADS))


@pytest.mark.tried("card_or_notebook", "payload")
def test_a_decisions_page_shows_texts_as_texts(tmp_path, tally):
    record = DecisionRecord(
        verb="personas",
        run=HOSTILE,
        settings={HOSTILE: HOSTILE, "by": [HOSTILE]},
        numbers={HOSTILE: {"value": 1.0, "low": 0.5, "high": 1.5, "protocol": HOSTILE}},
        tables={HOSTILE: {"columns": [HOSTILE, "title"], "rows": [[HOSTILE, HOSTILE]]}},
        notes=[HOSTILE],
        git_commit=HOSTILE,
    )
    (tmp_path / "one").mkdir()
    record.write(tmp_path / "one")
    from rich.console import Console

    page = report_decisions(tmp_path, None, Console(quiet=True))
    assert "canary" in page.read_text()
    assert active(page.read_text()) == []
    tally(len(PAYLOADS))


@pytest.mark.tried("card_or_notebook", "payload")
def test_an_explanations_page_shows_texts_as_texts(tally):
    told = Explanation(
        run=HOSTILE,
        rate="ctr",
        events={"ctr": HOSTILE},
        query=HOSTILE,
        user=HOSTILE,
        item=HOSTILE,
        title=HOSTILE,
        p={"ctr": 0.2},
        completeness=SUMS,
        words=(Word(HOSTILE, "query", 0, len(HOSTILE), 1.0, True), Word(HOSTILE, "item", 0, len(HOSTILE), -1.0, True)),
        features=(Pushing(HOSTILE, "id", HOSTILE, 0.5),),
        evidence=Evidence(
            HOSTILE, (Neighbour(0.9, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: True}),), {"ctr": (1, 2)}, {"ctr": (1, 9)}
        ),
        changes=(Change(HOSTILE, HOSTILE, HOSTILE, 0.1, -0.1, True),),
    )
    assert {field.name for field in dataclasses.fields(told)} == set(told.to_json()) - {"sentence"}
    assert "canary" in to_html(told)
    assert active(to_html(told)) == []
    tally(len(PAYLOADS))


@pytest.mark.tried("card_or_notebook", "payload")
def test_no_script_of_ours_makes_markup_of_texts(tally):
    """Answers of the server are put on the page as text, whatever titles they hold."""
    scripts = sorted((ROOT / "src").rglob("*.js"))
    assert len(scripts) > 3
    sinks = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|srcdoc"
    )
    assert {path.name: re.findall(sinks, path.read_text()) for path in scripts} == {path.name: [] for path in scripts}
    tally(len(scripts))
