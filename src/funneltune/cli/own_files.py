"""A user's config files, looked at before they are composed: what would fill the memory, or never come to an end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from funneltune.errors import ConfigError

LARGEST = 1_000_000
"""Bytes of a config file; the longest of ours has 9,000."""
DEEPEST, MOST = 100, 100_000
"""Levels of a file, and values once each alias stands for all that it repeats."""


def check_files(folder: Path | None) -> None:
    """Refuse a folder of groups in which a file repeats itself without end (`a: &a [*b, *b]`), or is no text.

    Raises:
        ConfigError: naming the file, and what is wrong with it.
    """
    if folder is None:
        return
    for path in sorted(folder.glob("*/*.yaml")):
        if fault := _fault(path):
            raise ConfigError(f"{path.relative_to(folder)} {fault}")


def _fault(path: Path) -> str | None:
    if not path.is_file():
        return "is no file; a group's choices are YAML files."
    if path.stat().st_size > LARGEST:
        return f"has more than {LARGEST:,} bytes; a config file is short."
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start}); save it as UTF-8."
    if text.startswith("\ufeff"):
        return "begins with a byte order mark; save it as UTF-8 without one."
    try:
        return _size_fault(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return None  # told with its line by whoever composes it


def _size_fault(events: Iterator[yaml.Event]) -> str | None:
    """Counts the values as they would be once every alias is written out, without writing any out."""
    anchored: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, values before it
    values = 0
    for event in events:
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            open_nodes.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor:
                anchored[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                return f"holds itself (*{event.anchor}); remove the alias."
            values += anchored.get(str(event.anchor), 1)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            anchor, before = open_nodes.pop()
            if anchor:
                anchored[anchor] = values - before
        if values > MOST:
            return f"holds more than {MOST:,} values, its aliases written out; a config file is short."
        if len(open_nodes) > DEEPEST:
            return f"is nested more than {DEEPEST} levels deep; a config file is flat."
    return None
