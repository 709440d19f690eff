"""The page of `funneltune serve` in trouble: no answer, a late one, words that look like markup, a wrong token."""

from playwright.sync_api import expect

from chromium import MARKS, VIEWS
from serving_pages import TOKEN, search

pytestmark = MARKS


def test_a_mistake_is_told_on_the_page(visit):
    page = visit(**VIEWS["desktop"])
    page.route("**/rank", lambda route: route.abort())
    page.get_by_label("Query", exact=True).fill("shoes")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_have_text("The server does not answer. Is it still running?")
    page.unroute("**/rank")
    search(page)
    expect(page.locator("#problem")).to_be_hidden()
    assert all("ERR_FAILED" in line for line in visit.said)
    visit.said.clear()


def test_while_the_server_thinks_the_page_says_so(visit):
    page = visit(**VIEWS["desktop"])
    held = []
    page.route("**/rank", lambda route: held.append(route))  # noqa: PLW0108 (its type takes no method)
    page.get_by_label("Query", exact=True).fill("shoes")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Ranking…")
    expect(page.locator("#results")).to_have_attribute("aria-busy", "true")
    assert page.locator(".ghost").count() > 4
    for route in held:
        route.continue_()
    expect(page.locator(".item .title").first).to_be_visible()
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")


def test_words_of_the_log_are_text_and_never_markup(visit):
    page = visit(**VIEWS["desktop"])
    search(page, "<img src=x onerror=alert(1)>")
    assert page.locator("#results img").count() == 0


def test_one_run_is_one_list_behind_a_token(visit, guarded):
    at = guarded.replace("0.0.0.0", "127.0.0.1")
    page = visit(at=at, **VIEWS["desktop"])
    page.get_by_role("textbox", name="Token").fill("not-the-token-at-all")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("That is not this server's token.")).to_be_visible()
    page.get_by_role("textbox", name="Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="run_0")).to_be_visible()
    search(page)
    assert page.locator(".list").count() == 1
    assert page.locator(".badge").count() == 0
    expect(page.get_by_role("button", name="Difference")).to_be_hidden()
    assert all("401" in line for line in visit.said)
    visit.said.clear()
