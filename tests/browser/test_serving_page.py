"""The page of `funneltune serve` over two runs, in headless Chromium."""

import os
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from chromium import MARKS, VIEWS, listened
from funneltune.cli import main

TOKEN = "a-token-of-letters"

pytestmark = MARKS


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one log; what they say depends on the shopper's past."""
    folder = tmp_path_factory.mktemp("page")
    common = [
        *("backbone=tiny", "head=esmm", "objective=entire_space_bce", "baselines=[]", "logger=none", "tuning=full"),
        *("data.source.impressions=6000", "data.source.items=150", "data.source.queries=30"),
        *("data.source.shoppers=40", "+data.leaks=ignore", "features=ids"),
        *("trainer.enable_progress_bar=false", f"data.cache_dir={folder / 'cache'}"),
    ]
    for name, steps in (("run_0", 20), ("run_1", 24)):
        assert main(["train", f"run_dir={folder / name}", f"trainer.max_steps={steps}", *common]) == 0
    return folder / "run_0", folder / "run_1"


def started(*words, **environment):
    """A server's process and address."""
    command = [sys.executable, "-m", "funneltune", "serve", "port=0", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | environment
    )
    line = process.stdout.readline()
    assert line.startswith("serving ")
    return process, line.partition(" at ")[2].split(" ")[0] + "/"


def ended(process):
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def address(runs):
    process, at = started(f"run={runs[0]}", f"run_b={runs[1]}")
    yield at
    ended(process)


@pytest.fixture
def guarded(runs):
    """One run alone, for everyone who has the token."""
    process, at = started(f"run={runs[0]}", "host=0.0.0.0", FUNNELTUNE_TOKEN=TOKEN)
    yield at
    ended(process)


