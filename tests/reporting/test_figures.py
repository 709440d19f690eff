"""Figures: what they draw is what the records hold, and their SVG is the page's own."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from funneltune.errors import ConfigError
from funneltune.records import RunRecord, read_records
from funneltune.reporting import write_report
from funneltune.reporting.figures import (
    differences,
    gradient_curves,
    groups,
    learning_curves,
    quality_against_cost,
    reliability,
    seeds,
    slices,
    to_svg,
)
from funneltune.reporting.figures.quality_cost import Point, front
from funneltune.reporting.findings import Findings


def change(study, cell, /, **fields):
    """Set fields of each of a cell's records; a callable is given the record."""
    for path in (study / "cells" / cell).rglob("record.json"):
        record = RunRecord.read(path)
        for name, value in fields.items():
            setattr(record, name, value(record) if callable(value) else value)
        record.write(path)


def findings(study):
    return Findings.of(read_records(study))


def test_the_front_is_what_nothing_beats_in_both():
    cells = {"a": (1, 0.60), "b": (2, 0.55), "c": (3, 0.70), "d": (3, 0.65), "e": (9, 0.70)}
    points = [Point(name, cost, quality, None) for name, (cost, quality) in cells.items()]
    assert [p.cell for p in front(points, True)] == ["a", "c"]
    assert [p.cell for p in front(points, False)] == ["a", "b"]


def test_quality_stands_against_each_cost_in_which_cells_differ(study):
    assert quality_against_cost(findings(study)) == []  # made-up runs all cost the same
    change(study, "tuning=full", cost=lambda r: r.cost | {"step_milliseconds_median": 900.0})
    (drawing,) = quality_against_cost(findings(study))
    assert drawing.name == "cost-step-time"
    found = findings(study)
    for name, cost, quality, _ in drawing.rows:
        cell = f"tuning={name}"
        assert cost == ("900.0" if name == "full" else "123.4")
        assert quality.split()[0] == f"{found.figure(cell, 'ctcvr/auc').mean:.4f}"
    assert drawing.axes.get_xscale() == "log"


def test_every_run_is_a_point_and_every_mean_has_its_interval(study):
    drawing = seeds(findings(study))[0]
    values = [run.record.value("ctcvr/auc") for run in findings(study).runs("tuning=full")]
    _, _, interval, each = next(row for row in drawing.rows if row[0] == "full")
    assert each == ", ".join(f"{v:.4f}" for v in values)
    reach = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)  # t at 97.5% with 2 degrees of freedom
    assert interval == f"{np.mean(values) - reach:.4f} to {np.mean(values) + reach:.4f}"
    drawn = sorted(float(line.get_xdata()[0]) for line in drawing.axes.lines if line.get_gid())
    assert len(drawn) == 9
    assert set(np.round(values, 9)) <= set(np.round(drawn, 9))


def test_differences_are_those_of_the_verdicts_from_the_baselines_side(study):
    found = findings(study)
    drawing = differences(found)[0]
    assert drawing.title == "CTCVR AUC: differences from frozen"
    for cell, *_, verdict in drawing.rows:
        assert verdict.startswith(found.verdict(f"tuning={cell}", "ctcvr/auc").verdict)


def test_a_pair_that_was_compared_the_other_way_round_is_turned(study):
    found = findings(study)
    one = found.verdict("tuning=full", "ctcvr/auc")
    turned = Findings(found.records, found.table, (one,), ())
    object.__setattr__(turned.records, "study", {"study": {"baseline": "tuning=full", "metric": "ctcvr/auc"}})
    other = turned.verdict("tuning=frozen", "ctcvr/auc")
    assert (other.difference, other.low, other.high) == (-one.difference, -one.high, -one.low)
    assert {one.verdict, other.verdict} == {"better", "worse"}


def test_slices_are_a_row_each_where_there_are_enough_positives(study):
    def cut(record):
        def entry(value, n, positives):
            return {"value": value, "protocol": {"rows": "r", "n": n, "positives": positives}}

        test = record.metrics["test"] | {
            "ctr/auc[item_cold=0]": entry(0.7, 900, 200),
            "ctr/auc[item_cold=1]": entry(0.6, 300, 50),
            "ctr/auc[price_band=high]": entry(0.9, 40, 3),
        }
        return {"test": test}

    assert slices(findings(study)) == []
    for cell in ("tuning=frozen", "tuning=full", "tuning=adalora"):
        change(study, cell, metrics=cut)
    (drawing,) = slices(findings(study))
    assert [row[0] for row in drawing.rows] == ["all rows", "item cold: no", "item cold: yes"]
    assert drawing.rows[2] == ("item cold: yes", "300", "50", "0.6000", "0.6000", "0.6000")


