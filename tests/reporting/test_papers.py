"""Papers' claims held against a made-up study in which full is far above frozen, and AdaLoRA as good as full."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from funneltune.errors import ConfigError
from funneltune.records import RunRecord
from funneltune.reporting.papers import Counted, Paper, Shelf, judge_paper, literature_page, paper_page, plain
from funneltune.reporting.papers.pages import number_status

FULL, FROZEN, ADALORA = "tuning=full", "tuning=frozen", "tuning=adalora"


def claim(cells, effect=None, above=0.0, metric="ctr/auc", **more):
    place = {"study": "study", "metric": metric, "cells": cells, **more}
    return {"says": "It holds.", "effect": effect, "unit": 1, "above": above, "at": {"small": [place], "full": []}}


TABLE = {
    "title": "Table 1",
    "protocol": {"data": "a log", "split": "test"},
    "unit": 0.01,
    "tolerance": 1.0,
    "columns": ["AUC", "other"],
    "rows": {"Full": [70.0, None], "Frozen": [60.0, 1.0]},
    "spreads": {"Full": [0.5, None]},
}
BESIDE = {"study": "study", "table": "t", "column": "AUC", "metric": "ctr/auc", "rows": {"Full": FULL}}
PLACE = {"study": "study", "metric": "ctr/auc", "cells": {FULL: 1}}
COUNT = {"of": "Full", "what": "total", "printed": 1, "within": 0, "overrides": [], "explained": ""}
ENTRY = {
    "title": "A paper",
    "citation": "Someone, 2020",
    "url": "https://example.org",
    "read": "paper",
    "tables": {"t": TABLE},
    "claims": {"better": claim({FULL: 1, FROZEN: -1}, effect=0.1)},
    "ours": {"small": [BESIDE]},
    "scales": {"small": {"studies": ["study"], "comparable": False, "differs": "Another log"}},
}


def paper(tmp_path, **changes):
    path = tmp_path / "someone2020.yaml"
    path.write_text(yaml.safe_dump({**copy.deepcopy(ENTRY), **changes}))
    return Paper.from_file(path)


def judged(tmp_path, claims, folder=None):
    found = judge_paper(paper(tmp_path, claims=claims), "small", Shelf([folder or tmp_path]))
    return {one.claim.name: one for one in found.claims}, found


def test_each_status_is_computed_from_the_records(study, tmp_path):
    one, found = judged(
        tmp_path,
        {
            "holds": claim({FULL: 1, FROZEN: -1}, effect=0.1),
            "contrary": claim({FROZEN: 1, FULL: -1}, effect=0.1),
            "large effect, not there": claim({ADALORA: 1, FULL: -1}, effect=0.2),
            "small effect, too noisy": claim({ADALORA: 1, FULL: -1}, effect=1e-6),
            "no size printed": claim({ADALORA: 1, FULL: -1}),
            "not there": claim({"tuning=lora": 1, FULL: -1}, effect=0.1),
        },
    )
    assert {name: on.status for name, on in one.items()} == {
        "holds": "reproduced",
        "contrary": "contradicted",
        "large effect, not there": "missed",
        "small effect, too noisy": "undecided",
        "no size printed": "undecided",
        "not there": "not run",
    }
    assert found.status == "contradicted"
    assert found.counted == {"reproduced": 1, "contradicted": 1, "missed": 1, "undecided": 2, "not run": 1}
    at = one["small effect, too noisy"].places[0]
    assert 1e-6 < at.detectable < 0.2
    assert at.low < at.estimate < at.high
    assert one["not there"].places[0].note == "no finished run of tuning=lora (no cell of its records)"


def test_what_lies_beyond_the_detectable_counts_however_many_places_are_tried(study, tmp_path):
    one = claim({FULL: 1, FROZEN: -1}, effect=0.1)
    _, alone = judged(tmp_path, {"a": one})
    several = {f"n{n}": claim({ADALORA: 1, FULL: -1}, effect=0.1, above=n * 0.02) for n in range(-20, 21)}
    _, many = judged(tmp_path, {"a": one, **several})
    places = [(on.claim.above, place) for on in many.claims for place in on.places]
    assert places[0][1].detectable > 1.2 * alone.claims[0].places[0].detectable
    beyond = [place.status for above, place in places if abs(place.estimate - above) > place.detectable]
    assert len(beyond) > 2
    assert set(beyond) == {"reproduced", "contradicted"}


def test_a_paper_that_has_the_contrary_itself_is_never_missed(study, tmp_path):
    one, _ = judged(tmp_path, {"contrary": claim({ADALORA: 1, FULL: -1}, effect=-0.2)})
    assert one["contrary"].status == "undecided"


def test_the_sum_is_that_of_the_runs_own_values(study, tmp_path):
    one, _ = judged(tmp_path, {"gain": claim({FULL: 1, FROZEN: -1, ADALORA: 0.5})})

    def mean(cell):
        records = [RunRecord.read(p) for p in study.glob(f"cells/{cell}/*/record.json")]
        return sum(r.value("ctr/auc") for r in records) / len(records)

    expected = mean(FULL) - mean(FROZEN) + 0.5 * mean(ADALORA)
    assert one["gain"].places[0].estimate == pytest.approx(expected, abs=1e-5)
    assert one["gain"].places[0].seeds == 3


def test_within_a_margin_is_above_a_negative_threshold(study, tmp_path):
    one, _ = judged(tmp_path, {"near": claim({ADALORA: 1, FULL: -1}, effect=0.0, above=-0.2)})
    assert one["near"].status == "reproduced"


def test_a_claim_must_hold_at_every_place(study, tmp_path):
    both = claim({FULL: 1, FROZEN: -1}, effect=0.1)
    both["at"]["small"] += claim({ADALORA: 1, FULL: -1}, effect=0.1)["at"]["small"]
    half = claim({FULL: 1, FROZEN: -1}, effect=0.1)
    half["at"]["small"] += claim({"tuning=lora": 1, FULL: -1})["at"]["small"]
    one, _ = judged(tmp_path, {"both": both, "half": half})
    assert one["both"].status == "missed"
    assert one["half"].status == "undecided"


def test_without_statistics_nothing_is_claimed(make_study, tmp_path):
    make_study(statistics=False)
    one, _ = judged(tmp_path, {"holds": claim({FULL: 1, FROZEN: -1}, effect=0.1)})
    assert one["holds"].status == "undecided"
    assert "over seeds alone" in one["holds"].places[0].note


def test_one_seed_claims_nothing(make_study, tmp_path):
    make_study(seeds=(0,))
    one, _ = judged(tmp_path, {"holds": claim({FULL: 1, FROZEN: -1}, effect=0.1)})
    assert (one["holds"].status, one["holds"].places[0].note) == ("undecided", "one seed")


def test_a_ratio_is_judged_by_its_distance_from_one(study, tmp_path):
    told = claim(
        {FROZEN: 1, FULL: -1}, effect=0.1, metric="cvr_entire/predicted_over_true", transform="distance_from_one"
    )
    one, found = judged(tmp_path, {"less biased": told})
    assert one["less biased"].status == "reproduced"
    assert "distance from 1" in paper_page(found, Shelf([tmp_path]))


def test_the_first_folder_that_has_a_study_is_read(study, tmp_path):
    (tmp_path / "empty").mkdir()
    found = judge_paper(paper(tmp_path), "small", Shelf([tmp_path / "empty", tmp_path]))
    assert found.status == "reproduced"
    assert judge_paper(paper(tmp_path), "small", Shelf([tmp_path / "empty"])).status == "not run"


def test_the_page_puts_printed_and_ours_side_by_side(study, tmp_path):
    shelf = Shelf([tmp_path])
    found = judge_paper(paper(tmp_path, errata=["It errs."]), "small", shelf)
    page = paper_page(
        found, shelf, [Counted("Full", "trained", 100, 103, 5, ""), Counted("B", "share", 0.1, 0.2, 0, "x")]
    )
    row = next(line for line in page.splitlines() if line.startswith("| Full | 70"))
    assert "70 ±0.5 / " in row
    assert "other protocol" in row
    assert "| Full | trained | 100 | 103 | equal |" in page
    assert "| B | share | 10.00% | 20.00% | differs, explained | x |" in page
    assert "- It errs." in page
    assert "data: a log; split: test" in page
    whole = literature_page([found], {"someone2020": [Counted("Full", "trained", 100, 200, 5, "")]})
    assert "| [someone2020](someone2020.md) | small | **reproduced** | 1 reproduced | study |" in whole
    assert "0 of 1 printed parameter counts" in whole
    assert json.loads(json.dumps(plain([found])))[0]["claims"][0]["places"][0]["status"] == "reproduced"


def test_a_number_is_reproduced_within_the_tolerance_of_its_own_protocol():
    assert number_status(70.0, 70.9, 1.0, comparable=True) == "reproduced"
    assert number_status(70.0, 71.1, 1.0, comparable=True) == "missed"
    assert number_status(70.0, 70.0, 1.0, comparable=False) == "other protocol"
    assert number_status(None, 70.0, 1.0, comparable=True) == "undecided"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"read": "rumour"}, "read='rumour': input should be 'paper', 'secondary' or 'unread'"),
        ({"tables": {"t": {**TABLE, "rows": {"Full": [1.0]}}}}, r"tables.t: rows.Full has 1 numbers for 2 columns"),
        (
            {"tables": {"t": {**TABLE, "rows": {"Full": ["many", 1.0]}}}},
            r"rows.Full\[0\]='many': input should be a valid num",
        ),
        ({"tables": {"t": {**TABLE, "unit": 0}}}, "tables.t.unit=0: input should be greater than 0"),
        (
            {"tables": {"t": {**TABLE, "tolerance": -1}}},
            "tables.t.tolerance=-1: input should be greater than or equal to 0",
        ),
        (
            {"tables": {"t": {**TABLE, "spreads": {"Fall": [0.5, None]}}}},
            "spreads.Fall='Fall' is none of Frozen, Full, nearest",
        ),
        (
            {"claims": {"c": claim({FULL: 1}, transform="square")}},
            "transform='square': input should be 'distance_from_one'",
        ),
        (
            {"claims": {"c": claim({FULL: 0, FROZEN: 0})}},
            r"claims.c.at.small\[0\]: cells must have one whose weight is not 0",
        ),
        (
            {"claims": {"c": claim({FULL: 1}, above=float("nan"))}},
            "claims.c.above=nan: input should be a finite number",
        ),
        ({"claims": {"c": {"says": "x", "above": 0, "at": {}}}}, "claims.c: printed is missing, or effect"),
        (
            {
                "claims": {
                    "c": {"says": "x", "above": 0, "at": {}, "printed": {"table": "t", "column": "AUX", "rows": {}}}
                }
            },
            "claims.c.printed.column='AUX' is none of AUC, other, nearest: AUC",
        ),
        (
            {"claims": {"c": {**claim({FULL: 1}), "at": {"smal": []}}}},
            r"claims.c.at.smal.*='smal': input should be 'small' or 'full'",
        ),
        (
            {"claims": {"c": {**claim({FULL: 1}), "at": {"small": [{**PLACE, "study": "studi"}]}}}},
            r"claims.c.at.small\[0\].study='studi' is none of study, nearest: study",
        ),
        (
            {"ours": {"small": [{**BESIDE, "rows": {"Other": FULL}}]}},
            r"ours.small\[0\].rows='Other' is none of Frozen, Full",
        ),
        ({"counts": [{**COUNT, "printed": "lots"}]}, r"counts\[0\].printed='lots': input should be a valid number"),
        ({"counts": [{key: COUNT[key] for key in COUNT if key != "within"}]}, r"counts\[0\].within is missing"),
        ({"errata": "It errs."}, "errata='It errs.': input should be a valid list"),
        ({"erratta": []}, "erratta is no key of an entry"),
        (
            {"scales": {"small": {"studies": ["study"], "comparable": "no", "differs": "All"}}},
            "scales.small.comparable='no': input should be a valid boolean",
        ),
    ],
)
def test_an_entry_that_is_wrong_is_told_in_one_line(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        paper(tmp_path, **changes)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_entry_and_a_scale_that_is_none_are_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="holds list, but an entry is a mapping"):
        Paper.from_file(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        Paper.from_file(tmp_path / "broken.yaml")
    (tmp_path / "twice.yaml").write_text("title: x\ntitle: y\n")
    with pytest.raises(ConfigError, match="found duplicate key title"):
        Paper.from_file(tmp_path / "twice.yaml")
    (tmp_path / "half.yaml").write_text("title: x")
    with pytest.raises(ConfigError, match=r"half.yaml: citation is missing \(and 6 more\)"):
        Paper.from_file(tmp_path / "half.yaml")
    with pytest.raises(ConfigError, match="scale=large must be one of small"):
        judge_paper(paper(tmp_path), "large", Shelf([tmp_path]))


def test_every_entry_of_the_registry_is_read():
    entries = [Paper.from_file(path) for path in Path("configs/paper").glob("*.yaml")]
    assert len(entries) >= 10
    for entry in entries:
        tried = {place.study for one in entry.claims for places in one.at.values() for place in places}
        tried |= {beside.study for besides in entry.ours.values() for beside in besides}
        run = {study for scale in entry.scales.values() for study in scale.studies}
        assert tried <= run, entry.name


def test_the_paper_above_lora_has_the_effect_that_its_table_prints():
    entry = Paper.from_file(Path("configs/paper/adalora2023.yaml"))
    effects = {one.name: one.effect for one in entry.claims}
    assert effects["above_lora"] == pytest.approx(0.0097)
    assert effects["gains_most_at_small_budgets"] == pytest.approx(-0.0026)


def test_a_place_may_have_a_size_of_its_own_in_the_paper(study, tmp_path):
    entry = copy.deepcopy(ENTRY)
    one = claim({FULL: 1, FROZEN: -1})
    entry["claims"]["better"] = {
        **{key: one[key] for key in ("says", "above")},
        "printed": {"table": "t", "column": "AUC", "rows": {"Full": 1, "Frozen": -1}},
        "at": {"small": [PLACE, {**PLACE, "column": "other"}]},
    }
    entry["tables"]["t"]["rows"] = {"Full": [70.0, 5.0], "Frozen": [60.0, 1.0]}
    places = paper(tmp_path, **entry).claims[0].at["small"]
    assert [place.effect for place in places] == pytest.approx([0.1, 0.04])
    found = judge_paper(paper(tmp_path, **entry), "small", Shelf([tmp_path]))
    assert "| | +0.04 (other) | `study` ctr/auc: full |" in paper_page(found, Shelf([tmp_path]))
    entry["claims"]["better"]["at"]["small"][1]["column"] = "AUK"
    with pytest.raises(ConfigError, match=r"at.small\[1\].column='AUK' is none of AUC, other, nearest: AUC"):
        paper(tmp_path, **entry)
