"""A process that listens: bound before anything is loaded, cutting off clients that dawdle, ending without orphans."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import HANDLED_SIGNALS

from funneltune.errors import ConfigError
from funneltune.serving.limits import Limits

KEEP_ALIVE = 5
"""Seconds that an idle connection stays open."""
HEADER_BYTES = 16_384
"""Of a request's first line and headers."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that holds its address and does not listen yet, so that nobody waits while models load.

    Raises:
        ConfigError: if the address is not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, kind, protocol)
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(address)
        except OSError:
            held.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        remedy = "name another port, or port=0 for any that is free" if port else "name an address of this machine"
        raise ConfigError(f"host={host} port={port} cannot be bound ({reason}); {remedy}.") from None
    return held


def serve(app: Any, held: socket.socket, limits: Limits, on_ready: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those in flight; a second SIGINT does not wait for them.

    `on_ready` is called once the socket listens.
    """
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # its lines hold paths with query strings
    config = uvicorn.Config(
        app,
        http=type("Timed", (Impatient,), {"seconds": 2 * limits.body_seconds}),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
    _Server(config, on_ready).run(sockets=[held])


class _Server(uvicorn.Server):
    """Uvicorn's, except that a signal which was obeyed is not raised again: to stop when told to is no failure."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


class Impatient(H11Protocol):
    """Uvicorn's HTTP/1.1, except that a connection whose request is not whole after some seconds is cut off."""

    seconds = 20.0
    cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client owes a request from the start."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or all of it."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is owed anything."""
        self._rest()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Idle between two requests, KEEP_ALIVE's time runs."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._rest()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read is told in JSON, too."""
        body = json.dumps({"error": "the request is no HTTP/1.1."}).encode()
        headers = [("content-type", "application/json"), ("connection", "close"), ("content-length", str(len(body)))]
        with suppress(h11.LocalProtocolError):  # an answer has begun
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Time the client while a request of its is incomplete, a refused body that still comes in included."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._rest()
        elif self.cut is None:
            self.cut = self.loop.call_later(self.seconds, self.transport.abort)

    def _rest(self) -> None:
        if self.cut is not None:
            self.cut.cancel()
            self.cut = None
