"""`funneltune need`: what it prints, reads and writes, and what it refuses in one line."""

from types import SimpleNamespace

import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.decisions.need import asked_for
from funneltune.errors import ConfigError
from funneltune.records import DecisionRecord
from small_market import train


@pytest.fixture(autouse=True)
def _a_rough_truth(monkeypatch):
    monkeypatch.setattr("funneltune.decisions.need.judging.TRUE_PAGES", 600)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("need_verb")
    words = ["tuning=frozen", "data.source.impressions=8000", "data.split.test=0.3", "data.split.validation=0.15"]
    return train(folder, *words, "data.source.loyalty=0.5", "data.source.shoppers=20")


def test_it_prints_the_tables_and_writes_record_picture_and_rows(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["user=shopper-000003", "query=warm boots", "depth=60", "calibration=temperature", f"output={out}"]
    assert main(["need", f"run={run}", *words]) == 0
    printed = capsys.readouterr().out
    for said in ("own shares", "labels shuffled", "with the true need", "shopper-000003", f"record: {out}"):
        assert said in printed
    record = DecisionRecord.read(out / "decision.json")
    assert record.settings["query"] == "warm boots"
    assert record.settings["calibration"].startswith("temperature")
    assert pd.read_csv(out / "needs.csv").user.tolist() == ["shopper-000003"] * 3
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    assert main(["need", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_shoppers_come_from_a_file_and_from_python(run, tmp_path):
    pd.DataFrame({"user": ["shopper-000001", "shopper-000002"]}).to_csv(tmp_path / "users.csv", index=False)
    record = funneltune.need(run, users=tmp_path / "users.csv", category="domain", top=1, depth=60)
    assert [row[0] for row in record.tables["needs"]["rows"]] == ["shopper-000001", "shopper-000002"]
    assert {row[2] for row in record.tables["needs"]["rows"]} <= {"home", "fashion"}


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["top=0"], "top=0 must be a whole number, 1 or more"),
        (["places=ten"], "places=ten must be a whole number"),
        (["category=kind"], "category=kind is no column of the log's items; choose one of"),
        (["user=a", "users=b.csv"], "user and users=b.csv are both given"),
        (["user=shopper-00003"], "user=shopper-00003 is no shopper of the log (did you mean shopper-0000"),
        (["user=nobody"], "user=nobody is no shopper of the log (it has shopper-0000"),
        (["user="], "user= is empty; give it a value or leave it out"),
        (["query= "], "query= is empty; give it a value or leave it out"),
        (["users=gone.csv"], "users=gone.csv is no file; name one that ends in"),
        (["categroy=domain"], "categroy=domain is no key here, nearest: category"),
    ],
)
def test_it_refuses_in_one_line(run, words, rule, capsys):
    assert main(["need", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert rule in said
    assert said.count("\n") == 1


def test_a_file_without_shoppers_is_refused(run, tmp_path, capsys):
    pd.DataFrame({"person": ["a"]}).to_csv(tmp_path / "users.csv", index=False)
    assert main(["need", f"run={run}", f"users={tmp_path / 'users.csv'}"]) == 2
    assert "column 'user' is missing among the 1 of its first row" in capsys.readouterr().err


def test_too_few_purchases_are_refused(run, monkeypatch, capsys):
    from funneltune.decisions.need import moments

    monkeypatch.setattr("funneltune.decisions.need.judging.moments", lambda *of: moments(*of).among([0]))
    assert main(["need", f"run={run}"]) == 2
    assert "train has 1 requests with a later purchase of the same shopper" in capsys.readouterr().err


def test_a_shop_whose_truth_no_one_knows_is_judged_by_next_purchases(run, monkeypatch):
    from funneltune.errors import ConfigError

    def unknown(source):
        raise ConfigError("not the marketplace")

    monkeypatch.setattr("funneltune.decisions.need.judging.world_of", unknown)
    record = funneltune.need(run, depth=60)
    assert "truth" not in record.tables
    assert "Only a test on shoppers tells" in record.notes[-1]


def test_a_shopper_whom_pseudonyms_hide_is_named_by_no_refusal():
    for hides in (True, False):
        shown = SimpleNamespace(hides=lambda _, hides=hides: hides, user=lambda key: key)
        scorer = SimpleNamespace(rows=SimpleNamespace(users={"bob": 0}, shown=shown))
        with pytest.raises(ConfigError) as refused:
            asked_for(scorer, "bobb")
        assert ("did you mean bob)" in str(refused.value)) != hides
        assert "give one of its user column, or users=FILE." in str(refused.value)
