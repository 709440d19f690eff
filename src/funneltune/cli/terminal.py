"""Texts of a log in a terminal: words, whatever they hold; no markup of ours, no command to the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from funneltune.cli.verb import plain


class Screen(Console):
    """Rich's console for what a log holds: `[/b]` is a text, and `:smile:` as well."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A cell's or line's text."""
        return super().render_str(plain(text), **options)
