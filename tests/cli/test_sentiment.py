"""`funneltune sentiment`: it reads reviews whose words say what was thought, and refuses in one line."""

import sys

import numpy as np
import pandas as pd
import pytest

import funneltune
import uplift_log
from funneltune.cli import main
from funneltune.decisions.scorer import Scorer
from funneltune.decisions.sentiment import Reader
from funneltune.decisions.sentiment.baselines import Part, by_words
from funneltune.metrics import auc
from funneltune.metrics.levels import median_level, quadratic_weighted_kappa
from funneltune.records import DecisionRecord
from review_log import reviews, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("sentiment"), reviews())


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """The test reviews' record, and its folder."""
    out = tmp_path_factory.mktemp("found") / "out"
    return funneltune.sentiment(run, output=out, draws=200, smallest=5), out


def test_it_reads_as_the_run_predicted_its_test_rows(run, found):
    """Against what training wrote of the same rows, and the measures against the plain ones."""
    record, out = found
    own = pd.read_csv(out / "reviews.csv")
    kept = pd.read_parquet(run / "predictions.parquet")
    assert np.allclose(own.p_recommended, kept.p_recommended, atol=1e-3)
    assert np.allclose(own["p_rating_5"], kept["p_rating[5]"], atol=1e-3)
    levels = kept[[f"p_rating[{n}]" for n in range(1, 6)]].to_numpy()
    rating = own.rated.to_numpy() - 1
    value = {
        key: record.numbers[f"the run/{key}"]["value"] for key in ("recommended AUC", "rating kappa", "rating MAE")
    }
    assert value["recommended AUC"] == pytest.approx(auc(own.did_recommend, kept.p_recommended), abs=1e-3)
    predicted = median_level(levels)
    kappa = quadratic_weighted_kappa(rating.astype(int), predicted, 5)
    assert value["rating kappa"] == pytest.approx(kappa, abs=0.01)
    assert value["rating MAE"] == pytest.approx(np.abs(rating - predicted).mean(), abs=0.02)


def test_it_learns_what_words_say_and_names_those_that_move_it(found):
    record, _ = found
    assert record.numbers["the run/recommended AUC"]["low"] > 0.9
    assert record.numbers["the run/rating kappa"]["low"] > 0.7
    for row in record.tables["by department"]["rows"]:
        of = dict(zip(record.tables["by department"]["columns"], row, strict=True))
        assert any(word in of["better with"] for word in ("lovely", "perfect", "soft"))
        assert any(word in of["worse with"] for word in ("broken", "awful", "itchy"))
        assert of["low"] - 0.5 < of["rated"] < of["high"] + 0.5


def test_a_faulty_garment_comes_first(found):
    record, _ = found
    first = record.tables["by item"]["rows"][0]
    assert first[0] == "7"
    assert "Look first at item 7" in " ".join(record.notes)


def test_the_baselines_read_words_and_differences_are_paired(found):
    record, _ = found
    for name in ("TF-IDF + LR", "TF-IDF + ordinal LR"):
        assert record.numbers[f"{name}/recommended AUC"]["value"] > 0.95
        own, other = (record.numbers[f"{one}/rating kappa"]["value"] for one in ("the run", name))
        difference = record.numbers[f"the run less {name}/rating kappa"]
        assert difference["value"] == pytest.approx(own - other)
        assert difference["low"] <= difference["value"] <= difference["high"]


