"""The registry of papers is whole: what it names is there, and what it prints has the form that it says."""

import functools

import pytest
import yaml
from omegaconf import OmegaConf

from funneltune.cli.compose import compose_config
from funneltune.cli.locate import config_root
from funneltune.experiments import Study

ROOT = config_root()
PAPERS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob("paper/*.yaml"))}
SCALES = {"small", "full"}
KEYS = {"title", "citation", "url", "read", "sources", "tables", "errata", "counts", "claims", "ours", "scales"}
PROTOCOL = {"data", "version", "split", "metric", "rows", "selection", "seeds", "spread"}
per_paper = pytest.mark.parametrize("paper", PAPERS)


@functools.cache
def composed(study):
    """Not to be changed: all tests read one."""
    return compose_config([f"study={study}"])


@functools.cache
def cells_of(study):
    cfg = composed(study)
    return set(Study.from_config(cfg.name, OmegaConf.to_container(cfg.study)).cell_names)


def numbers(values):
    return all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values)


def test_all_ten_papers_are_there():
    assert set(PAPERS) == {
        *("houlsby2019", "lora2022", "adalora2023", "bitfit2022"),
        *("esmm2018", "mmoe2018", "ple2020", "aitm2021", "escm2_2022", "dcmt2023"),
    }


@per_paper
def test_an_entry_has_every_key_and_says_how_its_numbers_are_known(paper):
    content = PAPERS[paper]
    assert (ROOT / "paper" / f"{paper}.yaml").read_text().startswith("# ")
    assert set(content) == KEYS
    assert content["read"] in {"paper", "secondary", "unread"}
    assert content["sources"]
    assert content["url"].startswith("https://")
    assert all(isinstance(one, str) for one in (*content["errata"], *content["sources"]))


@per_paper
def test_every_row_of_a_table_has_a_number_for_every_column_or_null(paper):
    for name, table in PAPERS[paper]["tables"].items():
        assert set(table) - {"spreads"} == {
            "title",
            "protocol",
            "unit",
            "tolerance",
            "tolerance_why",
            "columns",
            "rows",
        }
        assert PROTOCOL | {"backbone"} == set(table["protocol"]) or PROTOCOL | {"model"} == set(table["protocol"]), name
        assert table["unit"] > 0 < table["tolerance"]
        for row, values in {**table["rows"], **table.get("spreads", {})}.items():
            assert row in table["rows"], (name, row)
            assert len(values) == len(table["columns"]), (name, row)
            assert numbers(values), (name, row)


@per_paper
def test_printed_contrasts_name_rows_and_columns_that_are_printed_and_weigh_to_zero(paper):
    for name, claim in PAPERS[paper]["claims"].items():
        assert set(claim) in ({"says", "printed", "above", "at"}, {"says", "effect", "unit", "why", "above", "at"}), (
            name
        )
        if "printed" not in claim:
            assert claim["why"], name
            continue
        printed = claim["printed"]
        table = PAPERS[paper]["tables"][printed["table"]]
        column = table["columns"].index(printed["column"])
        assert all(table["rows"][row][column] is not None for row in printed["rows"]), name
        assert sum(printed["rows"].values()) == 0, name


PAPER_CONTRADICTS_ITSELF = {("adalora2023", "gains_most_at_small_budgets")}
"""What the abstract says and the table does not; an erratum says so."""


@per_paper
def test_the_papers_own_numbers_hold_its_claims(paper):
    for name, claim in PAPERS[paper]["claims"].items():
        if printed := claim.get("printed"):
            table = PAPERS[paper]["tables"][printed["table"]]
            column = table["columns"].index(printed["column"])
            effect = sum(weight * table["rows"][row][column] for row, weight in printed["rows"].items())
        elif (effect := claim["effect"]) is None:
            continue
        assert (effect > claim["above"]) == ((paper, name) not in PAPER_CONTRADICTS_ITSELF), (name, effect)


@pytest.mark.slow
@per_paper
def test_every_place_names_cells_of_a_study_that_its_scale_lists(paper):
    content = PAPERS[paper]
    assert set(content["scales"]) == SCALES == set(content["ours"])
    for scale, told in content["scales"].items():
        assert set(told) == {"studies", "comparable", "differs"}
        assert isinstance(told["comparable"], bool)
        assert told["differs"]
        named = set()
        for name, claim in content["claims"].items():
            assert set(claim["at"]) == SCALES, name
            for place in claim["at"][scale]:
                assert set(place) - {"transform", "column"} == {"study", "metric", "cells"}, name
                assert place.get("transform", "distance_from_one") == "distance_from_one", name
                assert set(place["cells"]) <= cells_of(place["study"]), (name, place)
                assert sum(place["cells"].values()) == 0, name
                named.add(place["study"])
        for one in content["ours"][scale]:
            table = content["tables"][one["table"]]
            assert one["column"] in table["columns"]
            assert set(one["rows"]) <= set(table["rows"])
            assert set(one["rows"].values()) <= cells_of(one["study"]), one
            named.add(one["study"])
        assert named == set(told["studies"]), scale


@per_paper
def test_every_claim_is_tried_somewhere(paper):
    for name, claim in PAPERS[paper]["claims"].items():
        assert any(claim["at"].values()), name


@per_paper
def test_metrics_of_claims_are_those_of_tasks_that_the_study_has(paper):
    """`task/metric`; joint events (`ctcvr`) and the entire space have names of their own."""
    for claim in PAPERS[paper]["claims"].values():
        for place in (one for places in claim["at"].values() for one in places):
            cfg = composed(place["study"])
            assert place["metric"] in {cfg.study.metric, *cfg.study.metrics}, place


@per_paper
def test_counts_say_what_they_are_of_and_when_they_count_as_equal(paper):
    for one in PAPERS[paper]["counts"]:
        assert set(one) == {"of", "what", "printed", "within", "overrides", "explained"}
        assert one["printed"] > 0 < one["within"]
