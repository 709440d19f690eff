"""`funneltune offpolicy`: what another policy would have earned on a run's log."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    "policy": "softmax",
    "by": "",
    "reward": "",
    "split": "test",
    "estimators": "dm,ips,snips,dr,sndr,switch_dr,shrunk_dr",
    "temperature": "1",
    "epsilon": "0.1",
    "clip": "",
    "most": "0",
    "draws": "2000",
    "output": "",
}


def run(arguments: Arguments) -> int:
    """Estimate, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    own = record.numbers["the log's own"]
    overlap = record.tables["overlap"]
    support = dict(zip(overlap["columns"], overlap["rows"][0], strict=True))
    say(f"the log's own policy: {_interval(own['value'], own['low'], own['high'])} {record.settings['reward']} a place")
    say(
        f"the log's {support['rows']:,} decisions count as {support['effective']:,.0f} for policy="
        f"{record.settings['policy']}; largest weight {support['largest']:.1f}"
        + (f"; WEAK: {support['weak']}" if support["weak"] else "")
    )
    table = Table("estimator", "value", "95% jackknife", "95% BCa", box=SIMPLE, pad_edge=False)
    known = "truth" in record.numbers
    if known:
        table.add_column("truth")
    for name, value, low, high, bca_low, bca_high, _, truth, covered in record.tables["estimates"]["rows"]:
        cells = [name, f"{value:.5f}", f"{low:.5f} to {high:.5f}"]
        cells.append("-" if bca_low is None else f"{bca_low:.5f} to {bca_high:.5f}")
        table.add_row(*cells, *([f"{truth:.5f} {'inside' if covered else 'outside'}"] if known else []))
    Screen().print(table)
    gain = record.numbers["dr less the log's own"]
    say(f"gain over the log's own (dr): {_interval(gain['value'], gain['low'], gain['high'])}")
    for note in record.notes:
        say(f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def carried_out(keys: Mapping[str, Any]) -> DecisionRecord:
    """Estimate, and write where there is a folder to write to.

    Raises:
        ConfigError, DataError: for a key that is out of range, or a log that cannot tell.
        RunError: if the folder is there.
    """
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    temperature, epsilon = (_number(name, keys[name]) for name in ("temperature", "epsilon"))
    clip = _number("clip", keys["clip"]) if keys["clip"] else None
    most, draws = (_whole(name, keys[name]) for name in ("most", "draws"))
    from funneltune.decisions.choices import Chooser
    from funneltune.decisions.forest import draw_estimates
    from funneltune.decisions.off_policy import evaluate_policy
    from funneltune.decisions.scorer import Scorer

    record = evaluate_policy(
        Scorer.of_run(Path(keys["run"])),
        Chooser(keys["policy"], temperature=temperature, epsilon=epsilon),
        by=keys["by"],
        reward=keys["reward"],
        split=keys["split"],
        estimators=[name.strip() for name in keys["estimators"].split(",")],
        clip=clip,
        most=most or None,
        draws=draws,
    )
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        record.figures.append(draw_estimates(record, output).name)
        record.write(output)
    return record


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.5f} ({low:.5f} to {high:.5f})"


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{name}={text} must be a number.")
    return value


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{name}={text} must be a whole number, 0 or more.")
    return int(text)


VERB = Verb(
    name="offpolicy",
    summary="what another policy would have earned on a run's log",
    usage="funneltune offpolicy run=PATH [policy=softmax|epsilon|tilted|uniform] [by=ctcvr] [reward=click] "
    "[output=FOLDER]",
    examples=(
        "funneltune offpolicy run=runs/quickstart/2026-01-31_12-00-00 policy=tilted reward=click",
        "funneltune offpolicy run=runs/open_bandit/2026-01-31_12-00-00 policy=uniform estimators=ips,snips,dr",
    ),
    run=run,
    keys={
        "run": "folder of a trained run on a log with propensities, or of the marketplace",
        "policy": "softmax (score^(1/temperature)), epsilon (the best, else any), tilted (the logging policy's chance "
        "times score^(1/temperature); marketplace only) or uniform (default softmax)",
        "by": "what scores are: ctr, cvr, ctcvr, revenue, 0.2*ctr + 0.8*ctcvr (default: the funnel's last rate)",
        "reward": "what a decision earns: click, purchase (any binary task; default: the first) or revenue",
        "split": "test or validation (default test)",
        "estimators": "of dm, ips, snips, dr, sndr, switch_dr, shrunk_dr (default all)",
        "temperature": "of softmax and tilted (default 1)",
        "epsilon": "share of places that epsilon explores (default 0.1)",
        "clip": "largest weight (default: none)",
        "most": "only the first so many requests (default 0: all)",
        "draws": "of the bootstrap; 0: no BCa interval (default 2000)",
        "output": "folder to make, for decision.json and a picture; one that exists is refused",
    },
)
