"""The command line: one file a verb."""

from funneltune.cli.entry import main

__all__ = ["main"]
