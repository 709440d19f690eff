"""Further parts of a report: the terms on which cells meet, and where ranks are kept."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from funneltune.metrics import Comparison
from funneltune.records import RunRecord, read_records
from funneltune.reporting import report
from funneltune.reporting.evidence import collect
from funneltune.reporting.gradients import gradients_section
from funneltune.reporting.ranks import likeness_section, rank_history, ranks_section
from funneltune.reporting.render import methods
from funneltune.reporting.table import display_names
from funneltune.reporting.terms import terms_section

EVEN = {"encoder.layer.0.attention.self.query": 4, "encoder.layer.0.output.dense": 4}
PRUNED = {"encoder.layer.0.attention.self.query": 0, "encoder.layer.0.output.dense": 4}


def study(folder, **facts):
    """Two seeds of a cell whose ranks were pruned, as a study leaves them."""
    runs = []
    for seed in (0, 1):
        run_dir = folder / "cells" / "budget=4" / f"seed={seed}"
        run_dir.mkdir(parents=True)
        metrics = {"test": {"ctr/auc": {"value": 0.7 + seed / 100, "protocol": {}}}}
        funnel = {"click": {"kind": "binary", "given": [], "rate": "ctr"}}
        record = RunRecord(
            "s", status="finished", seed=seed, rank_pattern=PRUNED, metrics=metrics, funnel=funnel, parameters={}
        )
        record.write(run_dir / "record.json")
        rows = [(0, f"rank/{name}", float(rank)) for name, rank in EVEN.items()]
        rows += [(5, "train/loss", 0.5), *((10, f"rank/{name}", float(rank)) for name, rank in PRUNED.items())]
        step, name, value = zip(*rows, strict=True)
        pq.write_table(pa.table({"step": step, "name": name, "value": value}), run_dir / "history.parquet")
        runs.append({"cell": "budget=4", "seed": seed, "record": f"cells/budget=4/seed={seed}/record.json"})
    content = {"schema_version": 1, "study": {"name": "s", "metric": "ctr/auc"} | facts.pop("study", {}), "runs": runs}
    (folder / "study.json").write_text(json.dumps(content | facts))
    return folder


def test_ranks_are_told_by_module_layer_and_agreement(tmp_path):
    section = ranks_section(read_records(study(tmp_path)), {})
    assert section.rows == (("budget=4", "4 in 2", "1.0", "0% ±0", "100% ±0", "33% ±0", "33% ±0", "33% ±0", "+1.00"),)
    assert "an even allocation has 50% in attention" in " ".join(section.notes)


def test_maps_of_cells_are_held_against_each_other_and_against_a_cells_own_seeds(tmp_path):
    assert likeness_section(read_records(study(tmp_path / "one")), {}) is None  # there is nothing to be like
    folder = tmp_path / "two"
    layers = [f"encoder.layer.{n}.output.dense" for n in range(3)]
    kept = {"a": [(0, 2, 4), (0, 3, 3)], "b": [(4, 2, 0), (3, 3, 0)]}
    runs = []
    for cell, maps in kept.items():
        for seed, ranks in enumerate(maps):
            path = folder / "cells" / cell / f"seed={seed}" / "record.json"
            path.parent.mkdir(parents=True)
            pattern = dict(zip(layers, ranks, strict=True))
            RunRecord("s", status="finished", seed=seed, rank_pattern=pattern, funnel={}, parameters={}).write(path)
            runs.append({"cell": cell, "seed": seed, "record": str(path.relative_to(folder))})
    content = {"schema_version": 1, "study": {"name": "s", "metric": "ctr/auc"}, "runs": runs}
    (folder / "study.json").write_text(json.dumps(content))
    section = likeness_section(read_records(folder), {"b": "B"})
    # |a - b| over three matrices, run by run: 8/3, 8/3, 8/3, 6/3; correlations -1, -0.866, -0.866, -0.5.
    assert section.rows == (
        ("a", "its own seeds", "0.67", "+0.87"),
        ("a", "B", "2.50", "-0.81"),
        ("B", "its own seeds", "0.67", "+0.87"),
    )


def test_the_history_gives_the_ranks_over_the_steps_also_from_evidence(tmp_path):
    folder = study(tmp_path / "study")
    target = collect(folder, tmp_path / "evidence")
    whole, kept = (read_records(path).runs[0] for path in (folder, target))
    assert rank_history(whole) == rank_history(kept) == {0: EVEN, 10: PRUNED}


def test_a_report_shows_the_sections_everywhere_and_draws_the_maps(tmp_path, capsys):
    matched = {"budget=4": {"sizes": {"tuning.rank": 4, "tuning.alpha": 8.0}, "trained": 12345}, "other": None}
    tried = [{"value": 1e-4, "score": 0.61}, {"value": 1e-3, "score": None}]
    tuned = {"budget=4": {"key": "tuning.learning_rate", "chosen": 1e-4, "at_edge": True, "tried": tried}}
    tune = {"rates": [1, 10], "overrides": ["data.train_share=0.25"], "metric": "validation/ctr/auc"}
    folder = study(tmp_path, matched=matched, tuned=tuned, study={"tune": tune})
    report(folder)
    shown = " ".join(capsys.readouterr().out.split())
    for text in (shown, (folder / "table.md").read_text(), (folder / "report.html").read_text()):
        for told in ("On which terms", "12,345", "rank 4, alpha 8", "0.0001 (edge)", "0.001: failed", "as it is"):
            assert told in text
        assert "validation/ctr/auc, one run each with data.train_share=0.25" in text
        assert "Where ranks are kept" in text
    assert (folder / "ranks.png").stat().st_size > 10_000


def test_a_study_on_no_terms_has_no_such_section(tmp_path):
    assert terms_section(read_records(study(tmp_path)), {}) is None


def test_leave_one_out_reads_without_each_part(tmp_path):
    for name in ("nothing", "ids", "pretrained_weights"):
        run_dir = tmp_path / "cells" / f"without={name}" / "seed=0"
        run_dir.mkdir(parents=True)
        RunRecord("s", status="finished").write(run_dir / "record.json")
    assert display_names(read_records(tmp_path)) == {
        "without=nothing": "everything",
        "without=ids": "without ids",
        "without=pretrained_weights": "without pretrained weights",
    }


def test_many_second_intervals_are_told_only_where_they_differ():
    def pair(cell, low, bootstrap_low):
        return Comparison(
            "ctr/auc", "b", cell, "no claim", low=low, high=1.0, bootstrap_low=bootstrap_low, bootstrap_high=0.9
        )

    alike = [pair(f"c{n}", 0.1, 0.2) for n in range(3)]
    few = " ".join(methods(alike, {}))
    assert "c0 against b +0.2000 to +0.9000; c1 against b" in few
    many = " ".join(methods([*alike, pair("odd", 0.1, -0.2)], {"odd": "Odd"}))
    assert "as well: Odd against b -0.2000 to +0.9000; it says the same of the other 3 pairs" in many
    assert "c0" not in many
    assert "it says the same of all 4 pairs" in " ".join(methods([*alike, alike[0]], {}))


def test_the_same_rank_everywhere_is_no_allocation(tmp_path):
    folder = study(tmp_path)
    for path in folder.rglob("record.json"):
        record = RunRecord.read(path)
        record.rank_pattern = dict.fromkeys(EVEN, 8)
        record.write(path)
    assert ranks_section(read_records(folder), {}) is None


def with_cosines(folder):
    """The study, with six measured steps per seed."""
    for seed, cosines in enumerate(([0.2, 0.4, 0.0, 0.1, -0.3, -0.1], [0.4, 0.6, 0.1, 0.2, -0.1, 0.1])):
        path = folder / "cells" / "budget=4" / f"seed={seed}" / "history.parquet"
        rows = [(10 * n, "gradient/cosine[click,purchase]", value) for n, value in enumerate(cosines)]
        rows += [(0, "gradient/norm[click]", 3.0)]
        step, name, value = zip(*rows, strict=True)
        more = pa.table({"step": step, "name": name, "value": value})
        pq.write_table(pa.concat_tables([pq.read_table(path), more]), path)
    return folder


def test_cosines_are_told_by_thirds_of_the_training_from_the_study_and_from_its_evidence(tmp_path):
    folder = with_cosines(study(tmp_path / "study"))
    section = gradients_section(read_records(folder), {"budget=4": "four"})
    assert section.rows == (("four", "click, purchase", "+0.40 ±0.14", "+0.10 ±0.07", "-0.10 ±0.14", "25%"),)
    target = collect(folder, tmp_path / "evidence")
    assert gradients_section(read_records(target), {"budget=4": "four"}).rows == section.rows
    assert "How the tasks' gradients meet" in (target / "table.md").read_text()


def test_without_measured_gradients_there_is_no_such_section(tmp_path):
    assert gradients_section(read_records(study(tmp_path)), {}) is None
