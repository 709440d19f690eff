import itertools

import numpy as np
import pytest
import torch

from funneltune.data import RequestPlan, Split
from funneltune.data.collate import longest_first
from funneltune.data.sampling import Draw, evaluation_draws
from funneltune.errors import ConfigError, DataError
from funneltune.schema import FeatureNeeds


def plan(**changes):
    lengths = np.random.default_rng(0).integers(1, 9, 57)
    clicks = np.random.default_rng(1).integers(0, lengths + 1)
    arguments = {
        "requests": np.arange(57),
        "lengths": lengths,
        "observed": {"click": lengths, "purchase": clicks},
        "rows_per_batch": 20,
        "seed": 3,
    }
    return RequestPlan(**(arguments | changes))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_every_request_comes_once_and_counts_are_those_of_the_step(world_size, accumulate):
    made = plan(world_size=world_size, accumulate=accumulate)
    ranks = [list(made.draws(rank)) for rank in range(world_size)]
    assert {len(draws) for draws in ranks} == {len(made)}
    seen = np.concatenate([draw.requests for draws in ranks for draw in draws])
    assert sorted(seen.tolist()) == list(range(57))
    for start in range(0, len(made), accumulate):
        step = [draw for draws in ranks for draw in draws[start : start + accumulate]]
        requests = np.concatenate([draw.requests for draw in step])
        assert {draw.step_rows for draw in step} == {float(made.lengths[requests].sum())}
        assert {draw.step_observed["purchase"] for draw in step} == {float(made.observed["purchase"][requests].sum())}


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batches_of_one_process(world_size):
    alone, shared = plan(), plan(world_size=world_size)
    together = zip(*(shared.draws(rank) for rank in range(world_size)), strict=True)
    if len(alone) == len(shared):
        for one, parts in zip(alone.draws(), together, strict=True):
            assert one.requests.tolist() == np.concatenate([part.requests for part in parts]).tolist()


def test_the_order_is_a_function_of_seed_and_epoch():
    assert np.array_equal(plan().order, plan().order)
    assert not np.array_equal(plan().order, plan(epoch=1).order)
    assert not np.array_equal(plan().order, plan(seed=4).order)


def test_a_batch_holds_at_most_its_rows():
    made = plan()
    rows = [int(made.lengths[draw.requests].sum()) for draw in made.draws()]
    assert max(rows) <= 20
    assert min(rows[:-1]) > 12  # greedy: the next request did not fit


@pytest.mark.parametrize(
    "reading",
    [
        {},
        {"interaction": "cross"},
        {"unique": False},
        {"features": FeatureNeeds(history=4)},
    ],
)
def test_a_batch_holds_at_most_its_tokens(make_data, reading):
    data = make_data(rows_per_batch=None, tokens_per_batch=500, **reading)
    collate, draws = data.collator(), list(data.plan().draws())
    assert sorted(np.concatenate([draw.requests for draw in draws]).tolist()) == data.requests("train").tolist()
    for draw, following in itertools.pairwise(draws):
        assert len(collate(draw).texts.token_ids) <= 500
        one_more = Draw(np.append(draw.requests, following.requests[0]))
        assert len(collate(one_more).texts.token_ids) > 500  # greedy: the next request did not fit


def test_rows_and_tokens_both_bound_a_batch(make_data):
    data = make_data(rows_per_batch=20, tokens_per_batch=500)
    draws = list(data.plan().draws())
    assert max(data.store.request_lengths[draw.requests].sum() for draw in draws) == 20
    alone = make_data(rows_per_batch=20)
    assert [d.requests.tolist() for d in draws] == [d.requests.tolist() for d in alone.plan().draws()]
    small = make_data(rows_per_batch=20, tokens_per_batch=1)  # no request fits: each is a batch
    assert [len(draw.requests) for draw in small.plan().draws()] == [1] * len(small.requests("train"))


def test_more_ranks_than_requests_are_refused():
    with pytest.raises(DataError, match="2 request"):
        plan(requests=np.arange(2), world_size=3)
    with pytest.raises(ConfigError, match="rows_per_batch=0"):
        plan(rows_per_batch=0)
    with pytest.raises(ConfigError, match="leave batches without a size"):
        plan(rows_per_batch=None)


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_evaluation_repeats_no_request(world_size):
    requests = np.arange(5)
    seen = [d.requests for r in range(world_size) for d in evaluation_draws(requests, np.full(5, 3), 7, r, world_size)]
    assert sorted(np.concatenate(seen).tolist()) == [0, 1, 2, 3, 4]


