"""Help texts. They read the config folder only: no Hydra, no torch, so they come at once."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from funneltune.cli.locate import PRIMARY, config_root
from funneltune.cli.verb import Verb

WIDTH = 110
PLAIN = ("paper", "ranking")
"""Folders of configs that nothing composes: data of a verb's own."""


def general(verbs: Iterable[Verb]) -> str:
    """What funneltune is, and each verb with an example."""
    lines = [
        "funneltune fine-tunes pretrained language models on click and purchase logs",
        "and compares the ways of doing it.",
        "",
        "usage: funneltune VERB ...",
        "",
    ]
    for verb in verbs:
        lines += [f"  {verb.name:<9} {verb.summary}", f"            {verb.examples[0]}"]
    lines += [
        "",
        "  funneltune VERB --help   the verb's keys, groups and choices",
        "  funneltune --version",
        "",
        "exit status: 0 done, 1 failed (a cell of a study, a full disk, a model that diverged),",
        "             2 a mistake in what was asked (told in one line, as is a failure),",
        "             130 and 143 stopped by SIGINT and SIGTERM (told how to go on)",
    ]
    return "\n".join(lines)


def of_verb(verb: Verb, config_dir: Path | None) -> str:
    """A verb's keys and, where it composes a config, the groups, their choices and the top-level keys."""
    lines = [f"{verb.summary}", "", f"usage: {verb.usage}", ""]
    lines += [f"  {example}" for example in verb.examples]
    if verb.keys:
        lines += ["", "keys:"] + [f"  {key:<12} {meaning}" for key, meaning in verb.keys.items()]
    if verb.composes:
        lines += ["", "groups (group=choice):"] + [_wrapped(group, choices) for group, choices in groups(config_dir)]
        lines += ["", "keys of every run (key=value; those of a group are dotted: tuning.target_rank=8):"]
        lines += [f"  {key:<12} {meaning}" for key, meaning in top_level_keys()]
        lines += [
            "",
            "  --cfg job          print the composed config, with every key",
            "  --config-dir DIR   add your own groups and experiments (DIR/experiment/mine.yaml, ...)",
        ]
    return "\n".join(lines)


def groups(config_dir: Path | None = None) -> list[tuple[str, list[str]]]:
    """Each config group and its choices, the user's included."""
    found: dict[str, set[str]] = {}
    for root in [config_root(), *([config_dir] if config_dir else [])]:
        for path in root.glob("*/*.yaml"):
            if path.parent.name not in PLAIN:
                found.setdefault(path.parent.name, set()).add(path.stem)
    first = ["experiment", "study", "hparams_search"]
    order = [group for group in first if group in found] + sorted(set(found) - set(first))
    return [(group, sorted(found[group])) for group in order]


def top_level_keys() -> Iterator[tuple[str, str]]:
    """The keys of train.yaml that hold a value with their comments."""
    for line in (config_root() / f"{PRIMARY}.yaml").read_text().splitlines():
        if found := re.match(r"(\w+): (\S.*?) # (.*)", line):
            key, default, meaning = found.groups()
            yield key, f"{meaning} (default {default})"


def _wrapped(group: str, choices: list[str]) -> str:
    return textwrap.fill(
        ", ".join(choices), WIDTH, initial_indent=f"  {group:<12} ", subsequent_indent=" " * 15, break_on_hyphens=False
    )
