"""Labels of what comes next: worked out by hand, cut where a split ends, and masked where nobody can tell them."""

import numpy as np
import pandas as pd
import pytest
import torch

from funneltune.data import LogDataModule, Split, Table, describe, validate
from funneltune.data.leaks import Guard
from funneltune.data.next_labels import Events
from funneltune.data.unlabelled import read_as
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.objectives import MaskedBCE
from funneltune.schema import FeatureNeeds, HeadOutput

START = 1_700_000_000
DAY = 86_400
HOME, SHOE = 0, 1
TASKS = {"click": {}, "purchase": {"given": ["click"]}, "need": {"kind": "multiclass", "next": "category"}}
TASKS["need"]["levels"] = ["home", "shoe", "toys"]
# A request of one row a day. Of ten, six train, two validate, two test.
DAYS = [
    ("A", "sofa", 1, 0),
    ("B", "boot", 1, 1),
    ("A", "boot", 1, 1),
    ("B", "sofa", 1, 0),
    ("A", "lamp", 0, 0),
    ("A", "lamp", 1, 0),
    ("A", "sofa", 1, 1),
    ("B", "lamp", 1, 0),
    ("B", "boot", 1, 1),
    ("A", "lamp", 1, 1),
]
NEEDS = [SHOE, SHOE, SHOE, -1, -1, -1, HOME, -1, SHOE, HOME]
"""B's next purchase behind the fourth day, and A's behind the fifth and the sixth, lie in another split's days."""
BY_TIME = Split("time", 0.2, 0.2)
KINDS = {"sofa": "home", "lamp": "home", "boot": "shoe"}


def frame(days=DAYS):
    rows = pd.DataFrame(days, columns=["who", "what", "clicked", "bought"])
    return rows.assign(visit=range(len(rows)), at=START + DAY * np.arange(len(rows)), kind=rows.what.map(KINDS))


@pytest.fixture
def make(tmp_path):
    def made(rows=None, tasks=TASKS, features=None, split=BY_TIME, source=(), **changes):
        (frame() if rows is None else rows).to_csv(tmp_path / "log.csv", index=False)
        columns = {
            "request": "visit",
            "user": "who",
            "time": "at",
            "item": "what",
            "item_text": {"title": "what", "category": "kind"},
            "query_text": {"query": "what"},
            "labels": {"click": "clicked", "purchase": "bought"},
        } | dict(source)
        return LogDataModule(
            source=Table(tmp_path / "log.csv", **columns),
            tasks=TaskFunnel.from_config(tasks),
            split=split,
            texts=None,
            tokenizer=None,
            interaction="none",
            rows_per_batch=100,
            cache_dir=tmp_path / "cache",
            features=features,
            **changes,
        )

    return made


def needs(data):
    return data.store.column("need").tolist()


def test_the_label_is_the_category_of_the_shoppers_next_purchase_before_its_split_ends(make):
    assert needs(make()) == NEEDS


def test_a_batch_masks_what_nobody_can_tell_and_counts_the_rest(make):
    data = make()
    data.setup("fit")
    (batch,) = data.train_dataloader()
    order = batch.row.argsort()
    assert batch.labels["need"][order].tolist() == NEEDS[:6]
    assert batch.observed["need"][order].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch.count("need") == 3
    assert data.training_labels("need").tolist() == [SHOE] * 3
    (batch,) = data.test_dataloader()
    assert batch.observed["need"].tolist() == [1, 1]


@pytest.mark.tried("leakage", "leak")
def test_what_is_bought_in_another_splits_days_changes_no_label(make):
    other = list(DAYS)
    other[6], other[8] = ("A", "boot", 1, 1), ("B", "sofa", 1, 1)
    assert needs(make(frame(other)))[:6] == NEEDS[:6]
    none = [(who, what, clicked, 0 if day > 5 else bought) for day, (who, what, clicked, bought) in enumerate(DAYS)]
    assert needs(make(frame(none)))[:6] == NEEDS[:6]


@pytest.mark.tried("leakage", "leak")
def test_a_purchase_that_comes_behind_the_end_of_its_split_is_no_label(make):
    late = frame().assign(days=[0, 0, 4, 0, 0, 0, 0, 0, 0, 0])  # A's boots of the third day come on the seventh
    tasks = TASKS | {"purchase": {"given": ["click"], "window": 30}}
    delays = {"delays": {"purchase": {"column": "days", "unit": "days"}}}
    assert needs(make(late, tasks, source=delays))[:6] == [-1, SHOE, -1, -1, -1, -1]
    late["days"] = [0, 0, 2, 0, 0, 0, 0, 0, 0, 0]  # on the fifth: it is still the next one of the sixth day's request
    assert needs(make(late, tasks, source=delays))[:6] == [SHOE, SHOE, SHOE, -1, SHOE, -1]


def test_the_next_event_is_the_one_that_a_search_through_all_of_them_finds():
    rng = np.random.default_rng(0)
    events = Events(rng.integers(0, 9, 200), rng.integers(0, 50, 200).astype(float), rng.permutation(200))
    user, time = rng.integers(-1, 11, 300), rng.integers(-2, 55, 300).astype(float)
    found = events.next_items(user, time)
    for one, when, item in zip(user, time, found, strict=True):
        own = (events.user == one) & (events.time >= when)
        first = events.item[own & (events.time == events.time[own].min())] if own.any() else [-1]
        assert item in first
    none = Events(*(np.zeros(0, kind) for kind in (np.int64, np.float64, np.int64)))
    assert none.next_items(user, time).tolist() == [-1] * 300


