"""The routes: ranked lists, scores and explanations over HTTP, and the page."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as AnyHTTPException

from funneltune.errors import FunnelError
from funneltune.serving.batching import Job, ModelThread, QueueFullError, StoppedError
from funneltune.serving.fields import KINDS as KINDS_OF_VALUE
from funneltune.serving.gauges import CONTENT_TYPE, Gauges
from funneltune.serving.guard import Guard, Refused
from funneltune.serving.limits import CHOICES, LETTERS, Limits
from funneltune.serving.served import ServedRun
from funneltune.serving.strict import Malformed, parse, shown
from funneltune.serving.suggestions import LogChoices, plain_or_none
from funneltune.serving.wire import (
    ExplainRequest,
    Health,
    RankAnswer,
    RankRequest,
    Runs,
    ScoreAnswer,
    ScoreRequest,
    Suggestions,
    problems,
)

KINDS = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
PAGE = {
    "/": "page.html",
    **{f"/{name}": name for name in ("page.css", "favicon.svg")},
    **{f"/{name}.js": f"{name}.js" for name in ("combo", "diff", "dom", "explained", "lists", "page", "server", "why")},
}
"""Path -> file of `assets`: the page needs no build and nothing from elsewhere."""
MODEL = problems(400, 401, 408, 413, 415, 422, 503, 504)
Typed = Annotated[str, Query(max_length=LETTERS)]


class Exchange:
    """What the routes share: the runs, the model thread, the counters.

    Args:
        runs: One or two, of one log.
        choices: The log's queries and shoppers.
        limits: Sizes and times.
    """

    def __init__(self, runs: Sequence[ServedRun], choices: LogChoices, limits: Limits) -> None:
        self.runs: dict[str, ServedRun] = {run.side: run for run in runs}
        self.choices, self.limits = choices, limits
        self.gauges = Gauges(lambda: len(self.models))
        self.models = ModelThread(limits, self.gauges.batched)

    def run(self, side: str) -> ServedRun:
        """The run that a request names.

        Raises:
            Refused: if only one is served.
        """
        if side not in self.runs:
            raise Refused(422, f"run={shown(side)} must be one of {', '.join(self.runs)}, the runs that are served.")
        return self.runs[side]

    async def answer(self, make: Callable[[float], Job[dict[str, Any]]]) -> Response:
        """What the model says, in time or not at all.

        Raises:
            Refused: 503 where too many wait, 504 where it takes too long.
            FunnelError: where the model finds a mistake.
        """
        seconds = self.limits.seconds
        job = make(time.monotonic() + seconds)
        try:
            found = await asyncio.wait_for(self.models.submit(job), seconds)
        except QueueFullError:
            told = f"{self.limits.waiting} requests wait for the model; ask again."
            raise Refused(503, told, **{"retry-after": "1"}) from None
        except StoppedError:
            raise Refused(503, "the server is stopping; ask another.", **{"retry-after": "5"}) from None
        except TimeoutError:
            raise Refused(504, f"no answer within {seconds:g} s; ask for fewer candidates, or later.") from None
        return JSONResponse(found)


def make_app(
    runs: Sequence[ServedRun],
    choices: LogChoices,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> Guard:
    """The server as an ASGI application.

    Args:
        runs: One or two, of one log.
        choices: The log's queries and shoppers.
        limits: Sizes and times.
        token: What clients must show; None: nothing.
        hosts: Names under which the server answers, beside localhost and numeric addresses.
    """
    limits = limits or Limits()
    exchange = Exchange(runs, choices, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(exchange.models.stop, limits.stop_seconds)

    app = FastAPI(
        title="funneltune",
        version=version("funneltune"),
        summary="Ranked lists with calibrated probabilities of clicks and purchases, from trained runs.",
        docs_url=None,  # their pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.exchange = exchange
    app.router.route_class = _StrictRoute
    _model_routes(app, exchange)
    _other_routes(app, exchange)
    for path, name in PAGE.items():
        body = files("funneltune.serving").joinpath("assets", name).read_bytes()
        app.add_api_route(path, _fixed(body, KINDS[name.rpartition(".")[2]]), include_in_schema=False)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(FunnelError, _mistaken)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return Guard(
        app,
        routes=[str(getattr(route, "path", "")) for route in app.routes],
        open_paths=[*PAGE, "/health"],
        hosts=hosts,
        token=token,
        limits=limits,
        gauges=exchange.gauges,
    )


def _model_routes(app: FastAPI, exchange: Exchange) -> None:
    @app.post("/rank", response_model=RankAnswer, responses=MODEL)
    async def rank(asked: RankRequest) -> Response:
        """Items in order, best first, with the probabilities of each."""
        run = exchange.run(asked.run)
        return await exchange.answer(lambda deadline: run.rank(asked, deadline))

    @app.post("/score", response_model=ScoreAnswer, responses=MODEL)
    async def score(asked: ScoreRequest) -> Response:
        """The probabilities of pairs of a request and an item."""
        run = exchange.run(asked.run)
        return await exchange.answer(lambda deadline: run.score(asked, deadline))

    @app.post("/explain", responses=MODEL)
    async def explain(asked: ExplainRequest) -> Response:
        """What an item's probability comes from."""
        run = exchange.run(asked.run)
        return await exchange.answer(lambda deadline: run.explanation(asked, deadline))


