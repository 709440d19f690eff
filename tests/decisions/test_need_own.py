"""The next category as a run was trained to tell it: what is read, averaged, calibrated; that it knows something."""

import numpy as np
import pytest

from funneltune.data import Asked
from funneltune.decisions.need import OwnTask, Settings, needs_of, study
from funneltune.decisions.need.judging import MODEL, OWN, PRIOR, RAW, RUN, UNASKED, Judged
from funneltune.decisions.need.lists import BY_HISTORY, WITH
from funneltune.decisions.need.own import EVERYONES, LATEST, PSEUDO, own_task
from funneltune.decisions.need.record import record_of, write
from funneltune.decisions.scorer import Scorer
from funneltune.records import DecisionRecord
from small_market import train

pytestmark = pytest.mark.slow  # a run of three passes
NAMED = (
    "workspace,windows,tables,stools,sofas,serving,prep,pots,plants,mixers,laundry,lamps,hallway,glow,glasses,foodstore,"
    "floors,floorcare,finishing,dining,decor,cupboards,crockery,cookers,chairs,ceiling,brewing,blankets,beds,bedding,bath,"
    "baking,air"
)
"""In another order than the categories' own, and one (finishing) that no item has: columns are found by name."""
LEVELS = NAMED.split(",")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    market = {"impressions": 12000, "loyalty": 0.8, "shoppers": 30, "queries": 150, "domains": "[home]", "items": 200}
    words = ["data=simulated_need", "tuning=frozen", "features=ids", "data.split.test=0.3", "trainer.max_epochs=3"]
    words += [f"data.tasks.need.levels=[{NAMED}]", "optimizer.lr=0.01"]
    folder = tmp_path_factory.mktemp("need_own")
    return Scorer.of_run(train(folder, *words, *(f"data.source.{name}={value}" for name, value in market.items())))


@pytest.fixture(scope="module")
def found(scorer):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("funneltune.decisions.need.judging.TRUE_PAGES", 3000)
        return study(scorer, Settings(places=5, depth=100))


@pytest.fixture(scope="module")
def own(found):
    return found.own


def test_the_run_has_the_task_of_its_own_column_alone(scorer):
    assert own_task(scorer, "category").name == "need"
    assert own_task(scorer, "brand") is None


def test_a_requests_need_is_the_mean_of_what_its_rows_say(scorer, own):
    assembly, request = scorer.assembly, own.scorer.assembly.data.requests("test")[[3, 5]]
    rows = assembly.data.store.rows_of(request)
    (_, batch), *more = assembly.data.batches(rows)
    assert not more
    logits = assembly.module(batch).logits["need"].double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    by_name = p[:, [LEVELS.index(name) for name in own.log.names]]
    length = assembly.data.store.request_lengths[request[0]]
    wanted = np.stack([by_name[:length].mean(axis=0), by_name[length:].mean(axis=0)])
    assert own.raw(request) == pytest.approx(wanted / wanted.sum(axis=1, keepdims=True), abs=1e-5)


def test_logged_rows_and_the_same_rows_asked_for_agree(scorer, own):
    store, request = scorer.assembly.data.store, int(scorer.assembly.data.requests("test")[7])
    start, length = int(store.request_offsets[request]), int(store.request_lengths[request])
    items = store.column("item")[start : start + length].astype(np.int64)
    user = list(scorer.rows.users)[int(store.column("user")[start])]
    words = list(scorer.rows.queries)[int(store.column("query")[start])]
    asked = Asked(query=words, user=user, time=float(store.column("time")[start]))
    (said,) = scorer.levels([asked], [items], own.task)
    mean = said[:, own._places].mean(axis=0)
    assert mean / mean.sum() == pytest.approx(own.raw(np.array([request]))[0], abs=1e-4)


def test_unasked_a_shopper_is_read_in_its_latest_requests_and_in_everyones(scorer, own):
    user, times, requests = own._past
    whose = np.flatnonzero(user == user[0])
    when = np.array([times[whose[3]], times[whose].max() + 1, times[whose[0]], 0.0])
    asker = np.array([user[0], user[0], user[0], -1])
    owner, request, weight = own._situations(asker, when)
    own_requests = [request[(owner == n) & (weight == 1)].tolist() for n in range(4)]
    assert own_requests[0] == requests[whose[:3]].tolist()
    assert own_requests[1] == requests[whose[-LATEST:]].tolist()
    assert own_requests[2:] == [[], []]
    assert [weight[(owner == n) & (weight < 1)].sum() for n in range(4)] == pytest.approx([PSEUDO] * 4)
    assert (np.bincount(owner)[2:] == EVERYONES).all()


def test_temperatures_are_those_that_do_best_on_the_validation_requests(own, found):
    told = found.found["validation"]

    def loss(temperature):
        p = OwnTask(own.scorer, own.task, own.log, own.prior, temperature).asked(told.request)
        return Judged({MODEL: p}, told).losses(MODEL).mean()

    assert own.temperature != 1.0
    assert loss(own.temperature) <= min(loss(0.8 * own.temperature), loss(1.25 * own.temperature)) + 0.01


def test_what_the_run_was_trained_to_say_beats_popularity_and_lists_are_ranked_by_it(found):
    judged = found.judged
    assert judged.headline == RUN
    assert judged.gain(RUN, PRIOR, "log_loss").low > 0
    assert judged.mean(RUN, "log_loss").estimate <= judged.mean(RAW, "log_loss").estimate + 0.05
    assert found.truth.divergence(UNASKED).estimate < found.truth.divergence(PRIOR).estimate
    assert {WITH, BY_HISTORY} <= found.lists.weights.keys()
    assert found.lists.gain(WITH, "purchases").estimate > 0


def test_words_move_what_a_shopper_is_said_to_need(scorer, found):
    users = list(scorer.rows.users)[:2]
    words = scorer.assembly.data.store.text("queries", "{query}")
    plain, asked = (needs_of(scorer, found, users, query) for query in ("", words[0]))
    assert plain.columns.tolist() == asked.columns.tolist()
    assert not np.allclose(plain.p, asked.p)
    assert needs_of(scorer, found, ["nobody"]).events.tolist() == [0, 0, 0]


def test_the_record_says_what_the_run_was_told_and_holds_it_against_the_others(scorer, found, tmp_path):
    needs = needs_of(scorer, found, list(scorer.rows.users)[:2])
    record = record_of(found, needs, "runs/a", {})
    write(record, found, needs, tmp_path)
    back = DecisionRecord.read(tmp_path / "decision.json")
    assert back.settings["category"] == "category"
    assert f"{RUN} over {OWN}/log_loss" in back.numbers
    assert f"{MODEL} over {PRIOR}/log_loss" in back.numbers
    assert any("The run has a task of its own for it, need" in note for note in back.notes)
    assert f"{WITH} over {BY_HISTORY}/purchases" in back.numbers
    assert any("Ranked by the model of what each did before, lists without words" in note for note in back.notes)
    assert [row[0] for row in back.tables["prediction"]["rows"]][:3] == [RUN, RAW, UNASKED]


def test_another_column_is_told_from_history_as_without_such_a_task(scorer):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("funneltune.decisions.need.judging.TRUE_PAGES", 600)
        other = study(scorer, Settings(category="brand", places=5, depth=60))
    assert other.own is None
    assert other.judged.headline == MODEL
