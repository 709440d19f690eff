"""Tokens, headers, limits, times."""

import asyncio
import threading
import time

import pytest

from funneltune.errors import ConfigError
from funneltune.serving import Limits
from made_up import Scorer, Way, served, told

TOKEN = "a-token-of-letters"


@pytest.mark.parametrize("path", ["/runs", "/suggest", "/metrics", "/openapi.json", "/nothing"])
@pytest.mark.parametrize(
    "given", [None, "", TOKEN, f"Bearer {TOKEN}x", f"bearer {TOKEN}", f"Basic {TOKEN}", "Bearer ", "Bearer \u00e9"]
)
@pytest.mark.tried("hostile_request", "fault")
def test_without_the_token_nothing_of_the_data_is_told(serve, path, given):
    headers = {} if given is None else {"authorization": given.encode("latin-1")}
    answer = serve(token=TOKEN).get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_with_the_token_every_route_answers_and_the_page_needs_none(serve):
    client, shown = serve(token=TOKEN), {"authorization": f"Bearer {TOKEN}"}
    assert client.post("/rank", {"query": "shoes"}).status_code == 401
    assert client.post("/rank", {"query": "shoes"}, headers=shown).status_code == 200
    assert client.get("/runs", headers=shown).status_code == 200
    for path in ("/", "/page.css", "/page.js", "/health"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/runs", "/nothing", "/page.js", "/health"])
def test_every_answer_has_the_headers_that_keep_browsers_safe(serve, path):
    headers = serve().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] in {"no-store", "no-cache"}
    assert not any(name.startswith("access-control") for name in headers)


def test_other_origins_are_given_no_leave(serve):
    answer = serve()(
        "OPTIONS", "/rank", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


class Slow(Scorer):
    """Answers when it is let."""

    def __init__(self):
        super().__init__()
        self.gate, self.entered = threading.Event(), threading.Event()

        def wait(asked):
            self.entered.set()
            assert self.gate.wait(20)

        self.before = wait


def test_requests_that_gather_while_the_model_works_are_answered_together(serve):
    scorer = Slow()
    client = serve(served(scorer))
    threading.Thread(target=lambda: (scorer.entered.wait(20), time.sleep(1.5), scorer.gate.set()), daemon=True).start()
    answers = client.together(*({"query": f"words {n}"} for n in range(12)), first=0.05)
    assert [answer.status_code for answer in answers] == [200] * 12
    assert scorer.batches == [1, 11]
    text = client.get("/metrics").text
    assert "funneltune_batch_requests_count 2.0" in text
    assert 'funneltune_batch_requests_bucket{le="8.0"} 1.0' in text
    alone = [client.post("/rank", {"query": f"words {n}"}).json() for n in range(12)]
    assert [answer.json() for answer in answers] == alone  # company changes nothing


@pytest.mark.parametrize("limits", [Limits(batch=3), Limits(batch_items=18)])
def test_a_batch_has_its_limits(serve, limits):
    scorer = Slow()
    client = serve(served(scorer), limits=limits)
    threading.Thread(target=lambda: (scorer.entered.wait(20), time.sleep(1.5), scorer.gate.set()), daemon=True).start()
    client.together(*({"query": f"words {n}"} for n in range(8)), first=0.05)
    assert scorer.batches == [1, 3, 3, 1]


def test_runs_do_not_share_a_batch_and_none_waits_forever(serve):
    a, b = Slow(), Scorer("b")
    client = serve(served(a), served(b, "b"))
    threading.Thread(target=lambda: (a.entered.wait(20), time.sleep(1.5), a.gate.set()), daemon=True).start()
    bodies = [{"query": f"words {n}", "run": "ab"[n % 2]} for n in range(9)]
    assert {answer.status_code for answer in client.together(*bodies, first=0.05)} == {200}
    assert (a.batches, b.batches) == ([1, 4], [4])


@pytest.mark.tried("hostile_request", "fault")
def test_when_the_queue_is_full_clients_are_told_when_to_come_back(serve):
    scorer = Slow()
    client = serve(served(scorer), limits=Limits(waiting=2))
    threading.Thread(target=lambda: (scorer.entered.wait(20), time.sleep(0.3), scorer.gate.set()), daemon=True).start()
    answers = client.together(*({"query": f"words {n}"} for n in range(6)), first=0.05)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 503, 503, 503]
    assert answers[-1].headers["retry-after"] == "1"
    assert told(answers[-1]) == "2 requests wait for the model; ask again."


def test_a_full_queue_is_not_ready(serve):
    scorer = Slow()
    client = serve(served(scorer), limits=Limits(waiting=1))

    async def ask():
        import httpx

        transport = httpx.ASGITransport(app=client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            first = [asyncio.create_task(http.post("/rank", json={"query": "one"}))]
            await asyncio.to_thread(scorer.entered.wait, 20)
            first.append(asyncio.create_task(http.post("/rank", json={"query": "two"})))
            while not len(client.exchange.models):
                await asyncio.sleep(0.01)
            health = await http.get("/health")
            scorer.gate.set()
            await asyncio.gather(*first)
            return health, await http.get("/health")

    busy, after = asyncio.run(ask())
    assert (busy.status_code, busy.json()) == (503, {"live": True, "ready": False, "waiting": 1})
    assert (after.status_code, after.json()) == (200, {"live": True, "ready": True, "waiting": 0})


def test_too_many_open_requests_are_put_off_but_health_is_told(serve):
    scorer = Slow()
    client = serve(served(scorer), limits=Limits(open_requests=2))
    threading.Thread(target=lambda: (scorer.entered.wait(20), time.sleep(0.3), scorer.gate.set()), daemon=True).start()
    answers = client.together(*({"query": f"words {n}"} for n in range(4)), first=0.05)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]


