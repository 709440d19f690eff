"""`funneltune assist`: a shopper's question, answered from items and reviews, or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    from funneltune.decisions.assist import Answered, Labelled, Passages
    from funneltune.decisions.scorer import Scorer
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "question": "",
    "questions": "",
    "reviews": "",
    "asked": "2000",
    "precision": "0.8",
    "assurance": "0.95",
    "way": "hybrid",
    "top": "3",
    "phrase": "",
    "seed": "0",
    "output": "",
}
TITLES = {
    "ways": "held-out questions, by how passages are found",
    "intents": "by what a question is after",
}


@dataclass(frozen=True)
class Assisted:
    """A record where there were questions to learn from, and the answer to the question that was put."""

    record: DecisionRecord | None
    answer: Answered | None
    passages: Passages
    phrased: str = ""


def run(arguments: Arguments) -> int:
    """Answer, or judge; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    found = carried_out(keys)
    if found.answer is not None:
        _print_answer(found)
    if found.record is not None:
        for name, title in TITLES.items() if found.answer is None else ():
            content = found.record.tables[name]
            table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
            for heading in content["columns"]:
                table.add_column(heading.replace("_", " "))
            for row in content["rows"]:
                table.add_row(*map(_cell, row))
            Screen().print(table)
        for note in found.record.notes[: None if found.answer is None else 1]:
            say(f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def carried_out(keys: dict[str, str]) -> Assisted:
    """By all keys of the command.

    Raises:
        ConfigError: if a setting is out of range, there is nothing to do, or the run reads no text.
        DataError: if questions or reviews cannot be read.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.assist import WAYS, Phraser, study, uncalibrated
    from funneltune.decisions.assist.record import record_of, write
    from funneltune.decisions.scorer import Scorer

    settings = settings_of(keys)
    if settings["way"] not in WAYS:
        raise ConfigError(f"way={settings['way']} must be one of {', '.join(WAYS)}.")
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    phraser = _phraser(keys["phrase"], Phraser) if keys["phrase"] else None
    scorer = Scorer.of_run(Path(keys["run"]))
    passages, labelled = _sources(scorer, keys, settings["asked"], settings["seed"])
    record, asked = None, bool(keys["question"].strip())
    if not labelled:
        assistant = uncalibrated(scorer, passages, settings["way"])
    else:
        told = {name: settings[name] for name in ("way", "precision", "assurance", "top", "seed")}
        studied = study(scorer, passages, labelled, beside=not asked or output is not None, **told)
        assistant = studied.assistant
        about = {"questions": len(labelled), "passages": len(passages), "sources": keys["questions"] or "marketplace"}
        record = record_of(studied, passages, keys["run"], {**told, **about})
        if output is not None:
            write(record, studied, passages, output)
    answer = assistant.answer([keys["question"]], settings["top"])[0] if asked else None
    if answer is None and record is None:
        raise ConfigError(
            "question: there is nothing to answer; give question='...', or questions=FILE to judge it on."
        )
    phrased = ""
    if answer is not None and answer.answered and phraser is not None:
        phrased = phraser.phrase(answer.question, [passages.read[int(number)] for number in answer.numbers])
    return Assisted(record, answer, passages, phrased)


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {"way": keys["way"]}
    for name, least in (("asked", 60), ("top", 1), ("seed", 0)):
        found[name] = _number(name, keys[name], whole=True)
        if found[name] < least:
            raise ConfigError(f"{name}={keys[name]} must be a whole number, {least} or more.")
    for name in ("precision", "assurance"):
        found[name] = _number(name, keys[name])
        if not 0 < found[name] < 1:
            raise ConfigError(f"{name}={keys[name]} must lie between 0 and 1.")
    return found


def _sources(scorer: Scorer, keys: dict[str, str], asked: int, seed: int) -> tuple[Passages, list[Labelled]]:
    """Passages and labelled questions: from files; without them, on the marketplace, its own."""
    from funneltune.decisions.assist import Labelled, passages_of, read_labelled, read_reviews
    from funneltune.marketplace import world_of
    from funneltune.marketplace.questions import questions_of, reviews_of

    if keys["reviews"] or keys["questions"]:
        sentences = read_reviews(Path(keys["reviews"]), scorer) if keys["reviews"] else []
        passages = passages_of(scorer, sentences)
        return passages, read_labelled(Path(keys["questions"]), passages) if keys["questions"] else []
    try:
        world = world_of(scorer.folder)
    except ConfigError:
        return passages_of(scorer, []), []
    said = reviews_of(world, seed)
    passages = passages_of(scorer, [(one.item, one.text) for one in said])
    made = questions_of(world, said, asked, seed)
    return passages, [Labelled(one.text, one.intent, frozenset(one.answers)) for one in made]


def _phraser(name: str, kind: Any) -> Any:
    from funneltune.backbones import Backbone

    return kind(Backbone(name=name))


def _print_answer(found: Assisted) -> None:
    answer, passages = found.answer, found.passages
    assert answer is not None
    if answer.intent:
        say(f"intent: {answer.intent} ({answer.intent_chance:.2f})")
    if found.record is None:
        say("answer: not calibrated (give questions=FILE, whose answers are known); the nearest passages:")
    elif answer.answered:
        say(f"answer: yes, {answer.confidence:.2f} sure")
    else:
        say(f"answer: none that can be relied on ({answer.confidence:.2f} sure); the nearest passages:")
    for number in answer.numbers:
        item = passages.texts[int(passages.items[number])]
        told = f"a sentence of a review of: {item}" if passages.is_review(int(number)) else "an item's title"
        say(f"  {passages.texts[number]}")
        say(f"    source: [{passages.keys[number]}] {told}")
    if found.phrased:
        say(f"in a sentence (by a decoder, not checked): {found.phrased}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return "never" if math.isinf(value) else f"{value:.3g}"
    return str(value)


def _number(name: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be {'a whole number' if whole else 'a number'}.") from None


VERB = Verb(
    name="assist",
    summary="a shopper's question: its intent, the passage that answers it with its source, or no answer",
    usage="funneltune assist run=PATH [question='...'] [questions=FILE] [reviews=FILE] [precision=0.8] [output=FOLDER]",
    examples=(
        "funneltune assist run=runs/quickstart/2026-01-31_12-00-00 'question=do you have a grey couch for two'",
        "funneltune assist run=runs/quickstart/2026-01-31_12-00-00 questions=asked.csv reviews=reviews.csv output=help",
    ),
    run=run,
    keys={
        "run": "folder of a finished run that reads texts",
        "question": "what is asked; without it, the assistant is only judged",
        "questions": "CSV, Parquet or JSON lines of known answers: question, answer (items or sentences item#0 between "
        "bars; empty: none), intent; default: the marketplace's own",
        "reviews": "CSV, Parquet or JSON lines of reviews: item, text",
        "asked": "how many questions the marketplace makes up (default 2000)",
        "precision": "share of its answers that must be right (default 0.8)",
        "assurance": "with what chance that is promised (default 0.95)",
        "way": "how passages are found: hybrid (default), semantic, lexical; the others are judged beside it, "
        "unless there is a question and no output",
        "top": "passages that are shown (default 3)",
        "phrase": "a decoder's folder or hub id, which puts the passages into a sentence (default: none)",
        "seed": "of the made-up questions and of the parts (default 0)",
        "output": "a new folder for decision.json, answers.csv and the picture (default: print only)",
    },
)