def test_longest_first_equals_taking_tokens_one_by_one():
    def slowly(a, b, room):
        while a + b > room:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        return a, b

    grid = [(a, b, room) for a in range(1, 12) for b in range(1, 12) for room in range(2, 14)]
    for a, b, room in grid:
        found = longest_first(np.array([a]), np.array([b]), room)
        assert (int(found[0][0]), int(found[1][0])) == slowly(a, b, room)


@pytest.mark.parametrize("interaction", ["twin", "cross"])
@pytest.mark.parametrize("max_tokens", [64, 9])
def test_texts_equal_the_tokenizers_own_encoding(make_data, tokenizer, interaction, max_tokens):
    data = make_data(interaction=interaction, max_tokens=max_tokens)
    batch = data.collator().rows(data.rows("validation"))
    store = data.store
    queries, items = store.text("queries", "{query}"), store.text("items", "{title}")
    assert (batch.texts.lengths.diff() >= 0).all()
    flat = torch.split(batch.texts.token_ids, batch.texts.lengths.tolist())
    for row in range(0, len(batch), 7):
        query, item = (int(store.column(c)[int(batch.row[row])]) for c in ("query", "item"))
        settings = {"truncation": True, "max_length": max_tokens}
        if interaction == "twin":
            assert flat[batch.text_of_row["query"][row]].tolist() == tokenizer(queries[query], **settings)["input_ids"]
            assert flat[batch.text_of_row["item"][row]].tolist() == tokenizer(items[item], **settings)["input_ids"]
        else:
            wanted = tokenizer(queries[query], items[item], **settings)
            pair = int(batch.text_of_row["pair"][row])
            assert flat[pair].tolist() == wanted["input_ids"]
            assert int(batch.texts.first_lengths[pair]) == wanted["token_type_ids"].count(0)


def test_each_text_comes_once_unless_asked_otherwise(make_data):
    data, plain = make_data(), make_data(unique=False)
    rows = data.rows("train")[:50]
    query, item = data.store.column("query")[rows], data.store.column("item")[rows]
    assert len(data.collator().rows(rows).texts) == len(set(query)) + len(set(item))
    assert len(plain.collator().rows(rows).texts) == 100


@pytest.mark.parametrize("by", ["time", "request", "user", "query", "item_cold"])
def test_splits_share_no_request_and_keep_their_promise(make_data, by):
    data = make_data(split=Split(by=by, validation=0.1, test=0.02 if by == "item_cold" else 0.2))
    parts = {name: set(data.requests(name).tolist()) for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == data.store.n_requests
    columns = {name: data.columns(name) for name in parts}
    if by == "time":
        assert columns["train"]["time"].max() <= columns["validation"]["time"].min()
        assert columns["validation"]["time"].max() <= columns["test"]["time"].min()
    if by in {"user", "query"}:
        assert not set(columns["train"][by]) & set(columns["test"][by])
    if by == "item_cold":
        shown = columns["test"]
        cold = shown["request"][shown["item_cold"] == 1]
        assert set(cold) == parts["test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"by": "luck"}, "must be one of time"), ({"test": 0.95, "validation": 0.1}, "leave a share to train on")],
)
def test_a_split_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Split(**arguments)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_loader_goes_on_behind_what_was_handed_out(make_data, workers):
    def rows(loader, n):
        taken = []
        iterator = iter(loader)
        for _ in range(n):
            taken.append(next(iterator).row.tolist())
        return taken, loader.state_dict()

    data = make_data(workers=workers, rows_per_batch=200)
    whole = data.train_dataloader()
    length = len(whole)
    epochs = [[batch.row.tolist() for batch in whole] for _ in range(2)]
    assert epochs[0] != epochs[1]
    for stop in (1, length - 1, length):
        _, state = rows(data.train_dataloader(), stop)
        resumed = data.train_dataloader()
        resumed.load_state_dict(state)
        rest = [batch.row.tolist() for batch in resumed]
        assert rest == (epochs[0][stop:] if stop < length else epochs[1])


def test_starting_an_epoch_draws_nothing_from_the_global_generator(make_data):
    data = make_data()
    before = torch.get_rng_state()
    next(iter(data.train_dataloader()))
    assert torch.equal(before, torch.get_rng_state())
