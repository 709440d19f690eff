"""Ways to damage what was kept, and what a command must make of it: a status, one line, no traceback."""

import json
import shutil

from funneltune.cli import main


def copy_of(folder, target):
    """A run's or study's folder to damage, without its checkpoints."""
    return shutil.copytree(folder, target, ignore=shutil.ignore_patterns("checkpoints", "*.part"))


def cut(path, share=0.5):
    """The first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def edit(path, **changes):
    """Other values under some keys of a JSON file; None takes a key away."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def refused(capsys, words, *told):
    """Give a command, which must end with a status of its own and one error's line that says all of `told`."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr().err
    assert status in (1, 2), shown
    assert "Traceback" not in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("error: ")]
    for one in told:
        assert one in line
