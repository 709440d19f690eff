"""A metric along an axis of numbers: which studies have one, and that what is drawn is what the records hold."""

import numpy as np
import pytest

from funneltune.records import RunRecord, read_records
from funneltune.reporting.figures import along_axis, groups
from funneltune.reporting.figures.along_axis import assigned, numeric_axes
from funneltune.reporting.findings import Findings

AUC = {("mmoe", "0.0"): (0.71, 0.73), ("mmoe", "0.5"): (0.74, 0.76), ("mmoe", "1.0"): (0.8, 0.8)}
AUC |= {("omoe", "0.0"): (0.6, 0.64), ("omoe", "0.5"): (0.7, 0.7), ("omoe", "1.0"): (0.8, 0.82)}


@pytest.fixture
def found(make_run, tmp_path):
    """Findings of made-up runs whose CTR AUC is `AUC`; `drop` cells are left out."""

    def make(name=lambda head, share: f"head={head},data.train_share={share}", drop=()):
        for (head, share), values in AUC.items():
            for seed, value in enumerate(values):
                cell = name(head, share)
                if (head, share) in drop:
                    continue
                run = make_run(f"study/{head}-{share}-{seed}", cell, seed, statistics=False)
                record = RunRecord.read(run / "record.json")
                record.cell = cell
                record.metrics["test"] = {"ctr/auc": {"value": value, "protocol": {}}}
                record.write(run / "record.json")
        return Findings.of(read_records(tmp_path / "study"))

    return make


def test_a_line_holds_the_means_and_the_intervals_over_seeds(found):
    (drawing,) = along_axis(found())
    assert drawing.headings == ("", "0", "0.5", "1")
    assert drawing.title == "CTR AUC along train share"
    lines = {line.get_label(): line for line in drawing.axes.lines}
    for head in ("mmoe", "omoe"):
        values = np.array([AUC[head, share] for share in ("0.0", "0.5", "1.0")])
        np.testing.assert_allclose(lines[head].get_xdata(), [0, 0.5, 1])
        np.testing.assert_allclose(lines[head].get_ydata(), values.mean(axis=1))
        reach = 12.706205 * values.std(axis=1, ddof=1) / np.sqrt(2)  # t at 97.5% with 1 degree of freedom
        row = next(row for row in drawing.rows if row[0] == head)
        assert row[1:] == tuple(f"{m:.4f} ±{r:.4f}" for m, r in zip(values.mean(axis=1), reach, strict=True))
    assert "Along an axis" in [group.title for group in groups(found())]


def test_a_missing_cell_leaves_a_gap_and_a_line_of_two_points_is_left_out(found):
    (drawing,) = along_axis(found(drop=[("omoe", "0.5")]))
    assert [row[0] for row in drawing.rows] == ["mmoe"]


def test_axes_of_words_and_cells_without_axes_draw_nothing(found):
    assert along_axis(found(lambda head, share: f"head={head},way={'abc'[int(2 * float(share))]}")) == []
    assert along_axis(found(lambda head, share: f"{head} at {share}")) == []


def test_an_axis_is_numeric_where_all_of_its_values_are_numbers_and_there_are_three():
    cells = [{"rate": rate, "head": "mmoe", "rank": rank} for rate in ("1e-3", "0.01", "3") for rank in ("2", "4")]
    assert numeric_axes(cells) == ["rate"]
    assert numeric_axes([*cells, {"rate": "null", "head": "mmoe", "rank": "2"}]) == []
    assert numeric_axes([]) == []
    assert assigned("head.hidden=64,32") is None


def test_an_axis_of_wide_range_is_logarithmic(found):
    wide = {"0.0": "0.0003", "0.5": "0.003", "1.0": "0.03"}
    (drawing,) = along_axis(found(lambda head, share: f"head={head},optimizer.lr={wide[share]}"))
    assert drawing.axes.get_xscale() == "log"
    assert drawing.axes.get_xlabel() == "lr"
