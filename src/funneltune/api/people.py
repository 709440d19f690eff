"""The verbs that say something of shoppers and to them, as plain functions: see `funneltune.api.verbs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.api.results import Run, told
from funneltune.api.shop import keys_of

if TYPE_CHECKING:
    import pandas as pd

    from funneltune.cli.assist import Assisted
    from funneltune.records import DecisionRecord


@told
def assist(
    run: Run | Path | str, question: str | None = None, output: Path | str | None = None, **settings: Any
) -> Assisted:
    """A shopper's question answered from items and reviews, or not at all, as `funneltune assist` does.

    Args:
        run: a finished run that reads texts, or its folder.
        question: what is asked; None: the assistant is only judged.
        output: a new folder for the record, the judged answers and the picture; None: none.
        settings: by the command's keys: `questions="asked.csv", reviews="reviews.csv", precision=0.9, way="semantic"`.

    Returns: `answer` (answered, confidence, intent, numbers of passages), `passages`, `record` with the judgement.

    Raises:
        ConfigError: if a setting is unknown or out of range, or there is nothing to do.
        DataError: if questions or reviews cannot be read.
        RunError: if it is no finished run.
    """
    from funneltune.cli.assist import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, {"question": question, **settings}, DEFAULTS))


@told
def need(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """The category that shoppers buy from next, and lists ranked by it, as `funneltune need` does.

    Args:
        run: a finished run whose log tells shoppers, times and what was bought, or its folder.
        output: a new folder for the record, the picture and `needs.csv`; None: none.
        settings: by the command's keys: `user="shopper-000012", query="warm boots", category="domain", top=5`.

    Returns: the record; its table `needs` has the likeliest categories of the shoppers.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the log tells no shopper, time or category.
        DataError: if too few buy again, or the shoppers' file cannot be read.
        RunError: if it is no finished run.
    """
    from funneltune.cli.need import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, settings, DEFAULTS))


@told
def personas(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """Groups of shoppers who like and buy alike, or the word that there are none, as `funneltune personas` does.

    Args:
        run: a finished run, or its folder; its log tells who shopped.
        output: a new folder for the record, the picture and the list of shoppers; None: none.
        settings: by the command's keys: `k=4, method="hdbscan", map="umap", blocks=["tastes", "prices"], past=10`.

    Raises:
        ConfigError: if a setting is unknown or out of range, or UMAP is not installed.
        DataError: if the log tells no shoppers, or too few have a past.
        RunError: if it is no finished run.
    """
    from funneltune.cli.personas import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, settings, DEFAULTS))


@told
def uplift(run: Run | Path | str, output: Path | str | None = None, **settings: Any) -> DecisionRecord:
    """Who acts because of a treatment, and whom it pays to treat, as `funneltune uplift` does.

    Args:
        run: a finished run on a log whose arms were drawn at random, or its folder.
        output: a new folder for the record, the people and the picture; None: none.
        settings: by the command's keys: `treatment="segment", arm="Mens E-Mail", outcome="visit", cost=0.05`.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the log has no such treatment.
        DataError: if an arm is next to empty, or was not drawn at random.
        RunError: if it is no finished run.
    """
    from funneltune.cli.uplift import DEFAULTS, carried_out

    return carried_out(keys_of(run, output, settings, DEFAULTS))


@told
def sentiment(
    run: Run | Path | str, text: str | None = None, output: Path | str | None = None, **settings: Any
) -> pd.DataFrame | DecisionRecord:
    """What reviews say, as `funneltune sentiment` does.

    Args:
        run: a finished run with an ordinal task (stars) and a binary one (recommended), or its folder.
        text: one review; or give `input=FILE`; neither: the run's test reviews, by item and department.
        output: a new folder (of a text or a file: a new CSV file) for what is found; None: none.
        settings: by the command's keys: `item="1049", input="reviews.csv", by=["department"], baseline="none"`.

    Returns: of a text or a file a row per review: item, rating, probabilities, text; of a split the record.

    Raises:
        ConfigError: if a setting is unknown or out of range, or the run has no such tasks.
        DataError: if the file cannot be read.
        RunError: if it is no finished run.
    """
    from funneltune.cli.sentiment import DEFAULTS, carried_out

    found = carried_out(keys_of(run, output, {"text": text, **settings}, DEFAULTS))
    if found.reviews is not None:
        return found.reviews
    assert found.record is not None
    return found.record
