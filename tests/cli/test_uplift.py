"""`funneltune uplift` on a campaign whose responders are known, and what it refuses in one line."""

import numpy as np
import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.records import DecisionRecord
from uplift_log import campaign, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("uplift"), campaign())


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("found") / "uplift"
    return out, funneltune.uplift(run, learner="dr", draws=200, cost=0.05, output=out)


def ranked(record, arm, by="DR-learner"):
    table = record.tables["rankings"]
    (row,) = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"] if row[:2] == [arm, by]]
    return row


def test_it_finds_whom_the_e_mail_moves_and_ranking_by_response_does_not(found):
    _, record = found
    assert record.settings["calibration"] == "none"
    moved = ranked(record, "Mens E-Mail")
    assert moved["qini low"] > 0
    # newcomers are half of the people and gain 40 points, others lose 10
    assert moved["uplift@30%"] == pytest.approx(0.4, abs=0.1)
    assert ranked(record, "Mens E-Mail", "response")["uplift@30%"] < moved["uplift@30%"] - 0.1
    money = {(arm, by, what): cells for arm, by, what, *cells in record.tables["policy"]["rows"]}
    assert money["Mens E-Mail", "DR-learner", "treated"][0] == pytest.approx(0.5, abs=0.1)
    assert money["Mens E-Mail", "DR-learner", "over everyone"][0] == pytest.approx(0.075, abs=0.06)


def test_an_e_mail_that_does_nothing_gives_no_claim(found):
    _, record = found
    idle = ranked(record, "Womens E-Mail")
    assert idle["qini low"] < 0 < idle["qini high"]
    assert any(note.startswith("Womens E-Mail") and "not shown to beat" in note for note in record.notes)


def test_record_people_and_picture_are_written_once(found, run, capsys):
    out, record = found
    assert DecisionRecord.read(out / "decision.json") == record
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    people = pd.read_csv(out / "uplift.csv")
    assert len(people) > 500
    assert main(["uplift", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_the_command_prints_each_arm_and_what_to_do(run, capsys):
    assert main(["uplift", f"run={run}", "arm=Mens E-Mail", "learner=t", "draws=100", "base=trees"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Mens E-Mail against No E-Mail: visit" in printed
    assert "Womens E-Mail" not in printed
    assert "T-learner" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["learner=s"], "learner=s must be one of t, x, dr, all"),
        (["base=forest"], "base=forest must be one of linear, trees"),
        (["margin=0"], "margin=0 leaves nothing to gain"),
        (["cost=-1"], "cost=-1 must be money, 0 or more"),
        (["cost=much"], "cost=much must be a number"),
        (["draws=3"], "draws=3 must lie in [100, 10000]"),
        (["treatment=colour"], "treatment=colour is no column of the log"),
        (["arm=Kids E-Mail"], "arm=Kids E-Mail must be one of"),
        (["control=Nobody"], "control=Nobody is no value of"),
        (["outcome=spend"], "outcome=spend must be one of visit"),
        (["arms=2"], "arms=2 is no key here"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["uplift", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_arms_that_no_coin_drew_are_refused(tmp_path, capsys):
    frame = campaign(2000)
    chosen = (frame.newbie == 1) & (np.random.default_rng(0).random(len(frame)) < 0.8)
    frame["segment"] = np.where(chosen, "Mens E-Mail", "No E-Mail")
    assert main(["uplift", f"run={train(tmp_path, frame)}"]) == 2
    said = capsys.readouterr().err
    assert "random" in said
    assert said.count("\n") == 1
