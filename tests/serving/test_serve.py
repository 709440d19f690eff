"""`funneltune serve` as a user starts and stops it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from funneltune import serving
from funneltune.cli import main
from funneltune.errors import ConfigError
from made_up import served

TOKEN = "a-token-of-letters"


def refused(capsys, *words):
    """The one line with which a command is refused."""
    assert main(["serve", *words]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_other_machines_are_let_in_with_a_token_only(capsys, monkeypatch):
    monkeypatch.delenv("FUNNELTUNE_TOKEN", raising=False)
    for host in ("0.0.0.0", "192.168.0.1", "::", "shop.example"):
        line = refused(capsys, "run=nowhere", f"host={host}")
        assert f"host={host} lets other machines in, and no token is set; give token_file=PATH" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_token(host):
    assert serving.is_loopback(host)


@pytest.mark.parametrize("token", ["", "short", "fifteen letters", "has a blank in its middle", "ümlauts-in-a-token"])
def test_a_weak_token_is_refused(capsys, tmp_path, token):
    (tmp_path / "token").write_text(token)
    assert "16 or more visible ASCII letters" in refused(capsys, "run=nowhere", f"token_file={tmp_path / 'token'}")


def test_a_token_that_cannot_be_read_is_refused(capsys, tmp_path, monkeypatch):
    assert "cannot be read (No such file" in refused(capsys, "run=nowhere", f"token_file={tmp_path / 'none'}")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "cannot be read (not a text)" in refused(capsys, "run=nowhere", f"token_file={tmp_path / 'bytes'}")
    monkeypatch.setenv("FUNNELTUNE_TOKEN", "short")
    assert "FUNNELTUNE_TOKEN: a token must have" in refused(capsys, "run=nowhere")


@pytest.mark.parametrize("port", ["-1", "65536", "http", "8e3", "٣", "99999999999"])
def test_a_port_that_is_none_is_refused(capsys, port):
    assert f"port={port} must be a whole number, 0 .. 65535" in refused(capsys, "run=nowhere", f"port={port}")


def test_threads_are_a_number(capsys):
    assert "threads=0 must be a whole number, 1 .. 1024" in refused(capsys, "run=nowhere", "threads=0")


def test_what_is_no_run_is_refused_and_the_port_is_free_again(capsys, tmp_path):
    assert f"run={tmp_path}" in refused(capsys, f"run={tmp_path}", "port=0")


def test_a_port_in_use_is_told_before_anything_is_loaded(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = refused(capsys, "run=nowhere", f"port={port}")
    assert f"host=127.0.0.1 port={port} cannot be bound (address already in use); name another port" in line


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300, "203.0.113.1"])
def test_an_address_of_another_machine_is_told(host):
    with pytest.raises(ConfigError, match=r"cannot be bound \(.*\); name an address of this machine"):
        serving.bound_socket(host, 0)


def test_without_its_packages_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "funneltune.serving", None)
    monkeypatch.delattr("funneltune.serving")

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "funneltune.serving":
                raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.delitem(sys.modules, "funneltune.serving")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert "pip install 'funneltune[serve]'" in refused(capsys, "run=nowhere")


# --- a socket, in this process ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(*runs, limits=None, **options):
    """Port of a server in a thread of the test."""
    from funneltune.serving.server import _Server

    limits = limits or serving.Limits()
    app = serving.make_app(
        runs or (served(),), serving.LogChoices((runs or (served(),))[0].catalogue.rows), limits, **options
    )
    with serving.bound_socket("127.0.0.1", 0) as held:
        ready, made = threading.Event(), []

        class Kept(_Server):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                made.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("funneltune.serving.server._Server", Kept)
            thread = threading.Thread(target=serving.serve, args=(app, held, limits, ready.set))
            port = held.getsockname()[1]
            thread.start()
            assert ready.wait(20)
            try:
                yield port
            finally:
                made[0].should_exit = True
                thread.join(20)
            assert not thread.is_alive()
    assert not app.app.state.exchange.models.ready


def raw(port, content, seconds=10):
    """What comes back for some bytes, until the server hangs up or says no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as one:
        one.sendall(content)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := one.recv(65_536):
                found += part
        return found


JSON = b"POST /rank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
GARBAGE = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "nothing of HTTP": b"hello server\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "control characters": b"GET /\x00\x01 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a header without colon": b"GET /health HTTP/1.1\r\nhost localhost\r\n\r\n",
    "two lengths": b"POST /rank HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "negative length": b"POST /rank HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
    "broken chunk": JSON + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "headers without end": b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 10_000,
    "an endless path": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
    "a host in the line": b"GET http://evil.example/health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
}


