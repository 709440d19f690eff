"""What tests of pages in headless Chromium share: the program, ways to look, marks, a page that is listened to."""

import os
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"),
]
VIEWS = {
    "desktop": {"viewport": {"width": 1400, "height": 900}},
    "dark": {"viewport": {"width": 1400, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True},
}


@contextmanager
def launched():
    """A browser."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


def listened(context, said, asked):
    """A page whose console, faults and requests are written down."""
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return page


def one_scheme_then_the_other(visit):
    """A page is light or dark as the system is, until its button says otherwise. `visit` opens the page."""

    def background(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit(**VIEWS["desktop"]), visit(**VIEWS["dark"])
    colours = background(light), background(dark)
    assert colours[0] != colours[1]
    light.get_by_role("button", name="Dark scheme").click()
    dark.get_by_role("button", name="Light scheme").click()
    assert (background(light), background(dark)) == (colours[1], colours[0])
