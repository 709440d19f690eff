"""Leaks, planted one by one and all caught; honest logs, simulated and real, raise no alarm."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from funneltune.data import FeatureColumns, LogDataModule, Simulated, Split, Table, prepare, validate
from funneltune.data.leaks import DEFAULT, Guard, find_leaks, text_columns
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds

DATA = Path(os.environ.get("FUNNELTUNE_DATA", Path(__file__).parents[3] / "shared" / "data"))
FUNNEL = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}})
CLICKS = TaskFunnel.from_config({"click": {}})
BY_TIME = Split(by="time", validation=0.1, test=0.2)
ROWS, PAGE = 6000, 5


def shop(seed=0):
    """A clean log of pages: who, when, what for, five items, and labels that inputs explain in part."""
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(ROWS // PAGE), PAGE)
    item = np.concatenate([rng.permutation(200)[:PAGE] for _ in range(ROWS // PAGE)])
    taste = rng.normal(size=200)
    click = rng.random(ROWS) < 1 / (1 + np.exp(1.8 - taste[item]))
    query = rng.integers(0, 40, ROWS // PAGE)[request]
    return pd.DataFrame(
        {
            "request": request,
            "user": rng.integers(0, 150, ROWS // PAGE)[request],
            "at": 1_700_000_000 + 61.5 * request,
            "query": [f"query number {q}" for q in query],
            "item": item,
            "title": [f"thing of kind {i % 30} and make {i}" for i in item],
            "click": click.astype(int),
            "purchase": (click & (rng.random(ROWS) < 0.3)).astype(int),
            "price": rng.lognormal(size=ROWS),
            "colour": rng.integers(0, 5, ROWS),
            "split": np.select([request < 800, request < 900], ["train", "validation"], "test"),
        }
    )


def table(tmp_path, frame, **changes):
    frame.to_csv(tmp_path / "log.csv", index=False)
    roles = {
        "request": "request",
        "user": "user",
        "time": "at",
        "query_text": {"query": "query"},
        "item": "item",
        "item_text": {"title": "title"},
        "price": "price",
        "categorical": [name for name in ("colour", "state", "split") if name in frame],
        "numeric": [name for name in ("seconds", "score") if name in frame],
        "labels": {"click": "click", "purchase": "purchase"},
    }
    return Table(tmp_path / "log.csv", **{**roles, **changes})


def leaks(tmp_path, frame, funnel=FUNNEL, split=BY_TIME, needs=None, texts=None, source=None):
    source = source or table(tmp_path, frame)
    store = prepare(source, funnel, tmp_path / "cache")
    needs = needs or FeatureNeeds(
        ids=tuple(n for n in ("user", "item", "colour", "state") if "." in n or n in frame),
        numbers=tuple(n for n in ("price", "seconds", "score") if n in frame),
    )
    columns = FeatureColumns(store, needs, np.ones(store.n_rows, dtype=bool))
    texts = {"query": "{query}", "item": "{title}"} if texts is None else texts
    return find_leaks(store, split.cut(store), texts, columns, funnel, split, text_columns(source))


def noise(frame, seed=1):
    return np.random.default_rng(seed).normal(size=len(frame))


def label_in_an_id(frame):
    return frame.assign(state=np.where(frame.click == 1, "seen", "unseen"))


def label_in_a_number(frame):
    return frame.assign(score=frame.click + 1e-3 * noise(frame))


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


def test_identifiers_of_purchases_tell_clicks_although_none_occurs_twice(tmp_path):
    (found,) = leaks(tmp_path, one_id_per_purchase(shop()), CLICKS)
    assert "'state' tells a label on training rows (one of its values has click in" in found.message


def test_an_amount_that_few_rows_have_tells_clicks_although_no_bin_holds_it(tmp_path):
    frame = pd.concat([shop(), shop(1).assign(request=lambda log: log.request + ROWS)], ignore_index=True)
    frame["at"] = 1_700_000_000 + 61.5 * frame.request
    paid = (frame.click == 1) & (np.arange(len(frame)) % 14 == 0)  # one row in a hundred, each another sum
    (found,) = leaks(tmp_path, frame.assign(score=np.where(paid, frame.price, 0.0)), CLICKS)
    assert "features.numbers: 'score' tells a label on training rows (one of its values has click in" in found.message


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_an_input_that_tells_a_label_is_caught_and_nothing_else_is(tmp_path, plant):
    funnel, message = PLANTED[plant]
    (found,) = leaks(tmp_path, plant(shop()), funnel)
    assert found.kind == "label"
    with pytest.raises(DataError, match=message) as refused:
        Guard.parse(None).refuse([found])
    assert "\n" not in str(refused.value)
    assert "AUC 0.02 and 0.98" in str(refused.value)
    assert str(refused.value).endswith("++data.leaks.label=warn")


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


def test_a_feature_that_is_a_label_by_name_is_caught_even_where_rows_are_few(tmp_path):
    needs = FeatureNeeds(numbers=("purchase",))
    (found,) = leaks(tmp_path, shop().iloc[:100], FUNNEL, needs=needs)
    assert "features.numbers: 'purchase' is a label, or the truth behind one" in found.message


def test_too_few_rows_claim_nothing(tmp_path):
    assert leaks(tmp_path, label_in_an_id(shop()).iloc[:100]) == []


def kinds(found):
    return sorted({leak.kind for leak in found})


AT_RANDOM = Split(by="request", validation=0.1, test=0.2)


def logged_twice(frame):
    """The first 120 pages once more, their rows in another order."""
    again = frame[frame.request < 120].sample(frac=1, random_state=0)
    return pd.concat([frame, again.assign(request=again.request + 10_000)], ignore_index=True)


def in_another_split(frame, source, tmp_path):
    """Copied pages of validation and test whose other copy lies elsewhere, one by one."""
    store = prepare(source, FUNNEL, tmp_path / "cache")
    split_of = {r: name for name, requests in AT_RANDOM.cut(store).items() for r in requests}
    copies = store.n_requests - 120
    pairs = [(split_of[first], split_of[copies + place]) for place, first in enumerate(_order(frame))]
    return sum((a != "train") + (b != "train") for a, b in pairs if a != b)


def _order(frame):
    return (frame.request[frame.request >= 10_000].drop_duplicates() - 10_000).tolist()


def test_page_views_that_are_logged_twice_are_caught(tmp_path):
    both = logged_twice(shop())
    found = leaks(tmp_path, both, split=AT_RANDOM)
    assert kinds(found) == ["request", "time"]
    message = next(leak.message for leak in found if leak.kind == "request")
    wanted = in_another_split(both, table(tmp_path, both), tmp_path)
    assert f"{wanted} of 396 requests of validation and test are also in another split" in message
    assert "(same user, query, time and items)" in message
    assert kinds(leaks(tmp_path, both, split=BY_TIME)) == []  # copies of one moment lie side by side


def test_copies_are_caught_without_a_time_where_pages_hold_several_items(tmp_path):
    both = logged_twice(shop())
    (found,) = leaks(tmp_path, both, split=AT_RANDOM, source=table(tmp_path, both, time=None))
    assert "(same user, query and items)" in found.message
    nobody = table(tmp_path, both, time=None, user=None)
    assert leaks(tmp_path, both, split=AT_RANDOM, source=nobody) == []


def test_a_shopper_who_comes_back_is_no_copy(tmp_path):
    both = logged_twice(shop())
    single = table(tmp_path, both, time=None, request=None, one_row_requests=True)
    assert leaks(tmp_path, both, split=AT_RANDOM, source=single) == []
    later = both.request >= 10_000
    both.loc[later & (both.groupby("request").cumcount() == 4), "item"] += 200  # another last item
    both["title"] = [f"thing {i}" for i in both["item"]]
    assert leaks(tmp_path, both, split=AT_RANDOM, source=table(tmp_path, both, time=None)) == []


def test_rows_of_one_page_view_that_are_requests_of_their_own_are_caught(tmp_path):
    frame = shop()
    source = table(tmp_path, frame, request=None, one_row_requests=True)
    found = leaks(tmp_path, frame, split=AT_RANDOM, source=source)
    message = next(leak.message for leak in found if leak.kind == "request")
    assert "share user, query and time with one in another split" in message
    assert "data.source.request" in message


def test_rows_of_one_day_are_not_taken_for_one_page_view(tmp_path):
    frame = shop()
    frame["at"] = 86_400 * (frame.request // 100)
    source = table(tmp_path, frame, request=None, one_row_requests=True)
    assert kinds(leaks(tmp_path, frame, split=AT_RANDOM, source=source)) == ["time"]


@pytest.mark.parametrize("by", ["request", "user", "query"])
def test_a_random_split_of_a_log_with_time_breaks_its_order(tmp_path, by):
    (found,) = leaks(tmp_path, shop(), split=Split(by=by, validation=0.1, test=0.2))
    assert found.kind == "time"
    assert "training requests" in found.message
    assert "use data.split.by=time" in found.message


def test_a_column_that_cuts_breaks_time_order_by_one_request(tmp_path):
    split = Split(by="column", column="split")
    frame = shop()
    assert leaks(tmp_path, frame, split=split) == []
    frame.loc[frame.request == 1000, "split"] = "train"
    (found,) = leaks(tmp_path, frame, split=split)
    assert "data.split.by=column: 1 of 801 training requests (0.1%) are later than the earliest test" in found.message


def test_equal_times_at_the_boundary_are_no_breach(tmp_path):
    frame = shop()
    frame["at"] = 86_400 * (frame.request // 500)
    assert leaks(tmp_path, frame) == []


def test_a_review_that_is_read_to_predict_a_purchase_is_caught(tmp_path):
    frame = shop().assign(body="very nice", rating=4.5)
    texts = {"query": "{query}", "item": "{title} {said}"}
    source = table(tmp_path, frame, item_text={"title": "title", "said": "review_text"})
    source = table(tmp_path, frame.rename(columns={"body": "review_text"}), item_text=source.roles.item_text)
    (found,) = leaks(tmp_path, frame, texts=texts, source=source)
    assert found.kind == "text"
    assert "data.texts.item: {said} (column 'review_text') is named like a buyer's review" in found.message
    assert "would tell purchase" in found.message
    assert leaks(tmp_path, frame, CLICKS, texts=texts, source=source) == []  # no purchase is predicted
    stars = table(tmp_path, frame, item_text={"title": "title", "rating": "rating"})
    assert leaks(tmp_path, frame, texts={"query": "{query}", "item": "{title} {rating}"}, source=stars) == []


def test_a_text_that_is_declared_late_is_caught_under_another_name_of_the_purchase(tmp_path):
    frame = shop().assign(note="nice")
    source = table(
        tmp_path,
        frame,
        item_text={"title": "title", "note": "note"},
        after={"note": "purchase"},
        labels={"bought": "click"},
    )
    funnel = TaskFunnel.from_config({"bought": {}})
    texts = {"query": "{query}", "item": "{title} {note}"}
    (found,) = leaks(tmp_path, frame, funnel, texts=texts, source=source)
    assert "{note} is written after 'purchase' (data.source.after)" in found.message


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_log_raises_no_alarm(tmp_path, seed):
    assert leaks(tmp_path, shop(seed)) == []


@pytest.mark.parametrize("seed", range(4))
def test_the_simulated_marketplace_raises_no_alarm(tmp_path, seed):
    source = Simulated(impressions=12_000, seed=seed, items=1000, queries=300, shoppers=400)
    store = prepare(source, FUNNEL, tmp_path)
    needs = FeatureNeeds(
        ids=("user", "item", "item.brand", "user.segment", "position"),
        numbers=("price", "item.rating", "time"),
        vectors=("image",),
        history=5,
    )
    columns = FeatureColumns(store, needs, np.ones(store.n_rows, dtype=bool))
    texts = {"query": "{query}", "item": "{brand} {title} {rating} {reviews}"}
    assert find_leaks(store, BY_TIME.cut(store), texts, columns, FUNNEL, BY_TIME) == []


SHIPPED = [
    "quickstart",
    "homedepot",
    "homedepot_judged",
    "hillstrom",
    "expedia",
    "taobao",
    "womens_clothing",
    "myntra",
    "census_income",
    "open_bandit",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_data_set_raises_an_alarm(name, monkeypatch):
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from funneltune.cli.compose import compose_config

    monkeypatch.setenv("FUNNELTUNE_DATA", str(DATA))
    if not DATA.is_dir() and name != "quickstart":
        pytest.skip(f"no data sets in {DATA}; set FUNNELTUNE_DATA to a folder that has them")
    cfg = compose_config([f"experiment={name}"])
    data = OmegaConf.to_container(cfg.data, resolve=True)
    source, split = instantiate(cfg.data.source), instantiate(cfg.data.split)
    needs, tasks = FeatureNeeds.offered(data["features"]), TaskFunnel.from_config(data["tasks"])
    found = validate(source, tasks, split, data["texts"], needs, Guard.parse(data.get("leaks")))
    assert found.leaks == []


# --- what is done about them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        (None, DEFAULT),
        ("warn", dict.fromkeys(DEFAULT, "warn")),
        ({"label": "ignore"}, {**DEFAULT, "label": "ignore"}),
    ],
)
def test_one_word_or_one_per_kind(node, wanted):
    assert Guard.parse(node).words == wanted


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("refuze", "data.leaks='refuze' is no word for it, nearest: refuse; data.leaks takes refuse, warn or ignore"),
        ({"lable": "warn"}, "data.leaks.lable is no kind of leak, nearest: label"),
        ({"time": "warm", "txt": "warn"}, "time='warm' is no word for it, nearest: warn; data.leaks.txt is no kind"),
        (3, "data.leaks=3 must be a word or a mapping"),
        ({"time": None}, "data.leaks.time=None is no word"),
    ],
)
def test_words_and_kinds_that_are_none_are_refused_in_one_line(node, message):
    with pytest.raises(ConfigError, match=message) as error:
        Guard.parse(node)
    assert "\n" not in str(error.value)


def planted_module(tmp_path, leaks, **changes):
    frame = label_in_a_number(label_in_an_id(shop()))
    arguments = {
        "source": table(tmp_path, frame),
        "tasks": FUNNEL,
        "split": AT_RANDOM,
        "texts": None,
        "tokenizer": None,
        "interaction": "none",
        "cache_dir": tmp_path / "cache",
        "features": FeatureNeeds(ids=("user", "state"), buckets=100, numbers=("score",)),
        "leaks": leaks,
    }
    return LogDataModule(**arguments | changes)


def test_a_fit_is_refused_with_all_leaks_and_what_would_allow_them(tmp_path):
    data = planted_module(tmp_path, "refuse")
    with pytest.raises(DataError, match="^leaks: .*'state'.*'score'.*split.by=request") as error:
        data.setup("fit")
    assert str(error.value).endswith("To run all the same: ++data.leaks.label=warn ++data.leaks.time=warn")
    with pytest.raises(DataError, match="^leaks: "):
        data.setup("fit")


def test_warnings_are_said_once_and_kept_for_the_record(tmp_path, caplog):
    data = planted_module(tmp_path, {"label": "warn", "time": "ignore"})
    with caplog.at_level("WARNING", "funneltune"):
        data.setup("fit")
        data.setup("fit")
    said = [record.getMessage() for record in caplog.records]
    assert [text[:13] for text in said] == ["leak (label):"] * 2
    assert {leak["kind"] for leak in data.leaks_found} == {"label"}
    assert {leak["action"] for leak in data.leaks_found} == {"warn"}
    assert all(type(value) is str for leak in data.leaks_found for value in leak.values())


@pytest.mark.parametrize("stage", [None, "test", "validate", "predict"])
def test_only_a_fit_is_guarded(tmp_path, stage):
    data = planted_module(tmp_path, "refuse")
    data.setup(stage)
    assert data.leaks_found == []


def test_a_run_that_does_not_read_a_column_is_not_refused_for_it(tmp_path):
    needs = FeatureNeeds(ids=("user",), buckets=100)
    planted_module(tmp_path, {"time": "ignore"}, features=needs).setup("fit")


def test_validate_refuses_or_reports_without_training(tmp_path):
    source = table(tmp_path, label_in_an_id(shop()))
    needs = FeatureNeeds(ids=("state",))
    with pytest.raises(DataError, match="'state' tells a label"):
        validate(source, FUNNEL, BY_TIME, None, needs)
    found = validate(source, FUNNEL, BY_TIME, None, needs, Guard.parse({"label": "warn"}))
    assert "warning, leak (label): features.ids: 'state' tells a label" in found.in_words()
