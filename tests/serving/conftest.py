"""A server over a scorer that is made up, for as long as a test runs."""

import pytest

from funneltune.serving import LogChoices, make_app
from made_up import Client, served


@pytest.fixture
def serve():
    """Builds a server over made-up runs; its model thread ends with the test."""
    made = []

    def build(*runs, **options):
        runs = runs or (served(),)
        app = make_app(runs, LogChoices(runs[0].catalogue.rows), **options)
        made.append(app)
        return Client(app)

    yield build
    for app in made:
        assert app.app.state.exchange.models.stop()
