"""What the site takes from elsewhere, so that it cannot go stale: configs, the command line's help, READMEs, records.

Markers in a page, invisible where Markdown is read as it is:

    <!-- choices: tuning -->                  every configs/tuning/*.yaml, folded
    <!-- help: train -->                      what `funneltune train --help` prints; `help: all` is `funneltune --help`
    <!-- include: README.md own log -->       what stands between `<!-- own log -->` and `<!-- end -->` in a file
    <!-- picture: FILE.png words -->          that picture, where it is there already

Links that lead out of docs/ go to the pages and pictures that `on_files` adds (experiments, benchmarks). Links to
anything else in the repository become the file's path in words.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from funneltune.cli import entry, helptext

ROOT = Path(__file__).parents[1]
ADDED = (
    "experiments/*/README.md",
    "experiments/*/table.md",
    "experiments/literature/*20??*.md",
    "experiments/*/*.png",
    "benchmarks/README.md",
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
MARKER = re.compile(r"^<!-- (choices|help|include|picture): (.+?) -->$", flags=re.M)
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", flags=re.S | re.M)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the evidence: READMEs and tables of experiments, the benchmarks', their pictures."""
    for pattern in ADDED:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Fill markers, then turn links out of docs/."""
    uri = page.file.src_uri
    source = uri if page.file.generated_by else f"docs/{uri}"

    def filled(found: re.Match[str]) -> str:
        kind, word = found.groups()
        if kind == "include":
            return included(word, source, files)
        if kind == "picture":
            return links_turned(picture(word), "README.md", source, files)
        return {"choices": choices, "help": usage}[kind](word)

    return MARKER.sub(filled, links_turned(markdown, source, source, files))


def choices(group: str) -> str:
    """The files of a config group, each folded under what its first comment says."""
    paths = sorted((ROOT / "configs" / group).glob("*.yaml"))
    if not paths:
        raise PluginError(f"<!-- choices: {group} -->: there is no configs/{group}/*.yaml.")
    return "\n".join(_folded(f"`{group}={path.stem}`: every key", path.read_text(), "yaml") for path in paths)


def usage(verb: str) -> str:
    """A verb's help, as the command line prints it."""
    if verb == "all":
        return f"```\n{helptext.general(entry.VERBS.values())}\n```"
    if verb not in entry.VERBS:
        raise PluginError(f"<!-- help: {verb} -->: there is no such verb.")
    return f"```\n{helptext.of_verb(entry.VERBS[verb], None)}\n```"


def picture(told: str) -> str:
    """A picture of the repository, or nothing where it was not drawn yet."""
    name, _, words = told.partition(" ")
    return f"![{words}]({name})" if (ROOT / name).exists() else ""


def included(told: str, source: str, files: Files) -> str:
    """A marked part of another file, its links turned to where it is shown."""
    name, _, part = told.partition(" ")
    found = re.search(rf"^<!-- {re.escape(part)} -->\n(.*?)^<!-- end -->$", (ROOT / name).read_text(), re.S | re.M)
    if found is None:
        raise PluginError(f"<!-- include: {told} -->: {name} has no part between <!-- {part} --> and <!-- end -->.")
    return links_turned(found[1], name, source, files)


def links_turned(text: str, home: str, shown_in: str, files: Files) -> str:
    """The text with every link as it must be on the page `shown_in`, if it was written in the file `home`."""
    parts = CODE.split(text)
    parts[::2] = [LINK.sub(lambda found: _turned(found, home, shown_in, files), part) for part in parts[::2]]
    return "".join(parts)


def _turned(found: re.Match[str], home: str, shown_in: str, files: Files) -> str:
    picture, words, target = found.groups()
    path, hash_, anchor = target.partition("#")
    if "://" in target or target.startswith(("mailto:", "#")):
        return found[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
    page = path.removeprefix("docs/")
    if path in ("README.md", "CONTRIBUTING.md"):
        page = {"README.md": "index.md", "CONTRIBUTING.md": "groups.md"}[path]
    if files.get_file_from_path(page) is not None:
        here = posixpath.dirname(shown_in.removeprefix("docs/"))
        return f"{picture}[{words}]({posixpath.relpath(page, here or '.')}{hash_}{anchor})"
    if not (ROOT / path).exists():
        return found[0]  # strict mode then names it
    return "" if picture else words if path in words else f"{words} (`{path}`)"


def _folded(title: str, text: str, language: str) -> str:
    body = "\n".join(f"    {line}".rstrip() for line in ["", f"```{language}", *text.rstrip().split("\n"), "```"])
    return f'??? note "{title}"\n{body}\n'
