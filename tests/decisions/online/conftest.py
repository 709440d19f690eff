"""One small run on a log of the marketplace, and its shop."""

import pytest

from funneltune.cli import main
from funneltune.decisions.online import Shop
from online_runs import SMALL


@pytest.fixture(scope="session")
def online_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("online")
    assert main(["train", f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}", *SMALL]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def shop(online_run):
    return Shop.of_run(online_run, taste_shift=1.0, candidates=40, components=16)
