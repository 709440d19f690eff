"""One browser for the tests of a file."""

import pytest

from chromium import launched


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started
