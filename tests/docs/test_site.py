"""The site builds strictly, names every choice there is, and needs nothing from a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from funneltune.cli.entry import VERBS
from funneltune.reporting.figures.all import PARTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHOICES = sorted((path.parent.name, path.stem) for path in (ROOT / "configs").glob("*/*.yaml"))
PAGES = {path.name: path.read_text() for path in DOCS.glob("*.md")}
REFERENCE = {
    "data": "data",
    "backbone": "backbones",
    "features": "features",
    "vision": "modalities",
    "tuning": "tuning",
    "head": "heads",
    "objective": "objectives",
    "balancing": "balancing",
    "adversary": "balancing",
    "metrics": "protocol",
    "pretraining": "pretraining",
    "privacy": "privacy",
    "paper": "papers",
    "ranking": "ranking",
    **dict.fromkeys(("optimizer", "scheduler", "trainer", "callbacks", "logger", "debug"), "training"),
    **dict.fromkeys(("experiment", "study", "hparams_search"), "named_runs"),
}
"""Config group -> the page that lists its choices."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_group_has_a_page_in_the_navigation():
    groups = {group for group, _ in CHOICES}
    assert set(REFERENCE) == groups
    listed = (ROOT / "mkdocs.yml").read_text()
    for page in {*REFERENCE.values(), *(name.removesuffix(".md") for name in PAGES)}:
        assert f": {page}.md\n" in listed, page
    assert all(f"`{group}`" in PAGES["groups.md"] for group in groups)


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=["=".join(one) for one in CHOICES])
def test_every_choice_is_on_its_groups_page(group, choice):
    page = PAGES[f"{REFERENCE[group]}.md"]
    in_tables = " ".join(re.findall(r"^\|.*$", page, flags=re.M))
    assert f"`{choice}`" in in_tables or f"`{group}={choice}`" in page


@pytest.mark.parametrize(("group", "choice"), [one for one in CHOICES if REFERENCE[one[0]] != "named_runs"])
def test_every_key_of_a_choice_is_shown(site, group, choice):
    shown = (site / f"{REFERENCE[group]}.html").read_text()
    assert f"<code>{group}={choice}</code>: every key" in shown
    content = yaml.safe_load((ROOT / "configs" / group / f"{choice}.yaml").read_text()) or {}
    assert all(key.startswith("_") or f">{key}<" in shown for key in content)


def test_the_command_lines_help_is_on_its_page(site):
    shown = (site / "command_line.html").read_text()
    assert all(f"usage: funneltune {name}" in shown for name in VERBS)


def test_what_is_shared_with_the_readme_is_there_and_its_links_lead_somewhere(site):
    own = (site / "own_log.html").read_text()
    assert "funneltune data validate" in own
    assert "my/data/shop.yaml" in own
    assert 'href="experiments/own_log/index.html"' in own
    assert "separator" in (site / "data.html").read_text()


def test_no_marker_is_left_over(site):
    for page in site.rglob("*.html"):
        assert not re.search(
            r"&lt;!-- (choices|help|include|picture)|<!-- (choices|help|include|picture):", page.read_text()
        )


def test_pages_load_nothing_from_a_network(site):
    loads = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^\"'>\s]+", re.I)
    for page in site.rglob("*.html"):
        assert not loads.findall(page.read_text()), page.name
        assert 'class="mermaid"' not in page.read_text()  # its drawing program would be fetched
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()), style.name


def test_every_file_that_the_pages_load_is_in_the_site(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)=\"([^\"#?]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_page_about_reports_names_every_section_of_one():
    rows = re.findall(r"^\| ([A-Z][\w ]+) \|", PAGES["reports.md"], flags=re.M)
    template = (ROOT / "src" / "funneltune" / "reporting" / "assets" / "report.html.j2").read_text()
    fixed = re.findall(r"<h2[^>]*>([^<{]+)</h2>", template)
    assert len(fixed) > 4
    drawn = [title for title, _, _ in PARTS]
    assert {*fixed, *drawn} <= set(rows)
    assert set(rows) - {*fixed, *drawn} == {"On which terms", "Where ranks are kept", "What each cell was"}