def test_a_share_of_the_training_has_the_labels_of_the_whole(make):
    data = make(train_share=0.5)
    assert needs(data) == NEEDS
    assert len(data.requests("train")) == 3


def test_where_shoppers_part_the_splits_a_label_is_of_the_same_split(make):
    rng = np.random.default_rng(0)
    days = [(f"u{rng.integers(20)}", str(rng.choice(list(KINDS))), 1, int(rng.random() < 0.3)) for _ in range(200)]
    data = make(frame(days), split=Split("user", 0.2, 0.2))
    label, user = data.store.column("need"), data.store.column("user")
    for split in ("train", "validation", "test"):
        rows = data.rows(split)
        bought = rows[data.store.column("purchase")[rows] == 1]
        assert set(user[rows[label[rows] >= 0]]) == set(user[bought])
        assert (label[bought] >= 0).all()


def test_the_log_is_stored_once_whether_or_not_what_comes_next_is_asked(make, tmp_path):
    plain = {name: task for name, task in TASKS.items() if name != "need"}
    assert make().store.fingerprint == make(tasks=plain).store.fingerprint
    assert len(list((tmp_path / "cache").glob("log-*"))) == 1
    assert not make(tasks=plain).store.has("need")


def test_the_loss_is_that_of_the_rows_that_can_be_told_and_the_others_send_no_gradient(make):
    data = make()
    data.setup("fit")
    (batch,) = data.train_dataloader()
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    flat = torch.zeros(6)
    output = HeadOutput(
        {"click": flat, "purchase": flat, "need": logits}, dict.fromkeys(("click", "purchase", "need"), "conditional")
    )
    loss = MaskedBCE(data.funnel)(batch, output).terms["need"]
    told = batch.observed["need"] == 1
    torch.testing.assert_close(loss, -logits.log_softmax(-1)[told, SHOE].mean())
    loss.backward()
    assert (logits.grad[~told] == 0).all()
    assert (logits.grad[told] != 0).all()


def test_a_file_to_predict_needs_to_tell_nothing_of_what_comes_next(make, tmp_path):
    rows = frame()[:1].assign(kind="garden").drop(columns=["clicked", "bought"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    data = read_as(make(), tmp_path / "rows.csv")
    assert needs(data) == [-1]
    assert data.columns("predict")["need"].tolist() == [-1]


def test_people_are_told_how_often_each_level_comes_next(make):
    assert describe(make())["rates"]["need"] == {"rows": 6, "levels": {"home": 2, "shoe": 4, "toys": 0}}


@pytest.mark.tried("bad_table", "bad_input")
@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"source": {"user": None}}, "is told by what a shopper does later, and the log has no shoppers"),
        ({"source": {"time": None}, "split": Split("request", 0.3, 0.3)}, "and the log has no times; map data.source"),
        ({"tasks": TASKS | {"need": TASKS["need"] | {"next": "kind"}}}, "choose one of title, category"),
        (
            {"tasks": TASKS | {"need": TASKS["need"] | {"levels": ["shoe", "toys"]}}},
            r"need.levels lacks home; list all 2 values of the items' category: \[home, shoe\]",
        ),
    ],
)
def test_a_log_that_cannot_tell_it_is_refused_in_a_line(make, changes, rule):
    with pytest.raises(ConfigError, match=rule):
        make(**changes).requests("train")


@pytest.mark.tried("bad_table", "bad_input")
def test_a_training_without_a_later_purchase_is_refused(make):
    rows = frame().assign(bought=0)
    with pytest.raises(DataError, match="need: no training request has a later purchase of the same shopper"):
        make(rows).requests("train")


@pytest.mark.tried("bad_table", "bad_input")
def test_a_check_of_a_log_tells_what_is_missing_for_it(make):
    data = make(tasks=TASKS | {"need": TASKS["need"] | {"levels": ["shoe", "toys"]}})
    with pytest.raises(ConfigError, match="need.levels lacks home"):
        validate(data.source, data.funnel, data.split)


# --- the guard -----------------------------------------------------------------------------------------------------


def faithful(n=3000):
    """Shoppers who each buy one kind for ever; half of their segments are named after it."""
    rng = np.random.default_rng(0)
    who = rng.integers(60, size=n)
    what = np.array(["sofa", "boot"])[who % 2]
    rows = frame([(f"u{w}", thing, 1, int(rng.random() < 0.2)) for w, thing in zip(who, what, strict=True)])
    noise = rng.random(n)
    return rows.assign(segment=np.where(who % 2 == 1, "walkers", "sitters"), mood=np.where(noise < 0.5, "good", "bad"))


@pytest.mark.tried("leakage", "leak")
def test_who_a_shopper_is_raises_no_alarm_and_a_column_that_tells_everyones_need_does(make):
    source = {"categorical": ["segment", "mood"]}
    honest = FeatureNeeds(ids=("user", "mood"), buckets=1000)
    make(faithful(), features=honest, source=source, leaks="refuse").setup("fit")
    told = make(faithful(), features=FeatureNeeds(ids=("segment",), buckets=1000), source=source, leaks="refuse")
    with pytest.raises(DataError, match="'segment' tells a label on training rows .* for need"):
        told.setup("fit")
    assert Guard.parse("refuse").words["label"] == "refuse"
