"""The page, the answer and LaTeX say what the records say."""

import re

import pytest

from funneltune.errors import RunError
from funneltune.metrics import Comparison
from funneltune.records import read_records
from funneltune.reporting import write_report
from funneltune.reporting.answer import answer
from funneltune.reporting.changes import changes_section
from funneltune.reporting.findings import Findings
from funneltune.reporting.latex import escape_latex, to_latex
from funneltune.reporting.page import is_number
from reporting.test_figures import change


def findings(study):
    return Findings.of(read_records(study))


def test_the_answer_names_the_best_its_interval_the_verdicts_and_the_cheaper_equal(study):
    change(study, "tuning=full", parameters={"total": 10, "trainable_start": 9_000_000, "trainable_end": 9_000_000})
    found = findings(study)
    said = answer(found)
    best = found.best(found.column)
    mean = found.figure(best, "ctcvr/auc")
    assert said[0].startswith(f"{found.name(best)} has the best mean CTCVR AUC of 3 cells, {mean.mean:.4f} (95% ")
    assert f"{mean.mean - mean.reach:.4f} to {mean.mean + mean.reach:.4f}" in said[0]
    assert "a perfect model would reach" in said[0]
    assert "1,500 test rows (all impressions)" in said[0]
    assert said[1].startswith("Against frozen (3 seeds, Holm-corrected): full (+")
    assert "are better" in said[1]


def test_verdicts_without_a_claim_come_with_what_would_have_been_found(study):
    found = findings(study)
    open_ = Comparison(
        "ctcvr/auc", "tuning=frozen", "tuning=full", "no claim", difference=0.01, detectable=0.0205, seeds=3
    )
    said = answer(Findings(found.records, found.table, (open_,), ()))
    assert said[1] == (
        "Against frozen (3 seeds, Holm-corrected): there is no claim for full, where a difference of 0.0205 would be "
        "found with 80% power."
    )


def test_the_cheapest_cell_that_is_not_told_apart_from_the_best_is_named(study):
    change(study, "tuning=full", parameters={"total": 10, "trainable_end": 9_000_000})
    found = findings(study)
    best = found.best(found.column)
    other = next(c for c in ("tuning=full", "tuning=adalora") if c != best)
    small = best if best != "tuning=full" else other
    pair = Comparison("ctcvr/auc", best, other, "no claim", difference=-0.001, seeds=3)
    said = answer(Findings(found.records, found.table, (pair,), ()))
    if small == best:
        assert "fewest" not in " ".join(said)
    else:
        assert f"not told apart from full, {found.name(small)} trains the fewest weights: 294,912 against" in said[-1]


def test_a_single_run_and_a_folder_without_a_finished_run_have_an_answer_too(make_run):
    folder = make_run()
    assert answer(findings(folder))[0].startswith("CTR AUC is 0.")
    other = make_run("failed", status="failed")
    assert answer(findings(other)) == ["No run has finished yet."]
    write_report(other)
    assert "No run has finished yet." in (other / "report.html").read_text()


def test_the_page_fetches_nothing_and_its_links_lead_somewhere(study):
    write_report(study)
    page = (study / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!#)', page.replace('xmlns:xlink="http', ""))
    assert "@import" not in page
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert page.count("<h1>") == 1


def test_the_main_table_marks_the_best_and_every_verdict(study):
    write_report(study)
    page = (study / "report.html").read_text()
    found = findings(study)
    rows = re.findall(r'<tr class="cell" data-verdict="([^"]*)"><th scope="row">(\w+)', page)
    assert rows == [
        (v.verdict if (v := found.verdict(f"tuning={name}", "ctcvr/auc")) else "", name) for _, name in rows
    ]
    assert [name for _, name in rows] == ["frozen", "full", "adalora"]
    best = found.name(found.best(found.column))
    row = re.search(rf'<th scope="row">{best}.*?</tr>', page, re.DOTALL).group()
    mean = found.figure(found.best(found.column), "ctcvr/auc").mean
    cell = re.search(rf'<td[^>]*data-sort="{mean:.10g}"[^>]*class="best', row)
    assert cell is not None


def test_what_each_cell_was_is_told_as_changes_of_the_baselines_config(study):
    assert changes_section(findings(study)) is None  # made-up runs all have one config
    change(study, "tuning=full", config=lambda r: r.config | {"tuning": {"_target_": "Full", "learning_rate": 0.0001}})
    change(study, "tuning=frozen", config=lambda r: r.config | {"tuning": {"_target_": "Frozen"}})
    change(study, "tuning=adalora", config=lambda r: r.config | {"tuning": {"_target_": "Frozen"}})
    section = changes_section(findings(study))
    assert dict(section.rows) == {
        "frozen": "the reference",
        "full": "tuning._target_=Full (there Frozen), tuning.learning_rate=0.0001",
        "adalora": "nothing",
    }


def test_latex_holds_every_row_bold_bests_and_marks(study):
    found = findings(study)
    text = to_latex(found)
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == text.count("\\toprule") == 2
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    quality = text.split("\\end{table}")[0]
    lines = {line.strip().split(" & ")[0]: line for line in quality.splitlines() if " & " in line}
    assert {"frozen", "full", "adalora", "popularity", "oracle (ceiling)"} <= set(lines)
    assert len({line.count(" & ") for line in lines.values()}) == 1
    assert lines["full"].strip().startswith("full & 294,912 & ")
    best = found.best(found.column)
    assert f"\\textbf{{{found.figure(best, 'ctcvr/auc').mean:.4f}}}" in lines[found.name(best)]
    assert "\\blacktriangle" in lines["full"]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("p_click & 50%", r"p\_click \& 50\%"),
        ("a\\b", r"a\textbackslash{}b"),
        ("{x}~#$", r"\{x\}\textasciitilde{}\#\$"),
    ],
)
def test_latex_text_is_escaped(text, latex):
    assert escape_latex(text) == latex


@pytest.mark.parametrize(
    ("text", "number"),
    [("+0.0012", True), ("1,234", True), ("-", True), (".51 ±.02", True), ("query", False), ("", False)],
)
def test_numbers_stand_to_the_right(text, number):
    assert is_number(text) is number


def test_a_baseline_that_is_ahead_of_every_cell_is_told(study):
    for cell in ("tuning=frozen", "tuning=full", "tuning=adalora"):
        change(study, cell, baselines=lambda r: {"bm25": r.metrics["test"] | {"ctcvr/auc": {"value": 0.99}}})
    assert "bm25 (0.9900), not trained, is ahead of every cell's mean." in answer(findings(study))[0]


def test_a_metric_that_no_run_has_is_told_with_the_nearest(study):
    text = (study / "study.json").read_text()
    (study / "study.json").write_text(text.replace('"metric": "ctcvr/auc"', '"metric": "ctcvr/auk"'))
    said = "the study names the metric ctcvr/auk, which no run has measured; nearest: ctcvr/auc"
    assert said in findings(study).table.warnings


def test_a_place_that_cannot_be_written_is_one_line(study, tmp_path):
    (tmp_path / "afile").write_text("")
    with pytest.raises(RunError, match="afile/sub cannot be written"):
        write_report(study, tmp_path / "afile" / "sub")
