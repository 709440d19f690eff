"""What stands before every route: who may ask, how much, how long; and what each answer carries."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

from funneltune.serving.gauges import Gauges
from funneltune.serving.limits import Limits
from funneltune.serving.strict import shown

logger = logging.getLogger("funneltune.serving")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")
HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    b"cache-control": b"no-store",
}


class Refused(Exception):  # noqa: N818 (the client's mistake, told with its status)
    """A request that gets an answer before any route sees it."""

    def __init__(self, status: int, told: str, **headers: str) -> None:
        super().__init__(told)
        self.status, self.told, self.headers = status, told, headers


class Guard:
    """An ASGI application around another.

    Args:
        app: The routes.
        routes: Paths that exist; any other is counted as `other`.
        open_paths: Paths that need no token: the page's own files and its health, which tell nothing of the data.
        hosts: Names under which the server answers, beside numeric addresses (which no foreign page can make a browser
            take for its own) and localhost. Against DNS rebinding.
        token: What a client must show as `Authorization: Bearer TOKEN`; None: nothing.
        limits: Sizes and times.
        gauges: What is counted.
    """

    def __init__(
        self,
        app: App,
        *,
        routes: Sequence[str],
        open_paths: Sequence[str],
        hosts: Sequence[str],
        token: str | None,
        limits: Limits,
        gauges: Gauges,
    ) -> None:
        self.app, self.limits, self.gauges = app, limits, gauges
        self.routes, self.open_paths = frozenset(routes), frozenset(open_paths)
        self.hosts = {host.lower() for host in ("localhost", *hosts)}
        self.expected = None if token is None else f"Bearer {token}".encode()
        self.open = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on with its whole body."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        begun, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message.get("headers", [])}
                more = [(name, value) for name, value in HEADERS.items() if name not in own]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        self.open += 1
        self.gauges.open.set(self.open)
        try:
            self._admit(scope)
            body = await self._body(scope, receive)
            await self.app(scope, _replayed(body, receive), sent)
        except Refused as refusal:
            await _tell(sent, refusal)
        except Exception as error:
            log_fault(error)
            if not status:
                await _tell(sent, Refused(500, "the server failed; its log says where."))
        finally:
            self.open -= 1
            self.gauges.open.set(self.open)
            route = scope["path"] if scope["path"] in self.routes else "other"
            method = scope["method"] if scope["method"] in METHODS else "other"
            seconds = time.perf_counter() - begun
            self.gauges.answered(route, method, status, seconds)
            logger.info("%s %s %d %.0f ms", method, route, status, 1000 * seconds)

    def _admit(self, scope: MutableMapping[str, Any]) -> None:
        if self.open > self.limits.open_requests and scope["path"] != "/health":
            raise Refused(503, f"{self.limits.open_requests} requests are open; ask again.", **{"retry-after": "1"})
        found = [value for name, value in scope["headers"] if name == b"host"]
        host = found[0].decode("latin-1") if len(found) == 1 else ""
        if not self._known(host):
            raise Refused(400, f"host={shown(host)} is none that this server answers to; start it with hosts=NAME.")
        if self.expected is None or scope["path"] in self.open_paths:
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], self.expected):
            told = "authorization: a token is needed, as `Authorization: Bearer TOKEN`."
            raise Refused(401, told, **{"www-authenticate": "Bearer"})

    def _known(self, host: str) -> bool:
        bracketed = host.startswith("[")
        name, separator, port = host[1:].partition("]") if bracketed else host.partition(":")
        port = port.removeprefix(":") if bracketed else port
        if (bracketed and not separator) or (port and not (port.isascii() and port.isdecimal())):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return not bracketed and name.lower().rstrip(".") in self.hosts
        return True

    async def _body(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        """The whole body of a POST; nothing is read of what the limits refuse."""
        if scope["method"] != "POST":
            return b""
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if scope["path"] in self.routes and kind != b"application/json":
            raise Refused(415, f"content-type={shown(kind.decode('latin-1'))} must be application/json.")
        most = self.limits.body_bytes
        too_much = Refused(413, f"body: more than {most:,} bytes; ask for less at once.")
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or len(announced) > 18 or int(announced) > most:
            raise too_much
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "body: the client left before its end.")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_much
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            told = f"body: not whole after {self.limits.body_seconds:g} s; send it faster."
            raise Refused(408, told, connection="close") from None


@contextmanager
def watched_log() -> Iterator[None]:
    """While it lasts, a line per request on stderr: method, route, status, time; never what was asked."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    earlier = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(earlier[0])
        logger.propagate = earlier[1]


def log_fault(error: BaseException) -> None:
    """A fault of ours: its kind and where, without its message, which may repeat what a client wrote."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("fault %s at %s", type(error).__name__, " < ".join(reversed(places[-12:])))


async def _tell(send: Send, refusal: Refused) -> None:
    body = json.dumps({"error": refusal.told}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    start = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
