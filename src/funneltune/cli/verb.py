"""What each verb's file says of itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from funneltune.cli.arguments import Arguments


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
    """Print a result."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def is_first_process() -> bool:
    """False in the further processes that Lightning starts for DDP, which replay this command line."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0
