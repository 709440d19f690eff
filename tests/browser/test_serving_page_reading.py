"""The page of `funneltune serve` for every reader: by keyboard, by axe, on a phone, in each scheme, without motion."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from chromium import MARKS, VIEWS, one_scheme_then_the_other
from serving_pages import answered, focused, search, titles

pytestmark = MARKS


def test_everything_is_done_by_keyboard(visit):
    page = visit(**VIEWS["desktop"])
    expect(page.locator("#starters button").first).to_be_visible()
    page.keyboard.press("/")
    assert focused(page) == "query"
    page.keyboard.press("ArrowDown")
    expect(page.locator("#query-list [aria-selected=true]")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    picked = page.locator("#query-list [aria-selected=true] .key").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Query", exact=True)).to_have_value(picked)
    answered(page)
    page.keyboard.press("Tab")
    assert focused(page) == "user"
    page.keyboard.type("shopper")
    expect(page.locator("#user-list [role=option]").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#user-list")).to_be_hidden()
    for wanted in ("by", "candidates"):
        page.keyboard.press("Tab")
        assert focused(page) == wanted
    for _ in range(8):
        page.keyboard.press("Tab")
        if focused(page) == "title":
            break
    assert focused(page) == "title"
    names = titles(page)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == names[1]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == titles(page, 1)[1]
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == titles(page, 1)[1]  # back where it was


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(visit, view):
    page = visit(**VIEWS[view])
    expect(page.locator("#starters button").first).to_be_visible()

    def check():
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()

    check()
    page.get_by_label("Query", exact=True).click()
    expect(page.locator("#query-list")).to_be_visible()
    check()
    search(page)
    page.locator("#about").evaluate("part => { part.open = true; }")
    check()
    page.get_by_label("Rank by").select_option(value="ranking:fair_sellers")
    expect(page.locator(".mark").first).to_be_visible()
    check()
    page.get_by_role("button", name="Difference").click()
    check()
    page.get_by_role("button", name="List A" if view == "phone" else "Side by side").click()
    page.locator(".item .title").first.click()
    expect(page.locator(".sentence")).to_be_visible(timeout=20_000)
    page.locator("#why details").evaluate("part => { part.open = true; }")
    check()


def test_on_a_phone_nothing_scrolls_sideways_and_one_list_is_shown(visit):
    page = visit(**VIEWS["phone"])

    def fits():
        wide, seen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= seen

    fits()
    search(page)
    fits()
    page.get_by_label("Rank by").select_option(value="ranking:fair_sellers")
    expect(page.locator(".mark").first).to_be_visible()
    fits()
    assert [part.is_visible() for part in page.locator(".list").all()] == [True, False]
    page.get_by_role("button", name="List B").click()
    assert [part.is_visible() for part in page.locator(".list").all()] == [False, True]
    page.get_by_role("button", name="Difference").click()
    fits()
    page.get_by_role("button", name="List A").click()
    page.locator(".item .title").first.click()
    expect(page.locator(".sentence")).to_be_visible(timeout=20_000)
    fits()
    inside = page.evaluate(
        "(() => { const d = document.getElementById('why'); return [d.scrollWidth, d.clientWidth]; })()"
    )
    assert inside[0] <= inside[1]


def test_the_scheme_follows_the_system_and_then_the_button(visit):
    one_scheme_then_the_other(visit)


def test_nothing_moves_for_readers_who_asked_for_that(visit):
    page = visit(**VIEWS["desktop"], reduced_motion="reduce")
    search(page)
    moving = page.evaluate("[...document.querySelectorAll('*')].filter((one) => one.getAnimations().length).length")
    assert moving == 0
    assert page.locator(".item").first.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"
