"""`funneltune evaluate`: a trained run's metrics on a split of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError

SPLITS = ("validation", "test")


def run(arguments: Arguments) -> int:
    """Load the run, measure, print; with `keep`, take what was measured into its record."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, {"split": "test", "keep": "false"})
    if keys["split"] not in SPLITS:
        raise ConfigError(f"split={keys['split']} must be one of {', '.join(SPLITS)}.")
    if keys["keep"] not in ("true", "false"):
        raise ConfigError(f"keep={keys['keep']} must be true or false.")
    from funneltune import runs

    if keys["keep"] == "true":
        folder = Path(keys["run"])
        record = runs.remeasure(folder)
        say(_table(record.metrics.get(keys["split"], {}), keys["split"]))
        moved = f" ({record.measured['metric']})" if record.measured["metric"] else ""
        say(f"largest difference from what was recorded: {record.measured['largest_difference']:.3g}{moved}")
        say(f"record: {folder / 'record.json'}")
        return 0
    say(_table(runs.evaluate(Path(keys["run"]), keys["split"]), keys["split"]))
    return 0


def _table(metrics: dict[str, Any], split: str) -> str:
    width = max((len(key) for key in metrics), default=0)
    lines = [f"{split}:"]
    for key, entry in metrics.items():
        value, protocol = (entry.get("value"), entry.get("protocol")) if isinstance(entry, dict) else (entry, None)
        shown = "undefined" if value is None else f"{value:.4f}"
        rows = (protocol or {}).get("n")
        lines.append(f"  {key:<{width}}  {shown:>9}" + (f"  n={rows}" if rows is not None else ""))
    return "\n".join(lines)


VERB = Verb(
    name="evaluate",
    summary="a trained run's metrics, measured anew",
    usage="funneltune evaluate run=PATH [split=test] [keep=false]",
    examples=("funneltune evaluate run=runs/quickstart/2026-01-31_12-00-00 split=validation",),
    run=run,
    keys={
        "run": "folder of a trained run",
        "split": f"one of {', '.join(SPLITS)} (default test)",
        "keep": "true: measure both splits; metrics, slices and calibration go into the run's record (default false)",
    },
)
