"""`funneltune rank`: pages of one query, of a file and of a split, and what it refuses in one line."""

import numpy as np
import pandas as pd
import pytest

from funneltune.cli import main
from funneltune.data import Asked
from funneltune.decisions import Ranking, Recommender, Request, Scorer
from small_market import train

QUERY = "red running shoes"
ONE = Request("1", Asked(query=QUERY))


@pytest.fixture(scope="module")
def scorer(market_run):
    return Scorer.of_run(market_run)


def told(capsys, run, *words):
    status = main(["rank", f"run={run}", *words])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_the_command_writes_pages_of_a_split_and_of_a_file(market_run, scorer, tmp_path, capsys):
    status, said = told(
        capsys, market_run, "split=test", "most=4", "top=2", f"output={tmp_path / 'a.csv'}", "exposure.column=brand"
    )
    assert status == 0
    assert "8 rows for 4 requests" in said
    assert "exposure away from what is due" in said
    (tmp_path / "asked.csv").write_text(f"query,user\n{QUERY},shopper-000001\nwool rug,nobody\n")
    output = tmp_path / "b.parquet"
    status, said = told(
        capsys, market_run, f"requests={tmp_path / 'asked.csv'}", f"output={output}", "by=revenue", "top=3"
    )
    assert (status, said) == (0, f"6 rows for 2 requests: {output}\n")
    made = Recommender(scorer, Ranking(by="revenue", top=3))
    assert pd.read_parquet(output)["item"].tolist()[:3] == [made.items.keys[n] for n in made.page(ONE).items]


def test_the_command_shows_what_moved_where_something_could(market_run, scorer, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    first = scorer.catalogue.keys[Recommender(scorer, Ranking()).page(ONE).items[-1]]
    status, said = told(
        capsys, market_run, f"query={QUERY}", f"rules={{pinned: [{first}]}}", "ranking=varied", "time=2025-02-01"
    )
    assert status == 0
    assert "pinned" in said
    assert "likeness within a page" in said
    (tmp_path / "new.csv").write_text("item,title\nnew-1,Red Running Shoes\n")
    status, said = told(
        capsys, market_run, f"query={QUERY}", f"new={tmp_path / 'new.csv'}", "by=ctr + 2*ctcvr", "top=151"
    )
    assert status == 0
    assert "new-1" in said
    assert "value" in said
    assert "why" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "missing query=WORDS; add it, or user=SHOPPER, requests=FILE, split=test."),
        (["query=a", "split=test"], "query and split are both given; give one of query, requests and split"),
        (["split=test"], "missing output=FILE"),
        (["split=tset", "output=a.csv"], "split=tset must be train, validation or test"),
        (["split=test", "output=a.csv", "most=0"], "most=0 must be a whole number"),
        (["query=a", "most=3"], "most says nothing with query="),
        (["split=test", "output=a.csv", "user=me"], "user says nothing with split="),
        (["query=a", "time=noon"], "time=noon must be unix seconds or ISO 8601"),
        (["query=a", "time=1700000000000"], "(milliseconds are divided by 1,000)"),
        (["query=a", "top=many"], "top=many must be a whole number, 1 or more"),
        (["query=a", "ranking=variety"], "ranking=variety is neither a file nor a ranking that ships, nearest: varied"),
        (["query=a", "rules={"], "rules={ cannot be read"),
        (["query=a", "rules.stok=a.csv"], "rules.stok is no setting of a ranking; did you mean 'stock'"),
        (["query=a", "output=a.txt"], "output=a.txt must end in"),
        (["query=a", "rules.price=[0, 0.01]"], "rules leave none of the 150 items: price drops 150"),
        (["query=a", "calibration=plat"], "calibration=plat must be none or one of"),
    ],
)
def test_the_command_refuses_in_one_line(market_run, capsys, words, said):
    status, printed = told(capsys, market_run, *words)
    assert status == 2
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("asked", [f"query={QUERY}", None])
def test_a_shopper_whom_the_log_does_not_know_is_told(market_run, capsys, caplog, asked):
    decides = "the query alone decides" if asked else "the items alone decide"
    words = [asked] if asked else ["candidates=popular"]
    told(capsys, market_run, *words, "user=nobody", "top=3")
    assert f"user=nobody is no shopper of the run's log: {decides}." in caplog.text
    caplog.clear()
    told(
        capsys,
        market_run,
        *words,
        f"user={Scorer.of_run(market_run).rows.data.store.table('users')['key'][0]}",
        "top=3",
    )
    assert "no shopper" not in caplog.text


def test_the_command_says_where_the_rules_leave_nothing_of_a_query(market_run, capsys, monkeypatch):
    from funneltune.decisions.rules import RulesOn

    monkeypatch.setattr(RulesOn, "allowed", lambda self, c: np.arange(len(c)) < 1 if len(c) == 150 else c < 0)
    status, printed = told(capsys, market_run, f"query={QUERY}", "candidates=popular", "depth=5")
    assert status == 2
    assert "no page: rules leave none of its 5 candidates: nothing is dropped; loosen a rule" in printed
    status, printed = told(capsys, market_run, "query=zzzz qqqq", "candidates=lexical")
    assert status == 2
    assert "no page: candidates=lexical finds nothing" in printed


@pytest.mark.slow
def test_a_run_that_reads_pairs_is_ranked_too(tmp_path, capsys):
    cross = train(tmp_path, "tuning=lora", "features=none", "backbone.interaction=cross")
    capsys.readouterr()
    status, printed = told(capsys, cross, f"query={QUERY}", "top=3", "candidates=popular", "depth=20")
    assert status == 0, printed
    assert printed.count("item-0") == 3