def test_bytes_that_are_no_request_get_4xx_in_json_and_the_server_goes_on(capfd):
    with listening() as port:
        for name, content in GARBAGE.items():
            found = raw(port, content)
            assert found.startswith(b"HTTP/1.1 4"), name
            assert set(json.loads(found.partition(b"\r\n\r\n")[2])) == {"error"}, name
        assert b" 200 " in raw(port, b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_clients_that_dawdle_are_cut_off():
    """A header, a body, a refused body: none holds a connection for longer than twice the body's time."""
    limits = serving.Limits(body_seconds=0.5, body_bytes=1000)
    head = JSON + b"content-length: "
    with listening(limits=limits) as port:
        for content, answer in [
            (b"GET /hea", b""),
            (b"", b""),
            (head + b"500\r\n\r\n{", b" 408 "),
            (head + b"9999\r\n\r\n{", b" 413 "),
        ]:
            begun = time.monotonic()
            found = raw(port, content)
            assert answer in found
            assert time.monotonic() - begun < 5


@pytest.mark.slow
def test_a_huge_body_is_answered_though_it_goes_on_coming():
    with listening() as port:
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        one.request("POST", "/rank", b" " * 5_000_000, {"content-type": "application/json"})
        assert one.getresponse().status == 413
        one.close()


# --- a process ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one log, and one of another."""
    folder = tmp_path_factory.mktemp("processes")
    common = [
        *("backbone=tiny", "head=esmm", "objective=entire_space_bce", "baselines=[]", "logger=none", "tuning=full"),
        *("data.source.impressions=600", "data.source.queries=20", "data.source.shoppers=40", "+data.leaks=ignore"),
        *("trainer.max_steps=2", "trainer.enable_progress_bar=false", f"data.cache_dir={folder / 'cache'}"),
    ]
    for name, items, seed in (("one", 60, 0), ("two", 60, 1), ("other", 50, 0)):
        assert main(["train", f"run_dir={folder / name}", f"seed={seed}", f"data.source.items={items}", *common]) == 0
    return folder


@contextlib.contextmanager
def process(*words, **environment):
    """A server's process and port; killed if it does not end."""
    command = [sys.executable, "-m", "funneltune", "serve", "port=0", *map(str, words)]
    one = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    try:
        line = one.stdout.readline()
        assert line.startswith("serving "), one.stderr.read()
        yield one, int(line.rpartition(" at http://")[2].split(" ")[0].rpartition(":")[2])
    finally:
        if one.poll() is None:
            one.kill()
        one.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_it_began_and_leaves_nothing_behind(runs, number):
    with process(f"run={runs / 'one'}", f"run_b={runs / 'two'}") as (one, port):
        body = json.dumps({"query": "red shoes", "run": "b"}).encode()
        head = JSON + f"content-length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as begun:
            begun.sendall(head + body[:5])
            time.sleep(0.3)
            one.send_signal(number)
            time.sleep(0.5)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)
            begun.sendall(body[5:])
            found = b""
            while part := begun.recv(65_536):
                found += part
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b'"ranked":[{' in found
        out, err = one.communicate(timeout=20)
        assert one.returncode == 0
        assert out == "stopped\n"
        assert "Traceback" not in err
        assert "red shoes" not in err
        assert "POST /rank 200" in err


@pytest.mark.slow
def test_bound_everywhere_it_answers_to_the_token_and_to_known_hosts(runs, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    words = (f"run={runs / 'one'}", "host=0.0.0.0", f"token_file={tmp_path / 'token'}", "hosts=shop.example")
    with process(*words) as (one, port):

        def status(**headers):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            client.request("GET", "/runs", headers=headers)
            found = client.getresponse().status
            client.close()
            return found

        shown = {"authorization": f"Bearer {TOKEN}"}
        assert status() == 401
        assert status(**shown) == 200
        assert status(**shown, host="shop.example") == 200
        assert status(**shown, host="evil.example") == 400
        one.send_signal(signal.SIGTERM)
        _, err = one.communicate(timeout=20)
        assert TOKEN not in err


@pytest.mark.slow
def test_runs_of_two_logs_are_refused_in_one_line(runs, capsys):
    line = refused(capsys, f"run={runs / 'one'}", f"run_b={runs / 'other'}", "port=0")
    assert "run_b=other was trained on another log than run=one" in line
    assert line.rstrip().endswith("serve runs of one log.")
