"""Loader workers, real ones, that are killed, raise or hang."""

import os
import signal
import threading
import time
from multiprocessing.resource_sharer import DupFd

import numpy as np
import pytest

from children import children, ended
from funneltune.data import loaders
from funneltune.data.workers import Numbered, Workers
from funneltune.errors import ConfigError, DataError, FailedRunError, LostProcessError, NoMemoryError


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def ends():
    os._exit(3)


def hangs():
    time.sleep(60)


def raises():
    raise ValueError("no such\ncolour")


def refuses():
    raise DataError("row 7: label 5 must be 0 or 1.")


def too_large():
    return np.zeros(10**15)


class Broken:
    """A collate function that goes wrong at one batch of an epoch."""

    def __init__(self, collate, how, requests):
        self.collate, self.how, self.requests = collate, how, requests

    def __call__(self, draw):
        if np.array_equal(draw.requests, self.requests):
            self.how()
        return self.collate(draw)


def broken(make_data, how, at=3, epoch=0, **changes):
    """A datamodule whose workers go wrong at batch `at`, and that batch's rows in words."""
    data = make_data(**{"workers": 2, "worker_timeout": 1.5} | changes)
    requests = next(data.plan(epoch).draws(skip=at)).requests
    rows = sorted(data.store.rows_of(requests).tolist())
    vars(data)["_training"] = Broken(data.collator(), how, requests)
    shown = ", ".join(map(str, rows[:5]))
    return data, f"batch {at + 1} of epoch {epoch + 1} (rows {shown}, ... {rows[-1]} of the log)"


def read(data, epochs=1):
    """Batches that came before the error, and the error."""
    loader = data.train_dataloader()
    came = 0
    try:
        for _ in range(epochs):
            for _ in loader:
                came += 1
    except Exception as error:  # any: what it is and says is the test's business
        return came, error
    pytest.fail("nothing went wrong")


@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [
        (killed, LostProcessError, "a loader worker was killed (Killed) while it made "),
        (ends, LostProcessError, "a loader worker ended while it made "),
        pytest.param(
            hangs,
            LostProcessError,
            " did not come within data.worker_timeout=1.5 seconds: a loader worker hangs",
            marks=pytest.mark.slow,  # PyTorch lets it have five more
        ),
        (raises, FailedRunError, "ValueError: no such colour (test_workers.py, line "),
        (too_large, NoMemoryError, "a loader worker had not the memory for "),
    ],
)
@pytest.mark.tried("loader_worker", "fault")
def test_a_worker_that_fails_ends_reading_with_one_line_that_names_the_batch(make_data, how, kind, told):
    before = set(children())
    data, batch = broken(make_data, how)
    came, error = read(data)
    assert type(error) is kind
    assert told in str(error)
    assert batch in str(error)
    assert "\n" not in str(error)
    assert "Traceback" not in str(error)
    assert "data.workers" in str(error)
    assert came <= 3
    left = [pid for pid in children() if pid not in before]
    del error
    data.on_exception(RuntimeError())
    assert ended(left)


@pytest.mark.tried("loader_worker", "fault")
def test_a_worker_that_dies_while_its_batch_is_handed_over_is_told_of_alike(make_data, monkeypatch):
    data = make_data(workers=1)
    before = set(children())

    def detach(_):  # its sockets close first, then the system tells of its death
        (worker,) = (pid for pid in children() if pid not in before)
        threading.Timer(0.2, os.kill, (worker, signal.SIGKILL)).start()
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(DupFd, "detach", detach)
    _, error = read(data)
    assert type(error) is LostProcessError
    assert "a loader worker was killed (Killed) " in str(error)