@pytest.fixture
def visit(browser, address):
    """Opens the page; at the end nothing may have been said on the console, nor asked of anyone but the server."""
    contexts, said, asked = [], [], {}

    def opened(path="", at=address, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = listened(context, said, asked.setdefault(at, []))
        page.goto(at + path)
        return page

    opened.said = said
    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert all(url.startswith(at) for at, urls in asked.items() for url in urls)


def search(page, words="running shoes"):
    page.get_by_label("Query", exact=True).fill(words)
    page.keyboard.press("Enter")
    expect(page.locator(".item").first).to_be_visible()


def titles(page, place=0):
    return page.locator(".items").nth(place).locator(".title").all_inner_texts()


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.className")


def test_a_search_shows_both_lists_with_probabilities_prices_and_what_moved(visit):
    page = visit(**VIEWS["desktop"])
    expect(page.get_by_role("heading", name="Ask for something")).to_be_visible()
    search(page)
    assert page.locator(".list h2 .name").all_inner_texts() == ["run_0", "run_1"]
    assert page.locator(".items").nth(0).locator(".item").count() == 10
    first = page.locator(".item").first
    assert first.locator("dt").all_inner_texts() == ["p(click)", "p(purchase | click)", "p(click and purchase)"]
    assert all(text.endswith("%") for text in first.locator("dd").all_inner_texts())
    assert float(first.locator(".price").inner_text().split()[-1].replace(",", "")) > 0
    a, b = titles(page, 0), titles(page, 1)
    assert a != b
    badges = page.locator(".items").nth(0).locator(".badge").all()
    assert len(badges) == 10
    assert any(badge.get_attribute("class").split()[1] in {"up", "down", "new"} for badge in badges)
    expect(page.get_by_role("status")).to_contain_text("150 candidates")
    expect(page.get_by_role("status")).to_contain_text("in both lists")


def test_badges_say_how_far_an_item_is_from_its_place_in_the_other_list(visit):
    page = visit(**VIEWS["desktop"])
    search(page)
    b = {
        item.get_attribute("data-item"): n
        for n, item in enumerate(page.locator(".items").nth(1).locator(".item").all(), 1)
    }
    checked = 0
    for place, item in enumerate(page.locator(".items").nth(0).locator(".item").all(), 1):
        if item.get_attribute("data-item") in b:
            move = b[item.get_attribute("data-item")] - place
            wanted = "=" if move == 0 else f"↑ {move}" if move > 0 else f"↓ {-move}"
            assert item.locator(".badge [aria-hidden]").inner_text() == wanted
            checked += 1
    assert checked


def test_another_shopper_or_ranking_makes_another_list(visit):
    page = visit(**VIEWS["desktop"])
    with page.expect_response("**/rank") as before:
        search(page)
    page.get_by_role("combobox", name="Shopper").click()
    with page.expect_response("**/rank") as after:
        page.locator("#user-list [role=option]").first.click()
    shopper = page.get_by_role("combobox", name="Shopper").input_value()
    assert after.value.request.post_data_json["user"] == shopper != ""
    anyone, own = ([one["value"] for one in found.value.json()["ranked"]] for found in (before, after))
    assert own != anyone
    page.get_by_label("Rank by").select_option(value="revenue")
    page.wait_for_function("() => document.querySelector('#results:not([aria-busy])')")
    prices = [
        float(text.split()[-1].replace(",", ""))
        for text in page.locator(".items").nth(0).locator(".price").all_inner_texts()
    ]
    assert sum(prices) / len(prices) > 0
    page.get_by_label("Candidates").select_option("lexical")
    expect(page.get_by_role("status")).not_to_contain_text("150 candidates")


def test_filters_thin_the_lists_out(visit):
    page = visit(**VIEWS["desktop"])
    page.get_by_text("Filters").click()
    page.get_by_label("Price from").fill("40")
    page.get_by_label("Price to").fill("60")
    search(page)
    prices = [float(text.split()[-1]) for text in page.locator(".price").all_inner_texts()]
    assert all(40 <= price <= 60 for price in prices)
    page.get_by_label("Price to").fill("40.0001")
    page.get_by_role("button", name="Rank", exact=True).click()
    expect(page.locator("#problem")).to_have_text("rules leave none of the 150 items: price drops 150.")
    for _ in range(100):  # both runs refuse; the console tells of each in its own time
        if len(visit.said) == 2:
            break
        page.wait_for_timeout(50)
    assert len(visit.said) == 2
    assert all("422" in line for line in visit.said)
    visit.said.clear()


def test_a_named_ranking_orders_both_lists_and_badges_say_which_rule_moved_an_item(visit):
    page = visit(**VIEWS["desktop"])
    search(page)
    assert page.locator(".mark").count() == 0
    named = page.locator("#by optgroup[label='Named rankings'] option")
    assert named.all_inner_texts() == ["purchases", "revenue", "fair sellers", "storefront", "varied"]
    seen = {}
    for name in ("varied", "fair_sellers", "storefront"):
        with page.expect_response("**/rank") as answer:
            page.get_by_label("Rank by").select_option(value=f"ranking:{name}")
        ranked = answer.value.json()["ranked"]
        assert answer.value.request.post_data_json["ranking"] == answer.value.json()["ranking"] == name
        page.wait_for_function("() => document.querySelector('#results:not([aria-busy])')")
        items = page.locator(".items").nth("ab".index(answer.value.json()["run"])).locator(".item").all()
        for one, item in zip(ranked, items, strict=False):
            marks = item.locator(".mark").all_inner_texts()
            seen[name] = [*seen.get(name, []), *marks]
            assert ("diversified" in marks) == ("diversity" in one["why"])
            assert ("fair share" in marks) == ("exposure" in one["why"])
            if marks and one["before"] != one["place"]:
                expect(item.locator(".marks")).to_contain_text(f"{one['before']} by value alone")
    assert "fair share" in seen["fair_sellers"]
    assert "diversified" in [*seen["varied"], *seen["storefront"]]
    marked = page.locator(".item:has(.mark)").first
    marked.locator(".title").click()
    expect(page.get_by_role("dialog").get_by_role("rowheader", name="moved by")).to_be_visible()
    page.keyboard.press("Escape")
    assert "by=ranking%3Astorefront" in page.evaluate("location.hash")


def test_boosts_pins_and_limits_have_badges(visit):
    page = visit(**VIEWS["desktop"])
    why = ["pinned", "boost x1.5; diversity", "bury x0.5", "at most: brand, seller", "others moved down", ""]

    def told(route):
        answer = route.fetch()
        body = answer.json()
        for one, words in zip(body["ranked"], why, strict=False):
            one["why"] = words
        route.fulfill(response=answer, json=body)

    page.route("**/rank", told)
    search(page)
    items = page.locator(".items").first.locator(".item")
    found = [items.nth(n).locator(".mark").all_inner_texts() for n in range(len(why))]
    boosted, buried = "boosted \N{MULTIPLICATION SIGN}1.5", "buried \N{MULTIPLICATION SIGN}0.5"
    assert found == [["pinned"], [boosted, "diversified"], [buried], ["at most: brand, seller"], [], []]


def test_the_difference_is_a_picture_and_a_table(visit):
    page = visit(**VIEWS["desktop"])
    search(page)
    page.get_by_role("button", name="Difference").click()
    assert page.locator("#slope text").count() == 20
    assert page.locator("#slope path").count() >= 1
    rows = page.locator("#diff-table tbody tr")
    assert rows.count() >= 20
    for row in rows.all()[:8]:
        a, b, badge = (
            row.locator("td").nth(0).inner_text(),
            row.locator("td").nth(1).inner_text(),
            row.locator(".badge").inner_text(),
        )
        if a.isdigit() and b.isdigit():
            move = int(a) - int(b)
            assert badge == ("=" if move == 0 else f"↑ {move}" if move > 0 else f"↓ {-move}")
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".item").first).to_be_visible()


