"""The page of experiments/peft, built from committed evidence alone, in headless Chromium."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from chromium import MARKS, VIEWS, listened, one_scheme_then_the_other
from funneltune.reporting import write_report

EVIDENCE = Path(__file__).parents[2] / "experiments" / "peft"

pytestmark = MARKS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_report(EVIDENCE, tmp_path_factory.mktemp("peft"))


@pytest.fixture
def visit(browser, made):
    """Opens the page; at the end nothing may have been said on the console, or asked of a network."""
    contexts, said, asked = [], [], []
    address = (made.folder / "report.html").as_uri()

    def opened(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = listened(context, said, asked)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) == {address}


def column(page, place, shown=True):
    rows = page.locator("#main-table tbody tr" + (":not([hidden])" if shown else ""))
    return [row.locator("th, td").nth(place).inner_text().split("\n")[0] for row in rows.all()]


def test_every_figure_is_drawn_in_each_view(visit, made):
    assert len(made.drawings) >= 12
    for options in VIEWS.values():
        page = visit(**options)
        figures = page.locator("figure svg.picture").all()
        assert len(figures) == len(made.drawings)
        for picture in figures:
            box = picture.bounding_box()
            assert box["width"] > 250
            assert box["height"] > 80
            assert picture.locator("path").count() > 5
            assert picture.locator("text").count() > 2


def test_nothing_but_tables_scrolls_sideways(visit):
    for options in VIEWS.values():
        wide, seen = visit(**options).evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= seen


def test_a_heading_sorts_both_ways_and_says_so(visit):
    page = visit(**VIEWS["desktop"])
    heading = page.locator("#main-table thead th", has_text="CTR AUC").nth(1)  # the first is the verdict's
    place = page.locator("#main-table thead th").all_inner_texts().index(heading.inner_text())
    heading.get_by_role("button").click()
    down = [float(text.split()[0]) for text in column(page, place)]
    assert down == sorted(down, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.get_by_role("button").press("Enter")
    up = [float(text.split()[0]) for text in column(page, place)]
    assert up == sorted(up)
    assert heading.get_attribute("aria-sort") == "ascending"
    page.locator("#main-table thead th", has_text="trainable").first.get_by_role("button").click()
    assert column(page, 0)[0] == "full"
    assert heading.get_attribute("aria-sort") is None


def test_rows_are_filtered_by_name_and_by_verdict(visit):
    page = visit(**VIEWS["desktop"])
    everything = len(column(page, 0))
    page.get_by_label("Filter rows").fill("lora")
    assert column(page, 0) == ["lora", "adalora"]
    assert page.get_by_role("status").inner_text() == f"2 of {everything} rows"
    page.get_by_label("Filter rows").fill("")
    page.get_by_label("Verdict").select_option("worse")
    assert column(page, 0) == ["frozen"]
    page.get_by_label("Verdict").select_option("")
    assert len(column(page, 0)) == everything


def test_groups_of_columns_can_be_put_away(visit):
    page = visit(**VIEWS["desktop"])
    cost = page.locator('#main-table [data-group="cost"]').first
    assert cost.is_visible()
    page.get_by_label("cost", exact=True).uncheck()
    assert not cost.is_visible()
    assert page.locator('#main-table [data-group="quality"]').first.is_visible()


def test_the_scheme_follows_the_system_and_then_the_button(visit):
    one_scheme_then_the_other(visit)


def test_the_keyboard_reaches_the_report_the_controls_and_what_scrolls(visit):
    page = visit(**VIEWS["desktop"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "filter"
    assert all(region.get_attribute("tabindex") == "0" for region in page.locator(".wide").all())


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(visit, view):
    page = visit(**VIEWS[view])
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_it_prints_light_with_every_table_open(visit):
    page = visit(**VIEWS["dark"])
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    closed = page.locator("details:not([open])")
    assert all(part.locator("xpath=ancestor::figure").count() == 1 for part in closed.all())
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_script_the_tables_are_there_and_the_controls_are_not(visit):
    page = visit(**VIEWS["desktop"], java_script_enabled=False)
    assert page.locator("#main-table tbody tr").count() == 11
    assert not page.locator("#filter").is_visible()
    assert not page.locator("#scheme").is_visible()
