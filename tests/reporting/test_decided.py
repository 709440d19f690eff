"""Decisions on the page: beside the runs that they were made with, or alone."""

import re

import pytest

import funneltune
from funneltune.cli import main
from funneltune.errors import RunError
from funneltune.records import DecisionRecord
from funneltune.reporting import report_decisions, write_report

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c6300010000050001"
)


def decided(folder, **more):
    folder.mkdir(parents=True)
    (folder / "map.png").write_bytes(PIXEL)
    fields = {
        "settings": {"groups": 3, "by": ["clicks", "words"]},
        "numbers": {"stability_index": {"value": 0.81234, "low": 0.7, "high": 0.9, "protocol": "20 <bootstraps>"}},
        "tables": {"of_groups": {"columns": ["group", "mean_price"], "rows": [[n, n * 1.5] for n in range(70)]}},
        "figures": ["map.png"],
        "notes": ["A group is no person."],
    }
    DecisionRecord(verb="personas", run="runs/a", **(fields | more)).write(folder)
    return folder


def texts(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text()))


def test_a_decision_in_a_runs_folder_stands_on_its_page(study):
    decided(study / "personas")
    page = write_report(study).page
    said = texts(page)
    assert "Decision: personas Made with runs/a by funneltune personas. A group is no person." in said
    assert "stability index 0.8123 0.7 to 0.9 20 &lt;bootstraps&gt;" in said
    assert "by clicks, words" in said
    assert "the first 50 of 70 rows" in said
    assert '<a href="#decision-personas-personas">Decision: personas</a>' in page.read_text()
    assert 'src="data:image/png;base64,iVBORw0K' in page.read_text()
    assert "Quality and cost" in said


def test_decisions_without_a_run_have_a_page_of_their_own(tmp_path, capsys):
    decided(tmp_path / "shop" / "one")
    decided(tmp_path / "shop" / "two", figures=[])
    assert main(["report", str(tmp_path / "shop"), f"output={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "Decision: personas, one" in printed
    assert "0.7 to 0.9" in printed
    assert f"page: {tmp_path / 'out' / 'report.html'}" in printed
    said = texts(tmp_path / "out" / "report.html")
    assert "Decision: personas, two" in said
    assert "Quality and cost" not in said
    assert funneltune.report(tmp_path / "shop") == tmp_path / "shop" / "report.html"


def test_a_folder_of_runs_is_left_to_the_report(study, tmp_path):
    assert report_decisions(study) is None
    assert report_decisions(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (["../map.png"], r"figures='../map.png' must be a .png or .svg file beside the record"),
        (["map.html"], r"must be a .png or .svg file"),
        (["gone.png"], r"gone.png is missing; its decision names it"),
    ],
)
def test_a_picture_is_beside_its_record(tmp_path, figures, told):
    with pytest.raises(RunError, match=told):
        report_decisions(decided(tmp_path / "one", figures=figures))


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file; name a folder"):
        report_decisions(decided(tmp_path / "one"), tmp_path / "file")