def test_an_explanation_opens_on_a_click_and_adds_up(visit):
    page = visit(**VIEWS["desktop"])
    search(page)
    title = titles(page)[1]
    page.locator(".item .title").nth(1).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(dialog.locator(".sentence")).to_contain_text("“running shoes”", timeout=20_000)
    assert [word.inner_text() for word in dialog.locator(".words-told").first.locator(".word").all()] == [
        "running",
        "shoes",
    ]
    expect(dialog.get_by_text("the pushes add up to it within")).to_be_visible()
    assert dialog.locator(".pushes li").count() > 1
    dialog.get_by_label("Probability").select_option("ctr")
    expect(dialog.locator(".sentence")).to_contain_text("(ctr", timeout=20_000)
    dialog.get_by_label("Run").select_option("b")
    expect(dialog.locator(".sentence")).to_be_visible(timeout=20_000)
    words = dialog.locator(".words-told").nth(1).locator(".word")
    assert " ".join(words.all_inner_texts()) == title
    assert all(word.get_attribute("title") for word in words.all())
    told = {text.strip() for text in dialog.locator(".pushes .push-name .quiet").all_inner_texts()}
    assert told - {"query", "title"}, told  # features push, too
    expect(dialog.get_by_role("region", name="Table: Shares near and everywhere")).to_be_visible()
    assert dialog.get_by_role("region", name="Table: What if").locator("tbody tr").count() > 2
    dialog.get_by_text("nearest impression").click()
    assert dialog.get_by_role("region", name="Table: Nearest training impressions").locator("tbody tr").count() > 2
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    page.locator(".item .title").nth(1).click()
    expect(dialog.locator(".sentence")).to_be_visible(timeout=20_000)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


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
    expect(page.locator(".item").first).to_be_visible()
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
    def background(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit(**VIEWS["desktop"]), visit(**VIEWS["dark"])
    colours = background(light), background(dark)
    assert colours[0] != colours[1]
    light.get_by_role("button", name="Dark scheme").click()
    dark.get_by_role("button", name="Light scheme").click()
    assert (background(light), background(dark)) == (colours[1], colours[0])


def test_nothing_moves_for_readers_who_asked_for_that(visit):
    page = visit(**VIEWS["desktop"], reduced_motion="reduce")
    search(page)
    moving = page.evaluate("[...document.querySelectorAll('*')].filter((one) => one.getAnimations().length).length")
    assert moving == 0
    assert page.locator(".item").first.evaluate("one => getComputedStyle(one).transitionDuration") == "0s"


def test_the_address_keeps_what_was_asked(visit, address):
    page = visit(**VIEWS["desktop"])
    search(page, "desk lamp")
    kept = page.evaluate("location.hash")
    assert "query=desk+lamp" in kept
    again = visit(kept, **VIEWS["desktop"])
    expect(again.locator(".item").first).to_be_visible()
    assert titles(again) == titles(page)


def test_more_places_are_shown_on_demand(visit):
    page = visit(**VIEWS["desktop"])
    search(page)
    page.get_by_role("button", name="Show 10 more").click()
    assert page.locator(".items").nth(0).locator(".item").count() == 20
    assert page.evaluate("document.activeElement.textContent") == titles(page)[10]


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