@pytest.mark.tried("hostile_request", "fault")
def test_an_answer_that_takes_too_long_is_given_up_and_its_work_dropped(serve):
    scorer = Slow()
    client = serve(served(scorer), limits=Limits(seconds=0.3))
    threading.Thread(target=lambda: (scorer.entered.wait(20), time.sleep(0.8), scorer.gate.set()), daemon=True).start()
    answers = client.together({"query": "first"}, {"query": "second"}, first=0.05)
    assert [answer.status_code for answer in answers] == [504, 504]
    assert "no answer within 0.3 s" in told(answers[0])
    assert scorer.gate.wait(20)
    assert client.post("/rank", {"query": "third"}).status_code == 200
    assert scorer.batches == [1, 1]  # nobody waited for the second any more


@pytest.mark.tried("hostile_request", "fault")
def test_a_body_that_does_not_come_is_given_up(serve):
    client = serve(limits=Limits(body_seconds=0.1))
    sent = []

    async def receive():
        await asyncio.sleep(5)

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"20")]
    scope = {"type": "http", "method": "POST", "path": "/rank", "headers": headers, "query_string": b""}
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"not whole after 0.1 s" in sent[1]["body"]


@pytest.mark.tried("hostile_request", "fault")
def test_a_client_that_leaves_before_its_body_ends_costs_nothing(serve):
    client = serve()
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    asyncio.run(client.app({"type": "http", "method": "POST", "path": "/rank", "headers": headers}, receive, send))
    assert sent[0]["status"] == 400


def test_websockets_are_closed(serve):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(serve().app({"type": "websocket", "path": "/rank", "headers": []}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_counters_tell_routes_statuses_and_errors(serve):
    client = serve()
    client.post("/rank", {"query": "shoes"})
    client.post("/rank", {"query": "shoes", "top": 0})
    client.get("/secret-path")
    client("HACK", "/health")
    text = client.get("/metrics").text
    assert 'funneltune_requests_total{method="POST",route="/rank",status="200"} 1.0' in text
    assert 'funneltune_requests_total{method="POST",route="/rank",status="422"} 1.0' in text
    assert 'funneltune_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'funneltune_requests_total{method="other",route="/health",status="405"} 1.0' in text
    assert 'funneltune_errors_total{kind="refused"} 3.0' in text
    assert 'funneltune_request_seconds_count{route="/rank"} 2.0' in text
    assert "funneltune_waiting_requests 0.0" in text
    assert "process_resident_memory_bytes" in text
    assert "secret" not in text


def test_after_its_end_the_server_takes_no_work_and_says_so(serve):
    client = serve()
    assert client.exchange.models.stop()
    assert client.get("/health").status_code == 503
    answer = client.post("/rank", {"query": "shoes"})
    assert answer.status_code == 503
    assert "stopping" in told(answer)


def test_stopping_answers_what_waits(serve):
    scorer = Slow()
    client = serve(served(scorer))

    def stop():
        scorer.entered.wait(20)
        time.sleep(0.2)
        scorer.gate.set()
        client.exchange.models.stop()

    threading.Thread(target=stop, daemon=True).start()
    answers = client.together(*({"query": f"words {n}"} for n in range(3)), first=0.05)
    assert [answer.status_code for answer in answers] == [200] * 3


def test_the_end_of_the_application_ends_the_model_thread(serve):
    client = serve()

    async def live():
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent = []

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message["type"])

        await client.app({"type": "lifespan"}, receive, send)
        return sent

    assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not client.exchange.models.ready


@pytest.mark.tried("hostile_request", "fault")
def test_a_way_that_fails_fails_its_own_request_alone(serve):
    class Broken(Way):
        def find(self, asked, k):
            raise ConfigError("this way is closed.")

    scorer = Slow()
    client = serve(served(scorer, ways={"broken": Broken([0]), "some": Way([1])}))
    threading.Thread(target=lambda: (scorer.entered.wait(20), time.sleep(1.5), scorer.gate.set()), daemon=True).start()
    bodies = [{"query": "x"}, {"query": "y", "candidates": "broken"}, {"query": "z", "candidates": "some"}]
    assert [answer.status_code for answer in client.together(*bodies, first=0.05)] == [200, 422, 200]


@pytest.mark.parametrize(
    ("limit", "value"), [("body_bytes", 0), ("seconds", 0.0), ("batch", -1), ("stop_seconds", -2.0)]
)
def test_a_limit_under_which_nothing_passes_is_refused(limit, value):
    with pytest.raises(ConfigError, match=rf"{limit}={value} must be > 0; the default is"):
        Limits(**{limit: value})
