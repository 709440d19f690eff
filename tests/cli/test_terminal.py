"""A terminal shows what a log holds as it is, and obeys none of it."""

import io
import re
from pathlib import Path

import pytest
from rich.table import Table

from funneltune.cli.terminal import Screen
from funneltune.cli.verb import plain, say

CLI = Path(__file__).parents[2] / "src" / "funneltune" / "cli"
TITLES = [
    "a closing [/b] tag",
    "[red]no colour[/red]",
    "[link=https://evil.example]here[/link]",
    ":smile: is no emoji",
    "\x1b[2J\x1b[H gone",
    "\x1b]0;a window's title\x07",
    "\x9b31m and \x08\x08",
    "\u202eturned round\u202c",
]


@pytest.mark.tried("card_or_notebook", "payload")
@pytest.mark.parametrize("title", TITLES)
def test_a_title_is_a_text(title, capsys):
    file = io.StringIO()
    table = Table("item", "title")
    table.add_row("i1", title)
    for screen in (Screen(file=file, width=120), Screen(file=file, width=120, force_terminal=True, color_system=None)):
        screen.print(table)
        screen.print(title)
    shown = file.getvalue()
    assert plain(title).strip("\ufffd") in shown
    assert not set(shown) & set("\x1b\x07\x08\x9b\u202e")
    say(title)
    assert not set(capsys.readouterr().out) & set("\x1b\x07\x08\x9b\u202e")


def test_what_tables_and_lines_need_stays():
    assert plain("a\tb\nc — 鞋 ünï 😀") == "a\tb\nc — 鞋 ünï 😀"


def test_tables_of_a_logs_texts_are_shown_by_no_other_console():
    """Of the verbs' own files; `reproduce` shows papers and `study` names of cells."""
    others = [path.name for path in CLI.glob("*.py") if re.search(r"(?<!class Screen\()Console\(", path.read_text())]
    assert others == ["reproduce.py"]
