"""An explanation from what a command line or a call says, and into a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from funneltune.data import Asked
from funneltune.decisions.explanations.explainer import explain, explain_row
from funneltune.decisions.explanations.explanation import Explanation
from funneltune.decisions.explanations.page import to_html
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.files import write_text


def explained(
    run: Path,
    *,
    query: str = "",
    item: str = "",
    user: str = "",
    split: str = "",
    row: int | None = None,
    rate: str = "",
    steps: int | None = None,
    what_if: Mapping[str, str] | None = None,
    calibration: str | None = None,
) -> Explanation:
    """Explain an item for a request (`item`, with `query` or `user`), or an impression of the log (`row` of `split`).

    Raises:
        ConfigError: if neither or both are named, steps < 1, or a value is unknown.
        RunError: if it is no finished run, or has no such calibration.
    """
    logged = bool(split) or row is not None
    if logged and (query or item or user):
        raise ConfigError("split and row name an impression of the log; leave query, item and user out.")
    if logged and row is None:
        raise ConfigError(f"split={split} needs row=N, which of its rows.")
    if not logged and not item:
        raise ConfigError("item is missing; name one of the log (item=KEY), or an impression (split=test row=0).")
    if steps is not None and steps < 1:
        raise ConfigError(f"steps={steps} must be >= 1, the points of the path; auto takes as many as it needs.")
    scorer = Scorer.of_run(run, calibration)
    if row is not None:
        return explain_row(scorer, split or "test", row, rate, steps, what_if)
    return explain(scorer, Asked(query=query, user=user), scorer.catalogue.number(item), rate, steps, what_if)


def parse_what_if(text: str) -> dict[str, str]:
    """`price=9.99; title=Red wool blanket` as a mapping.

    >>> parse_what_if("price=9.99; title=Red; white, and blue")
    {'price': '9.99', 'title': 'Red; white, and blue'}

    Raises:
        ConfigError: if a part is no NAME=VALUE, or a name comes twice.
    """
    found: dict[str, str] = {}
    for part in re.split(r";\s*(?=[\w.]+=)", text.strip()) if text.strip() else ():
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ConfigError(f"what_if={part} must be NAME=VALUE, several with ; between them.")
        if name in found:
            raise ConfigError(f"what_if={name} is given twice; give it once.")
        found[name] = value.strip()
    return found


def write(told: Explanation, output: Path) -> Path:
    """The explanation as a page (.html) or as JSON."""
    if output.suffix == ".html":
        return write_text(output, to_html(told))
    return write_text(output, json.dumps(told.to_json(), ensure_ascii=False, indent=1) + "\n")
