"""One browser for the tests of a file; two runs and their servers for the tests of the page of `funneltune serve`."""

import pytest

from chromium import launched, listened
from funneltune.cli import main
from serving_pages import TOKEN, ended, started


@pytest.fixture(scope="module")
def browser():
    with launched() as one:
        yield one


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
