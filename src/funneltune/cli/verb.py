"""What each verb's file says of itself."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from funneltune.cli.arguments import Arguments
from funneltune.errors import Interrupted

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Escape and its like, and what turns the direction of a line."""


@dataclass(frozen=True)
class Verb:
    """One word of the command line."""

    name: str
    summary: str
    usage: str
    examples: tuple[str, ...]
    run: Callable[[Arguments], int]
    """Does the work and returns the exit status."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The verb's own keys -> what they mean."""
    composes: bool = False
    """Whether it takes the config groups and their keys."""


def say(text: str) -> None:
    """Print a result; what would command the terminal is marked."""
    sys.stdout.write(plain(text.rstrip("\n")) + "\n")


def plain(text: str) -> str:
    r"""A text with a mark in place of each character that would command the terminal.

    >>> plain("red\x1b[2J shoes")
    'red\ufffd[2J shoes'
    """
    return CONTROL.sub("\ufffd", text)


@contextmanager
def nothing_saved_yet(earlier: Callable[[], str] = str) -> Iterator[None]:
    """Where a signal ends the set-up, say that there is nothing to go on from; or what was there `earlier`, in words.

    Raises:
        Interrupted: with that line.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        signum = signal_of(stop)
        way_on = earlier() or "before anything was saved; give the same command again"
        raise Interrupted(signum, f"stopped by {signum.name} {way_on}") from None


def signal_of(stop: Interrupted | KeyboardInterrupt) -> signal.Signals:
    """The signal that ended the program."""
    return signal.Signals(stop.signum if isinstance(stop, Interrupted) else signal.SIGINT)


def is_first_process() -> bool:
    """False in the further processes that Lightning starts for DDP, which replay this command line."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0
