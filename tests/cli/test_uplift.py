"""`funneltune uplift`: it finds the responders of a campaign whose responders are known, and refuses in one line."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.records import DecisionRecord
from uplift_log import campaign, train

ARM = "arm=Mens E-Mail"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("uplift"), campaign())


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """The record, and its folder."""
    out = tmp_path_factory.mktemp("found") / "out"
    return funneltune.uplift(run, output=out, draws=200, cost=0.05), out


def number(record, name):
    return record.numbers[f"Mens E-Mail/{name}"]


@pytest.mark.parametrize("learner", ["t", "x", "dr"])
def test_learners_find_the_responders(found, learner):
    record, out = found
    assert number(record, f"{learner}/qini")["low"] > 0.02  # of .0625 at best: half the people, 50 points apart
    assert number(record, f"{learner}/uplift@30%")["value"] > 0.25
    assert number(record, f"{learner}/qini over response")["low"] > 0
    over = number(record, f"{learner}/policy over everyone")  # half are left alone, who would lose 10 points and .05
    assert over["low"] < 0.075 < over["high"]
    assert over["value"] > 0
    people = pd.read_csv(out / "uplift.csv").query("arm == 'Mens E-Mail'")
    newbies = campaign().newbie.to_numpy()[people.person.str.extract(r"(\d+)", expand=False).astype(int)]
    assert np.corrcoef(newbies, people[learner])[0, 1] > 0.8


def test_who_would_act_anyway_is_not_who_is_moved(found):
    record, _ = found
    response = number(record, "response/qini")
    assert response["low"] < 0.02
    effect = number(record, "effect")
    assert effect["low"] < 0.15 < effect["high"]


def test_an_arm_that_does_nothing_has_a_qini_of_about_zero(found):
    record, _ = found
    for learner in ("t", "x", "dr"):
        qini = record.numbers[f"Womens E-Mail/{learner}/qini"]
        assert qini["low"] < 0 < qini["high"]
    assert "Womens E-Mail: visit changes by" in " ".join(record.notes)
    assert "choosing whom to treat is not shown to beat" in " ".join(record.notes)


def test_the_folder_has_record_people_and_picture(found, run, capsys):
    record, out = found
    kept = DecisionRecord.read(out / "decision.json")
    assert kept.settings["control"] == "No E-Mail"
    assert kept.tables["rankings"]["rows"] == record.tables["rankings"]["rows"]
    assert (out / kept.figures[0]).read_bytes()[:4] == b"\x89PNG"
    people = pd.read_csv(out / "uplift.csv")
    assert list(people.columns) == ["person", "arm", "t", "x", "dr", "s", "chosen_by", "treat"]
    assert (people.treat == (people.dr > 0.05)).all()
    assert main(["uplift", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_the_treatment_is_kept_from_the_learners(run):
    from funneltune.decisions.scorer import Scorer
    from funneltune.decisions.uplift.people import People, treatment_of

    scorer = Scorer.of_run(run)
    treatment = treatment_of(scorer, "", "")
    assert (treatment.name, treatment.control, treatment.columns) == ("segment", "No E-Mail", ("segment",))
    people = People(scorer, treatment)
    rows = people.rows("test")
    vectors, _ = people.seen(rows, "No E-Mail", "visit")
    other, _ = people.seen(rows, "Mens E-Mail", "visit")
    arm = treatment.arm_of_row[rows] == treatment.values.index("Mens E-Mail")
    moved = np.abs(other - vectors).max(axis=0) > 1e-6
    assert moved.any()  # what the run makes of the arm: one vector for everyone under the control
    assert np.ptp(vectors[:, moved], axis=0).max() < 1e-5
    assert arm.any()


def test_it_prints_a_table_for_one_arm_and_trees(run, capsys):
    assert main(["uplift", f"run={run}", ARM, "learner=dr", "base=trees", "draws=100", "outcome=conversion"]) == 0
    said = capsys.readouterr().out
    assert "Mens E-Mail against No E-Mail: conversion" in said
    assert "DR-learner" in said
    assert "T-learner" not in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["treatment=coupon"], "treatment=coupon is no column of the log; it has segment"),
        (["treatment=newbie"], "treatment=newbie stands in the text that the run reads"),
        (["treatment=history"], "treatment=history has"),
        (["arm=Childrens"], "arm=Childrens must be one of"),
        (["control=Nothing"], "control=Nothing is no value of segment"),
        (["outcome=spend"], "outcome=spend must be one of visit, conversion"),
        (["learner=s"], "learner=s must be one of t, x, dr, all"),
        (["base=forest"], "base=forest must be one of linear, trees"),
        (["margin=0"], "margin=0 leaves nothing to gain"),
        (["cost=-1"], "cost=-1 must be money, 0 or more"),
        (["draws=3"], "draws=3 must lie in [100, 10000]"),
        (["draws=many"], "draws=many must be a whole number"),
        (["cost=much"], "cost=much must be a number"),
        (["arms=x"], "arms=x is no key here, nearest: arm"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["uplift", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_without_econml_it_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "econml.dr", None)
    assert main(["uplift", f"run={run}", ARM]) == 2
    assert "pip install 'funneltune[causal]'" in capsys.readouterr().err


def changed(frame, how):
    """The campaign as someone else would have run it."""
    if how == "chosen":  # newcomers were written to
        return frame.assign(segment=np.where(frame.newbie == 1, "Mens E-Mail", frame.segment))
    if how == "empty":
        return frame[(frame.segment != "Mens E-Mail") | (frame.index < 30)]
    if how == "no control":
        return frame.assign(segment=frame.segment.replace("No E-Mail", "Letter"))
    return frame.assign(visit=np.where(frame.index < len(frame) - 1, frame.visit, 1))


@pytest.mark.parametrize(
    ("how", "words", "told"),
    [
        ("chosen", [ARM], "arm=Mens E-Mail was not drawn at random: newbie"),
        ("empty", [ARM], "people in the training rows; it takes 30 at least"),
        ("no control", [], "control= is not given, and no value of segment says so"),
    ],
)
def test_logs_that_cannot_answer_are_refused(run, how, words, told, tmp_path, monkeypatch, capsys):
    run = train(tmp_path, changed(campaign(1500), how))
    capsys.readouterr()
    assert main(["uplift", f"run={run}", *words]) == 2
    assert told in capsys.readouterr().err


def test_an_outcome_that_never_came_teaches_nothing(run, monkeypatch, capsys):
    study = importlib.import_module("funneltune.decisions.uplift.study")
    real = study.outcomes_of
    monkeypatch.setattr(study, "outcomes_of", lambda *given: (*real(*given)[:2], 0 * real(*given)[2]))
    assert main(["uplift", f"run={run}", ARM]) == 2
    assert "is the same for everyone in the training rows" in capsys.readouterr().err


def test_a_log_of_many_items_must_name_its_treatment(run, monkeypatch, capsys):
    from funneltune.decisions.uplift import people

    monkeypatch.setattr(people, "MOST_ARMS", 2)
    assert main(["uplift", f"run={run}"]) == 2
    assert "treatment= is not given, and the log has no column treatment" in capsys.readouterr().err


def test_a_run_that_tells_no_one_apart_is_refused():
    from funneltune.decisions.uplift.learners import Reduced
    from funneltune.errors import ConfigError

    with pytest.raises(ConfigError, match="reads nothing that tells people apart"):
        Reduced(np.ones((10, 3), dtype=np.float32), 0)
