"""The page that `funneltune explain output=why.html` writes, in headless Chromium."""

from axe_playwright_python.sync_playwright import Axe

from chromium import MARKS, VIEWS, listened
from funneltune.cli import main

pytestmark = MARKS


def test_an_explanation_reads_well_everywhere_and_asks_for_nothing(browser, tmp_path):
    train = [
        *("backbone=tiny", "head=esmm", "objective=entire_space_bce", "tuning=full", "features=all", "baselines=[]"),
        *("data.source.impressions=600", "data.source.items=60", "data.source.queries=20", "data.source.shoppers=40"),
        *("trainer.max_steps=2", "trainer.enable_progress_bar=false", "logger=none", "+data.leaks=ignore"),
    ]
    assert main(["train", f"run_dir={tmp_path / 'run'}", f"data.cache_dir={tmp_path / 'cache'}", *train]) == 0
    written = tmp_path / "why.html"
    words = ["query=red running shoes <b>& more</b>", "item=item-000007", "user=shopper-000003", f"output={written}"]
    assert main(["explain", f"run={tmp_path / 'run'}", *words]) == 0
    said, asked = [], []
    for name, options in VIEWS.items():
        page = listened(browser.new_context(**options), said, asked)
        page.goto(written.as_uri())
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        wide, seen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= seen, name
        assert page.locator("table").count() >= 3
        assert "<b>& more</b>" in page.locator("body").inner_text()  # words are never markup
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", name
        for table in page.locator("table").all():
            assert table.is_visible(), name  # paper unfolds nothing
        assert 1 <= page.pdf(format="A4").count(b"/Type /Page\n") <= 6, name
    assert said == []
    assert set(asked) == {written.as_uri()}
