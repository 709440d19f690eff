import pytest

from funneltune.cli.compose import compose_config
from funneltune.errors import Interrupted
from funneltune.runs import train
from stopping import Stops, words


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def stopped(cache, tmp_path, monkeypatch):
    """A run that was stopped after five steps, and took a checkpoint there."""
    with monkeypatch.context() as patched:
        Stops(patched, 5)
        with pytest.raises(Interrupted) as caught:
            train(compose_config(words(cache)), tmp_path / "run")
    assert caught.value.code == 143
    return tmp_path / "run"
