"""What tests of the page of `funneltune serve` share: servers that start and end, and what a visitor does and sees."""

import os
import subprocess
import sys

from playwright.sync_api import expect

TOKEN = "a-token-of-letters"


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


def answered(page):
    """Waits for the lists themselves: grey placeholders are items, too, while the server thinks."""
    expect(page.locator("#results:not([aria-busy]) .item .title").first).to_be_visible()


def search(page, words="running shoes"):
    page.get_by_label("Query", exact=True).fill(words)
    page.keyboard.press("Enter")
    answered(page)


def titles(page, place=0):
    return page.locator(".items").nth(place).locator(".title").all_inner_texts()


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.className")