@pytest.mark.tried("loader_worker", "fault")
def test_a_worker_that_died_is_told_of_even_where_pytorchs_word_is_lost(make_data, monkeypatch):
    data = make_data(workers=1)
    before = set(children())

    def detach(_):  # PyTorch's signal handler raised in a finaliser, where errors are dropped
        (worker,) = (pid for pid in children() if pid not in before)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        threading.Timer(0.2, os.kill, (worker, signal.SIGKILL)).start()
        raise ConnectionResetError(104, "Connection reset by peer")

    kept = signal.getsignal(signal.SIGCHLD)
    try:
        monkeypatch.setattr(DupFd, "detach", detach)
        _, error = read(data)
    finally:
        signal.signal(signal.SIGCHLD, kept)
    assert type(error) is LostProcessError
    assert "a loader worker was killed (Killed) " in str(error)


def test_a_lost_connection_is_no_dead_worker_while_all_of_them_live(make_data, monkeypatch):
    monkeypatch.setattr(loaders, "WORD_OF_DEATH", 0.2)
    data = make_data(workers=1)

    def detach(_):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(DupFd, "detach", detach)
    _, error = read(data)
    assert type(error) is ConnectionResetError


@pytest.mark.tried("loader_worker", "fault")
def test_what_a_worker_refuses_is_told_as_if_there_were_no_worker(make_data):
    told = []
    for workers in (0, 2):
        came, error = read(broken(make_data, refuses, workers=workers)[0])
        assert came == 3
        told.append((type(error), str(error)))
    assert told[0] == told[1] == (DataError, "row 7: label 5 must be 0 or 1.")


@pytest.mark.tried("loader_worker", "fault")
def test_a_batch_of_a_later_epoch_is_named_as_such(make_data):
    data, batch = broken(make_data, raises, at=5, epoch=1)
    assert batch.startswith("batch 6 of epoch 2 ")
    came, error = read(data, epochs=2)
    assert batch in str(error)
    assert came == len(data.plan(0)) + 5


def test_a_worker_that_is_slow_and_in_time_is_waited_for(make_data):
    data, _ = broken(make_data, lambda: time.sleep(0.3), worker_timeout=5)
    assert len(list(data.train_dataloader())) == len(data.plan())


@pytest.mark.tried("loader_worker", "fault")
def test_a_worker_that_died_between_two_batches_is_told_as_such(make_data):
    data, _ = broken(make_data, raises)
    loader = data.train_dataloader()
    error = RuntimeError("DataLoader worker (pid 12345) is killed by signal: Bus error. It is possible that")
    assert "a loader worker was killed (Bus error) between two batches: " in str(loader.lost(error))
    assert loader.lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_an_epoch_that_is_left_early_leaves_no_worker_and_the_next_has_its_own(make_data):
    before = set(children())
    loader = make_data(workers=2).train_dataloader()
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    first.close()  # behind the second's begin, as a garbage collector may
    assert len(list(second)) == len(loader.position) - 2
    assert ended([pid for pid in children() if pid not in before])


def test_a_terminals_interrupt_is_the_training_process_to_obey(make_data):
    loader = make_data(workers=1).train_dataloader()
    batches = iter(loader)
    next(batches)
    for pid in children():
        os.kill(pid, signal.SIGINT)
    assert len(list(batches)) == len(loader.position) - 1


def test_without_workers_a_batch_is_made_here_and_errors_keep_their_trace(make_data):
    data, _ = broken(make_data, raises, workers=0)
    _, error = read(data)
    assert type(error) is ValueError
    made = Workers(data.collator(), 0, None)
    draw = next(data.plan().draws())
    assert made(Numbered(0, draw)).row.tolist() == data.collator()(draw).row.tolist()


@pytest.mark.parametrize("value", [0, -1, "soon", True, float("inf")])
@pytest.mark.tried("bad_config", "bad_input")
def test_a_time_out_that_is_none_is_refused(value):
    from funneltune.cli.compose import compose_config
    from funneltune.runs import check_config

    cfg = compose_config(["backbone=tiny"])
    cfg.data.worker_timeout = value
    with pytest.raises(
        ConfigError, match=r"data.worker_timeout=.* must be a number of seconds above 0; null: no limit"
    ):
        check_config(cfg)
