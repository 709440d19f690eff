"""A run for what is tested in more than one file."""

import pytest

from small_market import train


@pytest.fixture(scope="session")
def market_run(tmp_path_factory):
    """LoRA over texts alone."""
    return train(tmp_path_factory.mktemp("twin"), "tuning=lora", "features=none")
