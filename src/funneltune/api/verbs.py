"""The verbs of the command line as plain functions.

Each takes the words that follow the verb (`train("quickstart", "tuning=lora", "seed=3")`) and raises `FunnelError` with
the line that the command would print. Reading records brings no torch with it.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from funneltune import records
from funneltune.api.results import Records, Run, metrics_table, told, trials_table
from funneltune.errors import ConfigError, DataError, RunError
from funneltune.files import read_parquet
from funneltune.reporting import report_decisions, write_report

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from funneltune.cli.arguments import Arguments


@told
def compose(*words: str, config_dir: Path | str | None = None) -> DictConfig:
    """The config that these words ask for, with every key.

    Raises:
        ConfigError: naming every override that is wrong.
    """
    from funneltune.cli.train import composed

    arguments = arguments_of(words, config_dir)
    return composed(_overrides(arguments, "experiment"), arguments.config_dir)


@told
def train(*words: str, run_dir: Path | str | None = None, config_dir: Path | str | None = None) -> Run:
    """Train one run, test it, and write its folder (by default runs/<name>/<date-time>), as `funneltune train` does.

    Args:
        words: the experiment, and overrides: `"quickstart", "tuning=lora", "seed=3"`.
        run_dir: the run's folder; one that holds a run is refused, unless `"resume=auto"` is among the words.
        config_dir: a folder of your own config groups.

    Raises:
        FunnelError: whatever config, data or tuning method refuse.
        KeyboardInterrupt: where it was interrupted, after saving, with the command that goes on.
    """
    from funneltune.cli.train import composed, prepare
    from funneltune.experiments import needs_own_process, override_text

    arguments = arguments_of(words, config_dir, run_dir=run_dir and override_text(str(run_dir)))
    cfg = composed(_overrides(arguments, "experiment"), arguments.config_dir)
    folder = prepare(cfg)
    if needs_own_process(cfg):
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices} trainer.strategy={cfg.trainer.strategy} starts further processes, "
            "which repeat a command; train from a terminal (funneltune train ...), or as a study."
        )
    from funneltune import runs

    with _called("train", arguments):
        runs.train(cfg, folder)
    write_report(folder)
    return Run(folder)


@told
def pretrain(*words: str, run_dir: Path | str | None = None, config_dir: Path | str | None = None) -> Run:
    """Pretrain the backbone on a log's texts, as `funneltune pretrain` does; the run's `folder / "backbone"` is what a
    later run names: `train("quickstart", f"backbone.name={run.folder}/backbone")`.

    Args:
        words: the data set or experiment, and overrides: `"myntra", "tuning=full", "pretraining.epochs=3"`.
        run_dir: the run's folder, by default runs/pretraining_<word>/<date-time>; one that is not empty is refused.
        config_dir: a folder of your own config groups.

    Raises:
        FunnelError: whatever config, data or tuning method refuse.
    """
    from funneltune.cli.pretrain import composed, run_folder
    from funneltune.experiments import override_text

    arguments = arguments_of(words, config_dir, run_dir=run_dir and override_text(str(run_dir)))
    cfg = composed(arguments.only_word("data set"), arguments.overrides, arguments.config_dir)
    folder = run_folder(cfg)
    from funneltune import runs

    with _called("pretrain", arguments):
        runs.pretrain(cfg, folder)
    return Run(folder)


@told
def study(*words: str, study_dir: Path | str | None = None, config_dir: Path | str | None = None) -> Records:
    """Run a study's open cells and compare them, as `funneltune study` does; the same call goes on where it stopped.

    Args:
        words: the study, and overrides; several values are an axis: `"quickstart", "tuning=frozen,lora", "seed=0,1"`.
        study_dir: its folder, by default studies/<name>.
        config_dir: a folder of your own config groups.

    Raises:
        FunnelError: whatever the study's configs have wrong; RunError where no run finished.

    Warns:
        RuntimeWarning: with a line for each run that failed.
    """
    from funneltune.cli.study import Asked, carry_out, failures

    arguments = arguments_of(words, config_dir, study_dir=study_dir)
    asked = Asked.compose(arguments.only_word("study"), arguments.overrides, arguments.config_dir)
    asked.check()
    with _called("study", arguments):
        state = carry_out(asked, write_report)
    _warn_of(list(failures(state)))
    return read_records(asked.folder)


@told
def search(*words: str, search_dir: Path | str | None = None, config_dir: Path | str | None = None) -> pd.DataFrame:
    """Search an experiment's settings, as `funneltune search` does; the same call goes on where it stopped.

    Args:
        words: the search, and overrides: `"quickstart", "search.trials=40"`.
        search_dir: its folder, by default searches/<name>.
        config_dir: a folder of your own config groups.

    Returns:
        A row for each trial, by its number: each key that was searched, each objective (of the validation split),
        `status`, `error`, `best` (whether it is the best setting, or on the front), and the `command` that trains it.

    Raises:
        FunnelError: whatever the search's configs have wrong; RunError where no trial finished.
    """
    from funneltune.cli.search import Asked, carry_out

    arguments = arguments_of(words, config_dir, search_dir=search_dir)
    asked = Asked.compose(arguments)
    todo = asked.checked()
    with _called("search", arguments):
        content = carry_out(asked, todo)
    if not content["best"]:
        told = "; ".join(dict.fromkeys(trial["error"] or trial["status"] for trial in content["trials"]))
        raise RunError(f"no trial of {asked.folder} has finished: {told}.")
    return trials_table(content)


@told
def reproduce(*words: str, config_dir: Path | str | None = None) -> pd.DataFrame:
    """Run what is missing of a paper's studies and hold its claims against the records, as `funneltune reproduce` does.

    Args:
        words: the paper, or `"--list"` for all of them, and the verb's keys: `"esmm2018", "scale=small", "run=false"`,
            `"records=experiments"`, `"output=pages"`; other overrides go to every study.
        config_dir: a folder of your own config groups.

    Returns:
        A row for each place where a claim is tried: `paper`, `scale`, `claim`, `says`, the paper's `effect`, the
        threshold `above` which it must lie, `status` of the claim, `study`, `metric`, `cells` and their weights,
        `verdict` at this place, `estimate` with its interval (`low`, `high`), `p_value`, `p_holm`, `detectable`,
        `seeds`, `note`. Differences are in the units of our metrics.

    Raises:
        ConfigError: for a paper, scale or key that is not there, or what the studies' configs have wrong.
        RunError: if a folder of records is not there, or holds what cannot be read.

    Warns:
        RuntimeWarning: with a line for each run that failed.
    """
    from funneltune.cli.reproduce import Wanted, carry_out, write_pages
    from funneltune.reporting.papers import Shelf, rows

    arguments = arguments_of(words, config_dir)
    wanted = Wanted.of(arguments)
    with _called("reproduce", arguments):
        _warn_of(carry_out(wanted))
    shelf = Shelf(wanted.folders)
    found = wanted.judged(shelf)
    if wanted.output is not None:
        write_pages(wanted, found, shelf)
    return pd.DataFrame(rows(found))


@told
def evaluate(run: Run | Path | str, split: str = "test") -> pd.DataFrame:
    """A finished run's metrics on a split, measured anew: a row per metric.

    Raises:
        RunError: if it is no finished run, or the split is neither validation nor test.
    """
    from funneltune import runs

    return metrics_table(runs.evaluate(folder_of(run), split))


@told
def predict(run: Run | Path | str, rows: pd.DataFrame | Path | str, calibration: str | None = None) -> pd.DataFrame:
    """A finished run's probabilities for new rows, in their order: row (from 1), identifiers, `p_click`, ...

    Args:
        run: the run or its folder.
        rows: a table, or a file, with the columns of the run's log; labels are not needed.
        calibration: a scaling that the run fitted (temperature, platt, isotonic), or none; None: as its config says.

    Raises:
        RunError: if it is no finished run, or has no such scaling.
        DataError: if the rows break the run's column map.
    """
    from funneltune import runs

    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "rows.parquet"
        if isinstance(rows, pd.DataFrame):
            _write(rows, source, folder_of(run))
        else:
            source = Path(rows)
            if not source.is_file():
                raise DataError(f"rows={source} is no file; give a table, or a CSV or Parquet file.")
        output = Path(temporary) / "predictions.parquet"
        runs.predict(folder_of(run), source, output, calibration)
        scored: pd.DataFrame = read_parquet(output).to_pandas()
        return scored


@told
def read_records(folder: Path | str) -> Records:
    """Read every record below a folder: a study, its evidence, a folder of runs, one run.

    Raises:
        RunError: if the folder is missing or holds no record.
    """
    return Records(records.read_records(folder))


@told
def report(folder: Path | str, output: Path | str | None = None, figures: Sequence[str] = ()) -> Path:
    """Write report.html and the table (Markdown, CSV, LaTeX) beside the records, or into `output`; the page's path.

    Args:
        folder: a study, its evidence, some runs, one run; or decisions alone, whose page has no table.
        output: where to write.
        figures: formats (png, svg, pdf) in which every figure is written too, into figures/.

    Raises:
        RunError: if the folder is missing or holds no record, or `output` is a file.
        ConfigError: if a format is unknown.
    """
    quiet = Console(quiet=True)
    return report_decisions(folder, output, quiet) or write_report(folder, output, figures).page


def arguments_of(words: Sequence[str], config_dir: Path | str | None, **keys: Any) -> Arguments:
    """The words of a call as those of a command."""
    from funneltune.cli.arguments import Arguments

    given = [f"{key}={value}" for key, value in keys.items() if value is not None]
    flags = [] if config_dir is None else [f"--config-dir={config_dir}"]
    return Arguments.parse([*words, *given, *flags])


def _overrides(arguments: Arguments, group: str) -> list[str]:
    word = arguments.only_word(group)
    return [*([f"{group}={word}"] if word else []), *arguments.overrides]


@contextmanager
def _called(verb: str, arguments: Arguments) -> Iterator[None]:
    """Let records and messages name the command that does the same."""
    from funneltune.experiments import as_command

    folder = ["--config-dir", str(arguments.config_dir)] if arguments.config_dir is not None else []
    with as_command([verb, *arguments.words, *arguments.overrides, *folder]):
        yield


def _warn_of(failed: Sequence[str]) -> None:
    """Runs that failed, a line each, at the line that called the verb."""
    if failed:
        warnings.warn(f"{len(failed)} run(s) failed: {'; '.join(failed)}", RuntimeWarning, stacklevel=4)


def folder_of(run: Run | Path | str) -> Path:
    """A run's folder."""
    return run.folder if isinstance(run, Run) else Path(run)


def _write(rows: pd.DataFrame, path: Path, run: Path) -> None:
    """Rows as a file that the run's source reads: delimited text where its config says how that is written."""
    from funneltune.runs.folder import stored_config

    source = stored_config(run).data.source
    if source.get("separator") is not None:
        columns = list(source.get("columns") or rows.columns)
        rows.reindex(columns=columns).to_csv(
            path, sep=source.separator, encoding=source.get("encoding"), index=False, header=not source.get("columns")
        )
        return
    try:
        rows.to_parquet(path, index=False, write_page_checksum=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"rows: a column holds what is neither text nor number ({error}); convert it.") from None
