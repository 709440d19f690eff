"""Inputs that tell a label, planted one by one: all caught; honest ones raise no alarm."""

import numpy as np
import pandas as pd
import pytest

from funneltune.data.leaks import Guard
from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds
from shops import CLICKS, FUNNEL, ROWS, label_in_a_number, label_in_an_id, leaks, noise, shop, table


def label_in_an_inverted_number(frame):
    return frame.assign(score=100 - 50 * frame.click + 5 * noise(frame))


def dwell_time(frame):
    return frame.assign(seconds=np.where(frame.click == 1, np.exp(2 + noise(frame)), 0.0))


def label_in_a_number_without_order(frame):
    return frame.assign(score=np.where(frame.click == 1, 0.0, np.sign(noise(frame)) * (1 + noise(frame, 2) ** 2)))


def label_word_in_the_title(frame):
    return frame.assign(
        item=[f"{i}-{row}" for row, i in enumerate(frame.item)],
        title=[f"{t}{' bestseller' if c else ''}" for t, c in zip(frame.title, frame.click, strict=True)],
    )


def label_word_in_the_query(frame):
    words = np.where(frame.click == 1, "found ", "lost ")
    return frame.assign(query=words + frame["query"])


def word_that_no_click_has(frame):
    return frame.assign(query=frame["query"] + np.where(frame.click == 1, "", " ignored"))


def label_as_number_in_the_query(frame):
    places = np.random.default_rng(0).permutation(len(frame)) + 1000
    return frame.assign(query=np.where(frame.click == 1, 100_000 + places, places).astype(str))


def purchase_state(frame):
    return frame.assign(state=np.where(frame.purchase == 1, "paid", "open"))


def one_id_per_purchase(frame):
    return frame.assign(state=np.where(frame.purchase == 1, [f"order-{i}" for i in range(len(frame))], "none"))


def purchase_amount(frame):
    return frame.assign(score=np.where(frame.purchase == 1, frame.price, 0.0))


PLANTED = {
    label_in_an_id: (FUNNEL, r"features.ids: 'state' tells a label .*AUC 1.000 for click, by value"),
    one_id_per_purchase: (FUNNEL, r"features.ids: 'state' tells a label .*AUC 1.000 for purchase, by value"),
    label_in_a_number: (FUNNEL, r"features.numbers: 'score' tells a label .*AUC 1.000 for click"),
    label_in_an_inverted_number: (FUNNEL, r"features.numbers: 'score' tells a label .*AUC 0.000 for click"),
    dwell_time: (FUNNEL, r"features.numbers: 'seconds' tells a label .*AUC 1.000 for click"),
    label_in_a_number_without_order: (FUNNEL, r"'score' tells a label .*AUC \S+ for click, by value"),
    label_word_in_the_title: (FUNNEL, r"data.texts.item: {title} .*AUC 1.000 for click, by the word 'bestseller'"),
    label_word_in_the_query: (FUNNEL, r"data.texts.query: {query} .*AUC 1.000 for click, by the word '(found|lost)'"),
    label_as_number_in_the_query: (FUNNEL, r"data.texts.query: {query} .*AUC 1.000 for click"),
    purchase_state: (CLICKS, r"features.ids: 'state' .*one of its values has click in (\S+) of its \1 rows"),
    word_that_no_click_has: (FUNNEL, r"data.texts.query: {query} .*AUC 1.000 for click, by the word 'ignored'"),
    purchase_amount: (CLICKS, r"features.numbers: 'score' .*one of its values has click in (\S+) of its \1 rows"),
}


@pytest.mark.tried("leakage", "leak")
def test_identifiers_of_purchases_tell_clicks_although_none_occurs_twice(tmp_path):
    (found,) = leaks(tmp_path, one_id_per_purchase(shop()), CLICKS)
    assert "'state' tells a label on training rows (one of its values has click in" in found.message


