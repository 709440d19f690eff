"""What a report says of privacy, and of a record that someone has changed."""

import pytest

from funneltune.errors import RunError
from funneltune.records import RecordFolder, RunRecord, StoredRun
from funneltune.reporting.privacy import privacy_in_words, privacy_section

PROMISE = {"epsilon": 2.994, "delta": 2.4e-6, "unit": "shopper", "noise_multiplier": 1.1, "clip": 1.0} | {
    "sample_rate": 0.01,
    "steps": 1234,
    "not_covered": ["validation and test rows"],
}


def folder(tmp_path, *promises):
    runs = [
        StoredRun(RunRecord(name="a", status="finished", privacy=found), tmp_path / f"{n}.json", f"cell={n}", None)
        for n, found in enumerate(promises)
    ]
    return RecordFolder(tmp_path, tuple(runs))


def test_a_promise_is_told_in_words_and_as_a_row(tmp_path):
    assert privacy_in_words(PROMISE) == "epsilon 2.99 at delta 2.4e-06 for each shopper"
    section = privacy_section(folder(tmp_path, PROMISE, {"guarantee": "none"}), {})
    assert section.rows[0] == ("cell=0", "2.99", "2.4e-06", "shopper", "1.10", "1", "0.0100", "1,234")
    assert section.rows[1] == ("cell=1", "none", *["-"] * 6)


@pytest.mark.tried("bad_config", "bad_input")
@pytest.mark.parametrize("key", ["epsilon", "delta", "noise_multiplier", "clip", "sample_rate", "steps"])
@pytest.mark.parametrize("value", ["0.001", None, [1], float("nan"), True])
def test_a_promise_that_is_no_number_is_refused_in_a_line(tmp_path, key, value):
    with pytest.raises(RunError, match=rf"a record's privacy.{key}=.* must be a number; restore") as caught:
        privacy_section(folder(tmp_path, PROMISE | {key: value}), {})
    assert "\n" not in str(caught.value)
