"""`funneltune uplift`: who acts because of a treatment, and whom it pays to treat."""

from __future__ import annotations

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
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "treatment": "",
    "arm": "",
    "control": "",
    "outcome": "",
    "learner": "all",
    "base": "linear",
    "margin": "1",
    "cost": "0",
    "draws": "1000",
    "seed": "0",
    "output": "",
}
SHOWN = ("qini", "uplift@10%", "uplift@30%")


def run(arguments: Arguments) -> int:
    """Study, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    _show(record)
    for note in record.notes:
        say(f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {name: keys[name] for name in ("treatment", "arm", "control", "outcome", "learner", "base")}
    for name, kind, told in (
        ("margin", float, "a number"),
        ("cost", float, "a number"),
        ("draws", int, "a whole number"),
        ("seed", int, "a whole number"),
    ):
        try:
            found[name] = kind(keys[name])
        except ValueError:
            raise ConfigError(f"{name}={keys[name]} must be {told}.") from None
    return found


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Study by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, or the log has no such treatment.
        DataError: if an arm is next to empty, or was not drawn at random.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.scorer import Scorer
    from funneltune.decisions.uplift import Settings, record_of, study, write

    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    scorer = Scorer.of_run(Path(keys["run"]))
    studied = study(scorer, settings)
    record = record_of(studied, keys["run"])
    record.settings["calibration"] = scorer.calibration
    if output is not None:
        write(record, studied, output)
    return record


def _show(record: DecisionRecord) -> None:
    rankings = record.tables["rankings"]
    money = {(arm, by, what): cells for arm, by, what, *cells in record.tables["policy"]["rows"]}
    for arm in dict.fromkeys(row[0] for row in rankings["rows"]):
        title = f"{arm} against {record.settings['control']}: {record.settings['outcome']} (95% intervals over people)"
        table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        points = [f"{one}, points" for one in SHOWN[1:]]
        for heading in ("treated first by", "Qini x 1000", *points, "treats", "over everyone"):
            table.add_column(heading)
        for row in rankings["rows"]:
            if row[0] != arm:
                continue
            of = dict(zip(rankings["columns"], row, strict=True))
            cells = [_range(of, one, 1000 if one == "qini" else 100) for one in SHOWN]
            share = money.get((arm, row[1], "treated"))
            over = money.get((arm, row[1], "over everyone"))
            told = "-" if over is None else f"{over[0]:+.4g} ({over[1]:+.4g} to {over[2]:+.4g})"
            table.add_row(row[1], *cells, "-" if share is None else f"{share[0]:.0%}", told)
        Screen().print(table)


def _range(of: dict[str, Any], key: str, times: float) -> str:
    value, low, high = (of[f"{key}{end}"] * times for end in ("", " low", " high"))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


VERB = Verb(
    name="uplift",
    summary="who acts because of an e-mail or coupon (randomised arms), and whom it pays to treat",
    usage="funneltune uplift run=PATH [treatment=COLUMN] [arm=..] [outcome=visit] [learner=t|x|dr|all] [output=FOLDER]",
    examples=(
        "funneltune uplift run=runs/hillstrom/2026-01-31_12-00-00",
        "funneltune uplift run=runs/hillstrom/2026-01-31_12-00-00 'arm=Mens E-Mail' outcome=conversion learner=dr",
        "funneltune uplift run=runs/hillstrom/2026-01-31_12-00-00 margin=1 cost=0.05 output=uplift",
    ),
    run=run,
    keys={
        "run": "folder of a finished run on a log whose arms were drawn at random",
        "treatment": "column that says who was treated how (default: treatment, or the item where the log shows few)",
        "arm": "its value for the treated (default: each one against the control)",
        "control": "its value for those left alone (default: the one that says so: none, control, no e-mail, 0)",
        "outcome": "a binary task of the run, its edges included (default: the first)",
        "learner": "t, x, dr or all (default), beside the run's own what-if where it reads the treatment",
        "base": "what learners are made of: linear (ridge, default) or trees (small boosted ones)",
        "margin": "money that an outcome brings (default 1)",
        "cost": "money that a treatment costs (default 0)",
        "draws": "of people, for the intervals (default 1000)",
        "seed": "of these draws and the learners' folds (default 0)",
        "output": "a new folder for decision.json, uplift.csv and the picture (default: print only)",
    },
)