@pytest.mark.tried("leakage", "leak")
def test_an_amount_that_few_rows_have_tells_clicks_although_no_bin_holds_it(tmp_path):
    frame = pd.concat([shop(), shop(1).assign(request=lambda log: log.request + ROWS)], ignore_index=True)
    frame["at"] = 1_700_000_000 + 61.5 * frame.request
    paid = (frame.click == 1) & (np.arange(len(frame)) % 14 == 0)  # one row in a hundred, each another sum
    (found,) = leaks(tmp_path, frame.assign(score=np.where(paid, frame.price, 0.0)), CLICKS)
    assert "features.numbers: 'score' tells a label on training rows (one of its values has click in" in found.message


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
@pytest.mark.tried("leakage", "leak")
def test_an_input_that_tells_a_label_is_caught_and_nothing_else_is(tmp_path, plant):
    funnel, message = PLANTED[plant]
    (found,) = leaks(tmp_path, plant(shop()), funnel)
    assert found.kind == "label"
    with pytest.raises(DataError, match=message) as refused:
        Guard.parse(None).refuse([found])
    assert "\n" not in str(refused.value)
    assert "AUC 0.02 and 0.98" in str(refused.value)
    assert str(refused.value).endswith("++data.leaks.label=warn")


@pytest.mark.tried("leakage", "leak")
def test_one_dimension_of_a_vector_that_tells_a_label_is_caught(tmp_path):
    frame = shop()
    frame["click"] = (frame.item % 4 == 0).astype(int)
    frame["purchase"] = 0
    rng = np.random.default_rng(3)
    vector = rng.normal(size=(200, 12)).round(3)
    vector[:, 7] = np.where(np.arange(200) % 4 == 0, -1, 1) + 0.1 * rng.normal(size=200)
    frame["image"] = [" ".join(map(str, vector[i])) for i in frame.item]
    source = table(tmp_path, frame, vectors={"image": "image"})
    needs = FeatureNeeds(vectors=("image",))
    (found,) = leaks(tmp_path, frame, CLICKS, needs=needs, texts={}, source=source)
    assert (
        "features.vectors: dimension 7 of 'image' tells a label on training rows (AUC 0.000 for click)" in found.message
    )


@pytest.mark.parametrize(
    ("task", "column", "message"),
    [
        ({"kind": "ordinal", "levels": [1, 2, 3]}, "score", "AUC 1.000 for outcome, by value"),
        ({"kind": "multiclass", "levels": [1, 2, 3]}, "state", "AUC 1.000 for outcome, by value"),
        ({"kind": "regression"}, "score", "Spearman (1.000|0.999) with outcome"),
        ({"kind": "regression"}, "state", "Spearman 1.000 with outcome, by value"),
    ],
)
@pytest.mark.tried("leakage", "leak")
def test_labels_that_are_levels_or_numbers_are_guarded_too(tmp_path, task, column, message):
    frame = shop()
    outcome = np.random.default_rng(5).integers(1, 4, len(frame))
    exact = frame.assign(outcome=outcome)
    planted = exact.assign(**{column: outcome + 1e-3 * noise(frame) if column == "score" else outcome})
    if task == {"kind": "regression"} and column == "score":
        planted["outcome"] = 7.0 + planted.score
    funnel = TaskFunnel.from_config({"outcome": task})
    for log, wanted in ((exact, 0), (planted, 1)):
        found = leaks(tmp_path, log, funnel, source=table(tmp_path, log, labels={"outcome": "outcome"}))
        assert len(found) == wanted
    with pytest.raises(DataError, match=message):
        Guard.parse("refuse").refuse(found)


def test_one_word_that_names_one_of_several_levels_is_no_leak_and_words_for_all_are(tmp_path):
    frame = shop()
    need = np.random.default_rng(5).integers(1, 4, len(frame))
    funnel = TaskFunnel.from_config({"need": {"kind": "multiclass", "levels": [1, 2, 3]}})
    for words, told in ((["a lamp", "a thing", "a thing"], 0), (["a lamp", "a rug", "a couch"], 1)):
        log = frame.assign(need=need, query=[words[level - 1] for level in need])
        found = leaks(tmp_path, log, funnel, source=table(tmp_path, log, labels={"need": "need"}))
        assert len(found) == told
    assert "by the words 'lamp', 'rug', 'couch'" in found[0].message


@pytest.mark.tried("leakage", "leak")
def test_a_feature_that_is_a_label_by_name_is_caught_even_where_rows_are_few(tmp_path):
    needs = FeatureNeeds(numbers=("purchase",))
    (found,) = leaks(tmp_path, shop().iloc[:100], FUNNEL, needs=needs)
    assert "features.numbers: 'purchase' is a label, or the truth behind one" in found.message


def test_too_few_rows_claim_nothing(tmp_path):
    assert leaks(tmp_path, label_in_an_id(shop()).iloc[:100]) == []
