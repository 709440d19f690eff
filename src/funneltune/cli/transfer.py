"""`funneltune transfer`: a run's weights on another log: untrained, and after a few of its requests."""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from funneltune.records import DecisionRecord

DEFAULTS = {
    "start": "run",
    "shots": "0,100,300,1000,3000",
    "seeds": "0,1,2",
    "metric": "",
    "tasks": "",
    "output": "",
}
TITLES = {
    "curve": "on the target's test, after so many of its training requests",
    "untrained": "without a request of the target",
}
SET = ("data", "trainer", "optimizer", "scheduler", "tuning", "objective", "metrics", "callbacks")
"""What of the run's config may be set anew on the target."""


def run(arguments: Arguments) -> int:
    """Carry, train, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH", "to": "EXPERIMENT"}, DEFAULTS)
    record = carried_out(keys)
    say(f"{record.settings['metric']}, {record.settings['target_training_requests']:,} training requests in all")
    for name, title in TITLES.items():
        if record.tables[name]["rows"]:
            Screen().print(_table(record.tables[name], title))
    for note in record.notes:
        say(f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def carried_out(keys: Mapping[str, str]) -> DecisionRecord:
    """Transfer by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, or the target has other tasks or too few requests.
        RunError: if a run is no finished one or does not go with the others, or the folder has something in it.
    """
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None and not _begun(output):
        require_new(output)
    shots = tuple(one if one == "all" else _whole("shots", one) for one in _listed(keys["shots"]))
    seeds = tuple(_whole("seeds", one) for one in _listed(keys["seeds"]))
    from funneltune.experiments.transfer import Settings, draw_curve, record_of, starts_in, transfer

    settings = Settings(starts_in(_listed(keys["start"], "+")), shots, seeds, keys["metric"])
    folder = Path(keys["run"])
    cfg = target_of(folder, keys["to"], _renamed(keys["tasks"]))
    home = nullcontext(str(output / "runs")) if output else tempfile.TemporaryDirectory(prefix="funneltune-transfer-")
    with home as place:
        found = transfer(cfg, folder, settings, Path(place))
    record = record_of(found, folder, keys["to"])
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        if record.figures:
            draw_curve(found, output)
        record.write(output)
    return record


def target_of(run: Path, to: str, tasks: Mapping[str, str]) -> DictConfig:
    """The run's config on the log that `to` names: an experiment or data set, values set anew, or both.

    Raises:
        ConfigError: for a word or key that there is not, or a config that cannot run.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from funneltune.cli.compose import checked
    from funneltune.cli.faults import dotted_keys
    from funneltune.experiments.transfer import onto
    from funneltune.runs.load import finished_config

    source = finished_config(run)
    given = shlex.split(to)
    words = [word.removeprefix("experiment=").removeprefix("data=") for word in given if _is_choice(word)]
    if len(words) > 1:
        raise ConfigError(f"to={to} names {words[0]} and {words[1]}; name one experiment or data set, then key=value.")
    data = _data_of(words[0]) if words else None
    try:
        parsed = OverridesParser.create().parse_overrides([word for word in given if not _is_choice(word)])
    except HydraException as error:
        raise ConfigError(f"to={to} cannot be read ({str(error).splitlines()[0]}); write key=value.") from None
    changes = {override.get_key_element().lstrip("+~"): override.value() for override in parsed}
    known = list(dotted_keys(source)) + ([] if data is None else [f"data.{key}" for key in dotted_keys(data)])
    for key in changes:
        if key.partition(".")[0] not in SET or "." not in key:
            raise ConfigError(f"to: {key} is not set anew on a target; what may be is below {', '.join(SET)}.")
        if key not in known:
            raise ConfigError(f"to: {key} is no key of the run's config{nearest_clause(key, known)}.")
    return checked(onto(source, data, changes, tasks))


def _begun(output: Path) -> bool:
    """Whether a transfer was interrupted there: runs and nothing else, which the same command goes on with."""
    return output.is_dir() and [path.name for path in output.iterdir()] == ["runs"]


def _is_choice(word: str) -> bool:
    return "=" not in word or word.startswith(("experiment=", "data="))


def _data_of(word: str) -> DictConfig:
    """The data node of an experiment, else of a data set.

    Raises:
        ConfigError: if the word names neither.
    """
    from funneltune.cli import helptext
    from funneltune.cli.compose import compose_config

    there = dict(helptext.groups(None))
    for group in ("experiment", "data"):
        if word in there.get(group, []):
            found: DictConfig = compose_config([f"{group}={word}"]).data
            return found
    options = [*there.get("data", []), *there.get("experiment", [])]
    raise ConfigError(f"to={word} is neither an experiment nor a data set{nearest_clause(word, options)}.")


def _renamed(text: str) -> dict[str, str]:
    """`click:relevant,purchase:exact` -> the run's task -> the target's label."""
    pairs = [one.partition(":") for one in _listed(text)]
    if odd := next((f"{task}{colon}{label}" for task, colon, label in pairs if not (task and label)), None):
        raise ConfigError(
            f"tasks={odd} must be TASK:LABEL, the run's task and the target's label, separated by commas."
        )
    return {task: label for task, _, label in pairs}


def _listed(text: str, by: str = ",") -> list[str]:
    return [one.strip() for one in text.split(by) if one.strip()]


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{name}={text} must be whole numbers, 0 or more, separated by commas.")
    return int(text)


def _table(content: Mapping[str, Any], title: str) -> Table:
    """With an interval in one column."""
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in content["columns"]:
        if heading not in ("low", "high"):
            table.add_column(heading if heading != "difference" else "difference (95%)", no_wrap=True)
    for row in content["rows"]:
        told = dict(zip(content["columns"], map(_cell, row), strict=True))
        low, high = told.pop("low"), told.pop("high")
        if low != "-":
            told["difference"] += f" ({low} to {high})"
        table.add_row(*told.values())
    return table


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 2 else f"{value:.4f}"
    return str(value)


VERB = Verb(
    name="transfer",
    summary="a run's weights on another log: untrained, and after a few of its requests",
    usage="funneltune transfer run=PATH to=EXPERIMENT [shots=0,100,300] [start=run] [output=FOLDER]",
    examples=(
        "funneltune transfer run=runs/quickstart/2026-01-31_12-00-00 to='data.source.domains=[electronics]'",
        "funneltune transfer run=runs/home to=homedepot tasks=click:relevant,purchase:exact shots=0,100,1000",
        "funneltune transfer run=runs/home to='data.source.domains=[electronics]' start=run+fusion:runs/fashion "
        "output=electronics",
    ),
    run=run,
    keys={
        "run": "folder of a finished run, whose weights are carried",
        "to": "the target's log: an experiment or data set, key=value of the run's config, or both, in one quoted word",
        "start": "what is held against the pretrained backbone alone: run, average:RUN2,RUN3 (the mean of the run's "
        "weights and theirs), fusion:RUN2,RUN3 (attention over all their adapters); several joined by + (default run)",
        "shots": "training requests of the target; 0: none, all: all there are (default 0,100,300,1000,3000)",
        "seeds": "of the draw of requests, new weights and their order (default 0,1,2)",
        "metric": "what is compared (default: the AUC of the last rate, by true probabilities where the log has them)",
        "tasks": "where the target's labels have other names: TASK:LABEL,... (the run's task, the label read as it)",
        "output": "a new folder for decision.json, the picture and the runs; what an interrupted transfer left there "
        "is gone on with (default: print only)",
    },
)
