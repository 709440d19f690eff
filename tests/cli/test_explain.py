"""`funneltune explain`: what it writes, prints and refuses; the page as a merchandiser gets it."""

import json
import re

import pytest

import funneltune
from funneltune.cli import main
from funneltune.decisions.explanations import parse_what_if
from funneltune.errors import ConfigError

SMALL = (
    "quickstart",
    "debug=tiny",
    "tuning=frozen",
    "features=all",
    "data.source.impressions=1000",
    "data.source.items=80",
    "data.source.queries=30",
    "trainer.limit_train_batches=2",
    "baselines=[]",
    "logger=none",
)
ASKED = ("query=red <wool> blanket", "item=item-000007", "rate=ctr")


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("explain") / "run"
    assert main(["train", *SMALL, kept_logs, f"run_dir={folder}"]) == 0
    return folder


def test_the_page_is_whole_and_has_every_part(run, tmp_path, capsys):
    page = tmp_path / "why.html"
    assert main(["explain", f"run={run}", *ASKED, "what_if=price=9.99", f"output={page}"]) == 0
    assert capsys.readouterr().out.endswith(f"explanation: {page}\n")
    html = page.read_text()
    assert "<script" not in html
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert "&lt;wool&gt;" in html
    assert "<wool>" not in html
    for part in ("words", "features", "evidence", "changes", "how"):
        assert f'<section id="{part}"' in html
    assert "asked for" in html
    assert "They do: the gap is" in html
    assert "earlier click" in html or "no earlier click" in html


def test_too_few_steps_are_told_on_the_page_and_in_the_terminal(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("funneltune.decisions.explanations.gradients.RELATIVE", 0.0)
    monkeypatch.setattr("funneltune.decisions.explanations.gradients.ABSOLUTE", 0.0)
    page = tmp_path / "rough.html"
    assert main(["explain", f"run={run}", *ASKED, "steps=1", f"output={page}"]) == 0
    assert "the pushes do not add up" in page.read_text()
    assert "Give more steps (steps=2)" in page.read_text()
    assert main(["explain", f"run={run}", *ASKED, "steps=1"]) == 0
    assert "NOT within the tolerance" in " ".join(capsys.readouterr().out.split())


def test_json_is_what_python_gives(run, tmp_path):
    output = tmp_path / "why.json"
    assert main(["explain", f"run={run}", "split=test", "row=4", f"output={output}"]) == 0
    told = funneltune.explain(run, split="test", row=4)
    content = json.loads(output.read_text())
    assert content["sentence"] == told.sentence
    assert content["rate"] == "ctcvr"
    assert content["completeness"]["complete"] is True
    assert [word["push"] for word in content["words"]] == pytest.approx([word.push for word in told.words], abs=1e-6)


def test_the_terminal_shows_the_sentence_and_what_was_asked(run, capsys):
    assert main(["explain", f"run={run}", *ASKED, "what_if=title=Red wool blanket; price=5"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "For “red <wool> blanket” the run gives" in out
    assert "what if" in out
    assert "within the tolerance" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["item=item-000007", "output=why.txt"], "output=why.txt must end in .html or .json."),
        (["item=item-000007", "steps=many"], "steps=many must be a whole number, or auto."),
        (["row=first"], "row=first must be a whole number."),
        (["query=red"], "item is missing; name one of the log (item=KEY), or an impression (split=test row=0)."),
        (["split=test"], "split=test needs row=N, which of its rows."),
        (["row=1", "query=red"], "split and row name an impression of the log; leave query, item and user out."),
        (["item=item-000007", "query=red", "steps=0"], "steps=0 must be >= 1"),
        (["item=item-00007", "query=red"], "item='item-00007' is none of the log's 80 items; did you mean"),
        (["item=item-000007", "query=red", "what_if=cheap"], "what_if=cheap must be NAME=VALUE"),
        (["item=item-000007"], "query='' is empty, and this run reads words; give those of a search."),
    ],
)
def test_what_is_wrong_is_told_in_one_line(run, words, told, capsys):
    assert main(["explain", f"run={run}", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_exists_is_kept(run, tmp_path, capsys):
    (tmp_path / "why.html").write_text("mine")
    assert main(["explain", f"run={run}", *ASKED, f"output={tmp_path / 'why.html'}"]) == 2
    assert "exists; name another file or remove it." in capsys.readouterr().err
    assert (tmp_path / "why.html").read_text() == "mine"


def test_a_change_named_twice_is_refused():
    assert parse_what_if("") == {}
    with pytest.raises(ConfigError, match="what_if=price is given twice"):
        parse_what_if("price=1; price=2")