def test_the_folder_has_record_reviews_groups_and_picture(found, run, capsys):
    record, out = found
    assert DecisionRecord.read(out / "decision.json").notes == record.notes
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    groups = pd.read_csv(out / "groups.csv")
    assert {"7", "Dresses"} <= set(groups.group.astype(str))
    assert main(["sentiment", f"run={run}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_a_single_review_is_read_word_by_word(run, capsys):
    assert main(["sentiment", f"run={run}", "text=the broken sleeve", "item=3"]) == 0
    said = capsys.readouterr().out
    assert "what each word adds" in said
    lines = [line.split() for line in said.partition("what each word adds")[2].splitlines()]
    first = next(line for line in lines if len(line) == 3 and line[0] in ("the", "broken", "sleeve"))
    assert first[0] == "broken"
    assert float(first[1]) < 0
    good, bad = (funneltune.sentiment(run, text).loc[0] for text in ("lovely perfect soft lovely", "awful itchy awful"))
    assert good.rating > bad.rating + 1
    assert good[[f"p_rating_{n}" for n in range(1, 6)]].sum() == pytest.approx(1)


def test_a_file_is_read_in_its_order(run, tmp_path, capsys):
    frame = reviews(40, seed=5)
    own = pd.DataFrame({"title": frame.Title, "review": frame["Review Text"], "item": frame["Clothing ID"]})
    own.to_csv(tmp_path / "new.csv", index=False)
    assert main(["sentiment", f"run={run}", f"input={tmp_path / 'new.csv'}", f"output={tmp_path / 'read.csv'}"]) == 0
    assert "40 reviews" in capsys.readouterr().out
    read = pd.read_csv(tmp_path / "read.csv")
    assert np.corrcoef(read.rating, frame.Rating)[0, 1] > 0.8
    own.assign(text=own.title + ". " + own.review)[["text", "item"]].to_csv(tmp_path / "text.csv", index=False)
    again = funneltune.sentiment(run, input=tmp_path / "text.csv")
    assert np.allclose(again.rating, read.rating, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["text=soft", "split=test"], "text= and split= are both given"),
        (["text="], "text= is empty; give it a value or leave it out"),
        (["item=3"], "item=3 says what text= is about"),
        (["text=soft", "item=9999"], "item='9999' is none of the log's"),
        (["text=soft", "output=folder"], "output=folder must end in .csv"),
        (["split=train"], "split=train must be one of validation, test"),
        (["baseline=bert"], "baseline=bert must be one of tfidf, none"),
        (["by=colour"], "by=colour must be one of item, "),
        (["smallest=1"], "smallest=1 must lie in [2, 100000]"),
        (["words=many"], "words=many must be a whole number"),
        (["draws=1"], "draws=1 must lie in [100, 10000]"),
        (["input=gone.csv"], "input=gone.csv is no file; name one that ends in"),
        (["texts=soft"], "texts=soft is no key here, nearest: text"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["sentiment", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"title": ["nice"]}, "needs a column text, or title, review; review is missing"),
        ({"text": ["nice", " "], "item": ["3", "3"]}, "row 2 has no words"),
    ],
)
def test_files_that_cannot_be_read_are_refused(run, rows, told, tmp_path, capsys):
    pd.DataFrame(rows).to_csv(tmp_path / "new.csv", index=False)
    assert main(["sentiment", f"run={run}", f"input={tmp_path / 'new.csv'}"]) == 2
    assert told in capsys.readouterr().err


def test_reviews_of_one_opinion_have_nothing_to_tell(run, monkeypatch, capsys):
    rating = Scorer.of_run(run).assembly.data.store.column("rating")
    module = sys.modules["funneltune.decisions.sentiment.study"]
    monkeypatch.setattr(module, "_labels", lambda reader, rows: (np.zeros(len(rows), int), rows % 2))
    assert len(np.unique(rating)) == 5
    assert main(["sentiment", f"run={run}"]) == 2
    assert "reviews have the same rating; nothing to tell" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_such_tasks_is_refused(tmp_path, capsys):
    run = uplift_log.train(tmp_path, uplift_log.campaign(600))
    capsys.readouterr()
    assert main(["sentiment", f"run={run}"]) == 2
    assert "predicts visit (binary), conversion (binary); sentiment needs an ordinal task" in capsys.readouterr().err


def test_a_run_that_reads_no_texts_is_refused(run):
    scorer = Scorer.of_run(run)
    scorer.assembly.data.interaction = "none"
    with pytest.raises(funneltune.FunnelError, match="reads no texts; sentiment needs a run that reads reviews"):
        Reader(scorer)


def test_without_sklearn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    part = Part(["soft"], np.array([0]), np.array([1]))
    with pytest.raises(funneltune.FunnelError, match=r"baseline=tfidf needs a package .* 'funneltune\[causal\]'"):
        by_words(part, part, ["soft"], 5)


def test_a_level_that_no_training_review_has_stays_possible():
    texts, rating = ["soft soft", "awful bad", "soft lovely", "awful broken"] * 5, np.array([3, 0, 3, 0] * 5)
    part = Part(texts, rating, np.ones(20, dtype=int))
    for said in by_words(part, part, ["soft", "awful"], 5).values():
        assert said.levels.shape == (2, 5)
        assert np.allclose(said.levels.sum(axis=1), 1)
        assert (said.levels >= 0).all()
        assert said.levels[0].argmax() == 3
        assert (said.recommended == 1).all()


@pytest.mark.slow
def test_a_run_that_tells_no_review_from_another_advises_nothing(tmp_path):
    """Texts and ratings have nothing to do with each other."""
    rng = np.random.default_rng(0)
    log = reviews()
    mixed = log.assign(**{name: rng.permutation(log[name]) for name in ("Title", "Review Text")})
    record = funneltune.sentiment(train(tmp_path, mixed), draws=200, smallest=5, baseline="none")
    own = record.numbers["the run/recommended AUC"]
    assert own["low"] <= 0.5
    notes = " ".join(record.notes)
    assert "The run does not tell recommended reviews from others" in notes
    assert "Look first" not in notes
