"""Every command that the README and docs/ show is one: its verb, keys and config are there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from funneltune.cli import main
from funneltune.cli.arguments import Arguments
from funneltune.cli.entry import VERBS
from funneltune.cli.study import Asked

ROOT = Path(__file__).parents[2]
NAMED = ("README.md", "README.zh-CN.md", "benchmarks/README.md")
PAGES = [*(ROOT / name for name in NAMED), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```", flags=re.S | re.M)
FILES_IN_WORDS = {"my/data/shop.yaml": "path: shop.csv", "my/study/mine.yaml": "name: mine"}
"""Files that a page names in its text: how the block begins that holds them, or a line of it."""
OWN = ("my_heads", "my_objectives", "my_tuning")


def commands(page):
    """The lines of a page's shell blocks that call funneltune, comments and continued lines joined."""
    for language, _, body in BLOCK.findall(page.read_text()):
        if language in ("", "bash", "console"):
            for line in body.replace("\\\n", " ").splitlines():
                if line.startswith("funneltune "):
                    yield shlex.split(line, comments=True)


CASES = [(page, words) for page in PAGES for words in commands(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What pages tell their readers to write, on disk."""
    found = tmp_path_factory.mktemp("reader")
    blocks = [(title, body) for page in PAGES for _, title, body in BLOCK.findall(page.read_text())]
    texts = {re.search('title="(.*?)"', title)[1]: body for title, body in blocks if "title=" in title}
    for name, line in FILES_IN_WORDS.items():
        texts[name] = next(body for _, body in blocks if line in body.splitlines() or body.startswith(line))
    for name, body in texts.items():
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(body)
    return found


@pytest.fixture(autouse=True)
def _in_the_readers_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("FUNNELTUNE_TRUST", ",".join(OWN))


def composes(verb, words):
    """Whether the config behind the words is one, data sets' and runs' own files apart."""
    own = [word for word in words if word.split("=")[0] not in ("resume", "run_dir", "study_dir", "search_dir")]
    return main([verb, *own, "--cfg", "job"])


@pytest.mark.parametrize(("page", "words"), CASES, ids=[f"{p.stem}:{' '.join(w[1:])}" for p, w in CASES])
def test_every_command_of_the_docs_is_one(page, words, capsys):
    _, verb, *rest = words
    if verb in ("--help", "--version"):
        return
    assert verb in VERBS, f"{verb} is no verb"
    if VERBS[verb].composes:
        assert composes(verb, rest) == 0, capsys.readouterr().err
        return
    arguments = Arguments.parse(rest)
    keys = {override.partition("=")[0] for override in arguments.overrides}
    assert keys <= set(VERBS[verb].keys), f"{verb} has {', '.join(VERBS[verb].keys)}"


STUDIES = [words for _, words in CASES if words[1] == "study" and "hydra/launcher" not in " ".join(words)]


@pytest.mark.parametrize("words", STUDIES, ids=[" ".join(words[2:]) for words in STUDIES])
def test_studies_of_the_docs_have_their_baseline_among_their_cells(words):
    arguments = Arguments.parse(words[2:])
    Asked.compose(arguments.only_word("study"), arguments.overrides, arguments.config_dir).check()


def test_keys_of_overrides_in_running_text_are_keys():
    """`tuning.rank=16` in a sentence or a table: the group has such a key in one of its choices."""
    groups = ("backbone", "features", "tuning", "head", "objective", "balancing", "adversary", "optimizer", "scheduler")
    keys = {group: set() for group in groups}
    for group in groups:
        for path in (ROOT / "configs" / group).glob("*.yaml"):
            keys[group] |= set(yaml.safe_load(path.read_text()))
    keys["head"].add("factors")  # of the head that own_head.md writes
    wrong = []
    for page in PAGES:
        for span in re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text())):
            found = re.findall(rf"(?<![\w.])({'|'.join(groups)})\.(\w+)(?:\.\w+)*=", span)
            wrong += [f"{page.name}: {group}.{key}" for group, key in found if key not in keys[group] | {"_target_"}]
    assert not wrong
