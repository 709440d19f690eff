"""What a log offers to pick from: its queries and shoppers, and under pseudonyms no words."""

from types import SimpleNamespace

import pytest

from funneltune.serving import LogChoices
from made_up import Rows


def test_the_most_frequent_come_first_with_what_the_log_tells_of_them():
    found = LogChoices(Rows())
    assert [one["key"] for one in found.queries.of("", 9)] == ["shoes", "lamp"]
    assert found.users.of("b", 9) == [{"key": "bob", "requests": 2, "about": {"segment": ""}}]


@pytest.mark.tried("persons", "leak")
def test_queries_under_pseudonyms_are_not_offered():
    rows = Rows()
    rows.shown = SimpleNamespace(hides=lambda side: side == "query")
    found = LogChoices(rows)
    assert found.queries.of("", 9) == []
    assert len(found.users.of("", 9)) == 2  # whose keys are pseudonyms then