def _other_routes(app: FastAPI, exchange: Exchange) -> None:
    @app.get("/runs", response_model=Runs, responses=problems(401))
    async def runs() -> Response:
        """What is served: each run's name, tuning, metrics and calibration, and what may be asked of it."""
        return JSONResponse({"runs": [run.as_json() for run in exchange.runs.values()]})

    @app.get("/suggest", response_model=Suggestions, responses=problems(401, 422))
    def suggest(query: Typed = "", user: Typed = "", most: Annotated[int, Query(ge=1, le=CHOICES)] = 8) -> Response:
        """Queries and shoppers of the log that hold what was typed."""
        queries, users = plain_or_none(query), plain_or_none(user)
        found = {
            "queries": [] if queries is None else exchange.choices.queries.of(queries, most),
            "users": [] if users is None else exchange.choices.users.of(users, most),
        }
        return JSONResponse(found)

    @app.get("/health", response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """Whether the process lives, and (else 503) whether it takes requests."""
        waiting = len(exchange.models)
        ready = exchange.models.ready and waiting < exchange.limits.waiting
        return JSONResponse({"live": True, "ready": ready, "waiting": waiting}, 200 if ready else 503)

    @app.get("/metrics", response_class=Response, responses=problems(401))
    async def metrics() -> Response:
        """Counters and histograms, as Prometheus reads them."""
        return Response(exchange.gauges.text(), media_type=CONTENT_TYPE)


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return parse(await self.body())
        except Malformed as error:
            raise HTTPException(400, str(error)) from None


class _StrictRoute(APIRoute):
    """Bodies are parsed as `strict.parse` does, and words of the address that the route does not read are refused."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()
        read = [str(parameter.alias) for parameter in self.dependant.query_params]
        reads_what_is_asked = bool(read) or "POST" in (self.methods or ())

        async def strict(request: Request) -> Response:
            if reads_what_is_asked and (odd := [name for name in request.query_params if name not in read]):
                here = f"{self.path} reads {', '.join(read)}" if read else "ask in the body"
                raise Refused(422, f"{shown(odd[0])[1:-1]} is no parameter here; {here}; see /openapi.json.")
            answer: Response = await handle(_StrictRequest(request.scope, request.receive))
            return answer

        return strict


def _fixed(body: bytes, kind: str) -> Callable[[], Any]:
    async def file() -> Response:
        return Response(body, media_type=kind, headers={"cache-control": "no-cache"})

    return file


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.told}, error.status, error.headers)


async def _mistaken(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": " ".join(str(error).split())[:500]}, 422)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    told = {404: "path: there is nothing here; see /openapi.json.", 405: "method: not of this path."}
    return JSONResponse({"error": told.get(error.status_code, str(error.detail))}, error.status_code, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"error": _in_words(error.errors()[0])}, 422)


async def _failed(*_: Any) -> Response:
    return JSONResponse({"error": "the server failed; its log says where."}, 500)


def _in_words(fault: dict[str, Any]) -> str:
    """Field, value and rule of a validation fault, in one line."""
    where = fault["loc"][1:]
    field = "".join(
        f"[{part}]" if isinstance(part, int) else f".{shown(part)[1:-1]}"
        for part in where
        if part not in KINDS_OF_VALUE
    ).lstrip(".")
    if fault["type"] == "missing":
        return f"{field or 'body'} is missing; it is needed."
    if fault["type"] == "extra_forbidden":
        return f"{field} is no field here; see /openapi.json."
    rule = re.sub(r"^(Value error, |\w+ should )", lambda begin: "must " if "should" in begin[0] else "", fault["msg"])
    return f"{field or 'body'}={shown(fault['input'])} {rule[:200]}."
