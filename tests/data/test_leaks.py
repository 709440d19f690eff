"""Splits and texts that leak, planted one by one: all caught; honest logs, simulated and real, raise no alarm."""

import numpy as np
import pandas as pd
import pytest

from funneltune.data import FeatureColumns, LogDataModule, Simulated, Split, prepare, validate
from funneltune.data.leaks import DEFAULT, Guard, find_leaks
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import FeatureNeeds
from shops import BY_TIME, CLICKS, DATA, FUNNEL, PAGE, ROWS, label_in_a_number, label_in_an_id, leaks, shop, table


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


@pytest.mark.tried("leakage", "leak")
def test_page_views_that_are_logged_twice_are_caught(tmp_path):
    both = logged_twice(shop())
    found = leaks(tmp_path, both, split=AT_RANDOM)
    assert kinds(found) == ["request", "time"]
    message = next(leak.message for leak in found if leak.kind == "request")
    wanted = in_another_split(both, table(tmp_path, both), tmp_path)
    assert f"{wanted} of 396 requests of validation and test are also in another split" in message
    assert "(same user, query, time and items)" in message
    assert kinds(leaks(tmp_path, both, split=BY_TIME)) == []  # copies of one moment lie side by side


@pytest.mark.tried("leakage", "leak")
def test_copies_are_caught_without_a_time_where_pages_hold_several_items(tmp_path):
    both = logged_twice(shop())
    (found,) = leaks(tmp_path, both, split=AT_RANDOM, source=table(tmp_path, both, time=None))
    assert "(same user, query and items)" in found.message
    nobody = table(tmp_path, both, time=None, user=None)
    assert leaks(tmp_path, both, split=AT_RANDOM, source=nobody) == []


@pytest.mark.tried("leakage", "fault")
def test_a_shopper_who_comes_back_is_no_copy(tmp_path):
    both = logged_twice(shop())
    single = table(tmp_path, both, time=None, request=None, one_row_requests=True)
    assert leaks(tmp_path, both, split=AT_RANDOM, source=single) == []
    later = both.request >= 10_000
    both.loc[later & (both.groupby("request").cumcount() == 4), "item"] += 200  # another last item
    both["title"] = [f"thing {i}" for i in both["item"]]
    assert leaks(tmp_path, both, split=AT_RANDOM, source=table(tmp_path, both, time=None)) == []


@pytest.mark.tried("leakage", "leak")
def test_rows_of_one_page_view_that_are_requests_of_their_own_are_caught(tmp_path):
    frame = shop()
    source = table(tmp_path, frame, request=None, one_row_requests=True)
    found = leaks(tmp_path, frame, split=AT_RANDOM, source=source)
    message = next(leak.message for leak in found if leak.kind == "request")
    assert "share user, query and time with one in another split" in message
    assert "data.source.request" in message


@pytest.mark.tried("leakage", "fault")
def test_rows_of_one_day_are_not_taken_for_one_page_view(tmp_path):
    frame = shop()
    frame["at"] = 86_400 * (frame.request // 100)
    source = table(tmp_path, frame, request=None, one_row_requests=True)
    assert kinds(leaks(tmp_path, frame, split=AT_RANDOM, source=source)) == ["time"]


@pytest.mark.parametrize("by", ["request", "user", "query"])
@pytest.mark.tried("leakage", "leak")
def test_a_random_split_of_a_log_with_time_breaks_its_order(tmp_path, by):
    (found,) = leaks(tmp_path, shop(), split=Split(by=by, validation=0.1, test=0.2))
    assert found.kind == "time"
    assert "training requests" in found.message
    assert "use data.split.by=time" in found.message


@pytest.mark.tried("leakage", "leak")
def test_a_column_that_cuts_breaks_time_order_by_one_request(tmp_path):
    split = Split(by="column", column="split")
    frame = shop()
    assert leaks(tmp_path, frame, split=split) == []
    frame.loc[frame.request == 1000, "split"] = "train"
    (found,) = leaks(tmp_path, frame, split=split)
    assert "data.split.by=column: 1 of 801 training requests (0.1%) end later than the earliest test" in found.message


@pytest.mark.tried("leakage", "leak")
def test_training_requests_that_last_into_the_test_break_time_order(tmp_path):
    frame = shop()
    late = frame.request >= ROWS // PAGE - 10  # page views that begin with the log and end with it
    frame.loc[late, "request"] -= ROWS // PAGE - 10
    (found,) = leaks(tmp_path, frame)
    assert found.kind == "time"
    assert "10 of" in found.message
    assert "use data.split.by=time" not in found.message
    assert "the rows of one request lie up to" in found.message


@pytest.mark.tried("leakage", "fault")
def test_equal_times_at_the_boundary_are_no_breach(tmp_path):
    frame = shop()
    frame["at"] = 86_400 * (frame.request // 500)
    assert leaks(tmp_path, frame) == []


@pytest.mark.tried("leakage", "leak")
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


@pytest.mark.tried("leakage", "leak")
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
@pytest.mark.tried("leakage", "fault")
def test_a_clean_log_raises_no_alarm(tmp_path, seed):
    assert leaks(tmp_path, shop(seed)) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.tried("leakage", "fault")
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


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.tried("leakage", "fault")
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


@pytest.mark.tried("leakage", "fault")
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


PLANTED = """
source:
  _target_: funneltune.data.Table
  path: {log}
  request: request
  user: user
  time: at
  query_text: {{query: query}}
  item: item
  item_text: {{title: title, review: title}}
  price: price
  categorical: [state]
  labels: {{click: click, purchase: purchase}}
tasks: {{click: {{rate: ctr}}, purchase: {{given: [click], rate: cvr, joint_rate: ctcvr}}}}
split: {{_target_: funneltune.data.Split, by: time, validation: 0.1, test: 0.2, seed: 0}}
texts: {{query: "{{query}}", item: "{{title}}"}}
features: {{ids: [user, state], numbers: {{price: log}}, vectors: [], history: 0}}
cache_dir: {cache}
"""


def test_validate_refuses_or_reports_without_training(tmp_path):
    source = table(tmp_path, label_in_an_id(shop()))
    needs = FeatureNeeds(ids=("state",))
    with pytest.raises(DataError, match="'state' tells a label"):
        validate(source, FUNNEL, BY_TIME, None, needs)
    found = validate(source, FUNNEL, BY_TIME, None, needs, Guard.parse({"label": "warn"}))
    assert "warning, leak (label): features.ids: 'state' tells a label" in found.in_words()


def test_validate_judges_what_a_run_would_read_and_names_the_rest(tmp_path, capsys):
    from funneltune.cli import main

    table(tmp_path, label_in_an_id(shop()))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "planted.yaml").write_text(PLANTED.format(log=tmp_path / "log.csv", cache=tmp_path / "cache"))
    words = ["data", "validate", "data=planted", f"--config-dir={tmp_path}"]
    assert main(words) == 0
    assert "not searched for leaks, as this config does not read them (features=all does): price, state, user" in (
        capsys.readouterr().out
    )
    assert main([*words, "features=all"]) == 2
    assert "'state' tells a label" in capsys.readouterr().err
    assert main([*words, "data.texts.item='{review}'"]) == 2
    assert "is named like a buyer's review" in capsys.readouterr().err
    assert main([*words, "data.texts.item='{review}'", "backbone=none", "features=ids"]) == 0  # reads no text
    assert main([*words, "data.features.ids=[stat]"]) == 2  # what is offered must be there, read or not
    assert "'stat'" in capsys.readouterr().err