def scaling(method_eces):
    curve = {"predicted": [0.1, 0.2, 0.4], "observed": [0.05, 0.2, 0.5], "n": [10, 10, 10]}
    methods = {name: {"test": {"ece": ece, "log_loss": 0.3, "curve": curve}} for name, ece in method_eces.items()}
    return {"ctr": {"rows": "all impressions", "methods": methods}, "cvr": {"skipped": "one class only"}}


def test_calibration_is_drawn_before_and_after_each_scaling(study):
    assert reliability(findings(study)) == []
    change(study, "tuning=full", calibration=scaling({"none": 0.05, "platt": 0.01}))
    drawn = reliability(findings(study))
    assert [d.name for d in drawn] == ["calibration-ctr-none", "calibration-ctr-platt"]
    assert drawn[1].rows == (("full", "0.0100", "0.3000"),)
    line = next(line for line in drawn[0].axes.lines if line.get_gid())
    np.testing.assert_allclose(line.get_xydata(), [[0.1, 0.05], [0.2, 0.2], [0.4, 0.5]])


def write_history(study, cell, curves):
    for path in (study / "cells" / cell).rglob("record.json"):
        rows = [(step, name, value) for name, values in curves.items() for step, value in enumerate(values)]
        steps, names, values = zip(*rows, strict=True)
        table = pa.table({"step": pa.array(steps, pa.int64()), "name": list(names), "value": list(values)})
        pq.write_table(table, path.parent / "history.parquet")


def test_curves_are_drawn_where_there_are_points_enough(study):
    assert learning_curves(findings(study)) == []
    losses = [0.9, 0.7, 0.6, 0.55]
    write_history(study, "tuning=full", {"train/loss": losses, "validation/ctcvr/auc": [0.6, 0.7]})
    (drawing,) = learning_curves(findings(study))
    assert drawing.name == "curve-train-loss"
    assert drawing.rows[0][0] == "full"
    assert drawing.rows[0][1] == "0.9000"
    assert drawing.rows[0][-1] == "0.5500"
    write_history(study, "tuning=full", {"gradient/cosine[click,purchase]": [0.1, -0.2, 0.3]})
    (drawing,) = gradient_curves(findings(study))
    assert drawing.title == "cosine of gradients, click, purchase over the steps"


def everything(study):
    for cell in ("tuning=frozen", "tuning=full", "tuning=adalora"):
        change(study, cell, calibration=scaling({"none": 0.05, "platt": 0.01}))
        write_history(study, cell, {"train/loss": [0.9, 0.7, 0.6, 0.55]})
    change(study, "tuning=full", cost=lambda r: r.cost | {"saved_bytes": 92e6})
    pattern = {f"encoder.layer.{n}.attention.self.{part}": n + 1 for n in range(3) for part in ("query", "key")}
    change(study, "tuning=adalora", rank_pattern=pattern)
    return groups(findings(study))


def test_pictures_are_whole_svg_in_the_pages_colours_with_ids_of_their_own(study):
    pictures = [drawing for group in everything(study) for drawing in group.drawings]
    assert len(pictures) > 10
    seen = set()
    for drawing in pictures:
        text = to_svg(drawing)
        root = ET.fromstring(text)
        assert root.attrib["role"] == "img"
        said = root.find("{http://www.w3.org/2000/svg}title").text
        assert said == f"{drawing.title}. {drawing.caption}"
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
        assert {a or b for a, b in used} <= set(ids)
        assert "var(--ink)" in text
        assert not re.search(r'(?:href|src)="(?!#)', text)
        for tip in drawing.tips.values():
            assert f"<title>{tip}</title>" in text.replace("&#x27;", "'").replace("&amp;", "&")
        assert to_svg(drawing) == text
        assert all(len(row) == len(drawing.headings) for row in drawing.rows)


def test_a_name_with_markup_in_it_stays_text(study):
    change(study, "tuning=full", cell="tuning=<b>full</b>")
    content = (study / "study.json").read_text().replace("tuning=full", "tuning=<b>full</b>")
    (study / "study.json").write_text(content)
    write_report(study)
    page = (study / "report.html").read_text()
    assert "<b>full" not in page
    assert "&lt;b&gt;full" in page


@pytest.mark.slow
def test_figures_are_written_in_the_formats_that_are_asked_for(study, tmp_path):
    made = write_report(study, tmp_path / "out", figures=["png", "svg", "pdf"])
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"overview.png"} | {f"{d.name}.{form}" for d in made.drawings for form in ("png", "svg", "pdf")}
    before = {path.name: path.read_bytes() for path in (tmp_path / "out" / "figures").iterdir()}
    write_report(study, tmp_path / "out", figures=["png", "svg", "pdf"])
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out" / "figures").iterdir()}
    with pytest.raises(ConfigError, match="figures=bmp is no format; give one or more of png, svg, pdf"):
        write_report(study, tmp_path / "out", figures=["bmp"])
