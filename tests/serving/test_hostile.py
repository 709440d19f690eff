"""What no honest client sends is refused with 4xx and one line, and nothing else happens."""

import json
import logging

import pytest

from made_up import Scorer, served, told

DEEP = "[" * 100_000 + "]" * 100_000
BODY = {"query": "shoes"}


def body(**fields):
    return json.dumps({**BODY, **fields})


# name: (path, body, status, what the line says)
BODIES = {
    "empty": ("/rank", "", 422, "body is missing"),
    "no JSON": ("/rank", "query=shoes", 400, "not JSON at letter 0"),
    "cut off": ("/rank", '{"query": "sho', 400, "or not closed"),
    "trailing comma": ("/rank", '{"query": "shoes",}', 400, "not JSON"),
    "two values": ("/rank", '{"query": "a"} {"query": "b"}', 400, "Extra data"),
    "a list": ("/rank", "[1, 2]", 422, "body=a value of type array"),
    "a string": ("/rank", '"shoes"', 422, "body='shoes'"),
    "null": ("/rank", "null", 422, "body"),
    "NaN": ("/rank", '{"query": "x", "time": NaN}', 400, "NaN is no JSON number"),
    "infinity": ("/rank", '{"query": "x", "time": -Infinity}', 400, "-Infinity is no JSON number"),
    "overflow to infinity": ("/rank", '{"query": "x", "time": 1e999}', 422, "time=inf must be"),
    "a million digits": ("/rank", '{"query": "x", "top": ' + "9" * 100_000 + "}", 400, "more than 4300 digits"),
    "many digits": ("/rank", '{"query": "x", "top": ' + "9" * 400 + "}", 422, "top=999"),
    "deep arrays": ("/rank", DEEP, 400, "nested more than 16 deep"),
    "deep objects": ("/rank", '{"a":' * 50_000 + "1" + "}" * 50_000, 400, "nested more than 16 deep"),
    "deep below a field": ("/rank", '{"query": ' + "[" * 20 + "]" * 20 + "}", 400, "nested"),
    "unclosed brackets": ("/rank", "[" * 1000, 400, "nested"),
    "escaped quotes without end": ("/rank", '"' + '\\"' * 100_000, 400, "not JSON"),
    "a name twice": ("/rank", '{"query": "a", "query": "b"}', 400, "'query' is given twice"),
    "unknown field": ("/rank", body(colour="red"), 422, "colour is no field here"),
    "unknown nested field": ("/rank", body(rules={"colour": 1}), 422, "rules.colour is no field here"),
    "a name that pollutes": ("/rank", body(__proto__={"x": 1}), 422, "__proto__ is no field here"),
    "number for text": ("/rank", '{"query": 5}', 422, "query=5 must be a valid string"),
    "null for text": ("/rank", '{"query": null}', 422, "query=None must be a valid string"),
    "object for text": ("/rank", '{"query": {"$gt": ""}}', 422, "query=a value of type object"),
    "text for number": ("/rank", body(top="5"), 422, "top='5' must be a valid integer"),
    "boolean for number": ("/rank", body(top=True), 422, "top=True must be a valid integer"),
    "fraction for whole": ("/rank", body(top=1.5), 422, "top=1.5 must be a valid integer"),
    "no place": ("/rank", body(top=0), 422, "top=0 must be greater than or equal to 1"),
    "too many places": ("/rank", body(top=1001), 422, "top=1001 must be less than or equal to 1000"),
    "negative time": ("/rank", body(time=-1), 422, "time=-1"),
    "no such run": ("/rank", body(run="c"), 422, "run='c' must be 'a' or 'b'"),
    "a path as run": ("/rank", body(run="../../etc/passwd"), 422, "run='../../etc/passwd' must be"),
    "long text": ("/rank", body(query="x" * 1001), 422, "must have at most 1000 characters"),
    "NUL": ("/rank", body(query="a\x00b"), 422, "no control character, and holds U+0000"),
    "escape sequence": ("/rank", body(user="\x1b[2J"), 422, "U+001B"),
    "half a character": ("/rank", '{"query": "\\ud800"}', 422, "query='\\ud800' must be a valid string"),
    "not UTF-8": ("/rank", b'{"query": "\xff\xfe"}', 400, "byte 11 is not UTF-8"),
    "UTF-16": ("/rank", '{"query": "a"}'.encode("utf-16"), 400, "is not UTF-8"),
    "no items": ("/rank", body(items=[]), 422, "items=a value of type array"),
    "unknown item": ("/rank", body(items=["i0", "'; DROP TABLE items"]), 422, "items[1]="),
    "a path as item": ("/rank", body(items=["../../../etc/shadow"]), 422, "items[0]='../../../etc/shadow' is none"),
    "too many items": ("/rank", body(items=["i0"] * 10_001), 422, "at most 10000 items"),
    "no such way": ("/rank", body(candidates="__class__"), 422, "candidates='__class__' must be one of all, some"),
    "no such rate": ("/rank", body(by="p"), 422, "by='p' must be one of"),
    "an order that is code": ("/rank", body(by="__import__('os').system('id')"), 422, "cannot be read"),
    "an endless weight": ("/rank", body(by="1e999*ctr"), 422, "weights must be numbers"),
    "no such ranking": ("/rank", body(ranking="../storefront"), 422, "ranking='../storefront' must be one of varied."),
    "no such calibration": ("/rank", body(calibration="x"), 422, "calibration='x' must be one of none."),
    "no depth": ("/rank", body(depth=0), 422, "depth=0 must be greater than or equal to 1"),
    "no depths end": ("/rank", body(depth=10_001), 422, "depth=10001 must be less than or equal to 10000"),
    "text for a part": ("/rank", body(diversity="much"), 422, "diversity='much' must be"),
    "a weight above 1": ("/rank", body(diversity={"weight": 1.1}), 422, "diversity.weight=1.1 must be less than"),
    "a weight as text": ("/rank", body(diversity={"weight": "1"}), 422, "diversity.weight='1' must be a valid number"),
    "likeness by nothing": ("/rank", body(diversity={"by": []}), 422, "diversity.by=a value of type array must"),
    "likeness by no column": ("/rank", body(diversity={"by": "brnd"}), 422, "column 'brnd'; did you mean 'brand'?"),
    "an endless pool": ("/rank", body(diversity={"pool": 10**6}), 422, "diversity.pool=1000000 must be less than"),
    "a price as text": ("/rank", body(rules={"price": ["1", None]}), 422, "rules.price[0]='1' must be"),
    "a price below 0": ("/rank", body(rules={"price": [-1, None]}), 422, "rules.price[0]=-1 must be greater than"),
    "one price": ("/rank", body(rules={"price": [1]}), 422, "rules.price=a value of type array must have at least 2"),
    "price upside down": ("/rank", body(rules={"price": [3, 1]}), 422, "the lowest is above the highest"),
    "no values": ("/rank", body(rules={"only": {"brand": []}}), 422, "rules.only.brand=a value of type array must"),
    "many values": ("/rank", body(rules={"only": {"brand": ["x"] * 101}}), 422, "at most 100 items"),
    "many columns": (
        "/rank",
        body(rules={"without": {str(n): ["x"] for n in range(11)}}),
        422,
        "rules.without=a value",
    ),
    "no such column": ("/rank", body(rules={"only": {"colour": ["red"]}}), 422, "rules.only: the items have no column"),
    "no such value": (
        "/rank",
        body(rules={"only": {"brand": ["Bri"]}}),
        422,
        "no item has 'Bri'; did you mean 'Brio'?",
    ),
    "a boost below 0": ("/rank", body(rules={"boost": {"brand": {"Brio": -1}}}), 422, "rules.boost.brand.Brio=-1 must"),
    "a huge boost": (
        "/rank",
        body(rules={"boost": {"brand": {"Brio": 1e9}}}),
        422,
        "must be less than or equal to 1000",
    ),
    "a boost of all": ("/rank", body(rules={"boost": {"brand": 2}}), 422, "rules.boost.brand=2 must be a valid dict"),
    "none of a kind": ("/rank", body(rules={"at_most": {"brand": 0}}), 422, "rules.at_most.brand=0 must be greater"),
    "a pin nowhere": ("/rank", body(rules={"pinned": {"0": "i1"}}), 422, "rules.pinned"),
    "a pin twice": ("/rank", body(rules={"pinned": ["i1", "i1"]}), 422, "names an item twice"),
    "an unknown pin": ("/rank", body(rules={"pinned": ["i9"]}), 422, "rules.pinned: 'i9' is none of the 6 items"),
    "too many pins": ("/rank", body(rules={"pinned": ["i1"] * 101}), 422, "rules.pinned"),
    "a file as stock": ("/rank", body(rules={"stock": "/etc/stock.csv"}), 422, "must be a column of the items"),
    "a folder as stock": ("/rank", body(rules={"stock": "../x"}), 422, "the items have no column '../x'"),
    "nothing left": (
        "/rank",
        body(rules={"price": [900, None]}),
        422,
        "rules leave none of the 6 items: price drops 6",
    ),
    "exposure of nothing": ("/rank", body(exposure={"target": "merit"}), 422, "exposure.column is missing"),
    "a target of its own": (
        "/rank",
        body(exposure={"column": "brand", "target": "x"}),
        422,
        "exposure.target='x' must",
    ),
    "shares of words": (
        "/rank",
        body(exposure={"column": "brand", "target": {"Brio": "1"}}),
        422,
        "exposure.target.Brio='1' must be a valid number",
    ),
    "more than all": (
        "/rank",
        body(exposure={"column": "brand", "target": {"Brio": 0.7, "Quill": 0.7}}),
        422,
        "add up to 1.4",
    ),
    "many places to arrange": (
        "/rank",
        body(top=201, rules={"at_most": {"brand": 2}}),
        422,
        "top=201 must be 200 or less where rules, diversity or exposure",
    ),
    "no pairs": ("/score", '{"pairs": []}', 422, "pairs"),
    "too many pairs": ("/score", json.dumps({"pairs": [{"query": "x", "item": "i0"}] * 1001}), 422, "at most 1000"),
    "pair without item": ("/score", '{"pairs": [{"query": "x"}]}', 422, "pairs[0].item is missing"),
    "unknown pair": ("/score", '{"pairs": [{"query": "x", "item": "y"}]}', 422, "pairs[0].item='y' is none"),
    "nothing to explain": ("/explain", '{"query": "x"}', 422, "item is missing"),
    "empty item": ("/explain", '{"query": "x", "item": ""}', 422, "item='' must have at least 1 character"),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.tried("hostile_request", "bad_input")
def test_a_body_is_refused_in_one_line(serve, name):
    path, content, status, line = BODIES[name]
    scorer = Scorer()
    client = serve(served(scorer, named={"varied": {}}, calibrations={"none": scorer}))
    answer = client("POST", path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert line in told(answer)
    assert len(told(answer)) < 400
    assert client.exchange.runs["a"].scorer.batches == []  # no model saw it


# name: (method, path, headers, status, what the line says)
JSON = {"content-type": "application/json"}
REQUESTS = {
    "GET on a POST route": ("GET", "/rank", {}, 405, "method"),
    "POST on a GET route": ("POST", "/runs", {"content-type": "application/json"}, 405, "method"),
    "DELETE": ("DELETE", "/rank", {}, 405, "method"),
    "TRACE": ("TRACE", "/", {}, 405, "method"),
    "a method of its own": ("HACK", "/health", {}, 405, "method"),
    "no such path": ("GET", "/admin", {}, 404, "path"),
    "path traversal": ("GET", "/../../etc/passwd", {}, 404, "path"),
    "encoded traversal": ("GET", "/%2e%2e/%2e%2e/etc/passwd", {}, 404, "path"),
    "encoded slash": ("GET", "/..%2f..%2fapp.py", {}, 404, "path"),
    "the source": ("GET", "/assets/page.html", {}, 404, "path"),
    "NUL in the path": ("GET", "/page.css%00.js", {}, 404, "path"),
    "documentation from elsewhere": ("GET", "/docs", {}, 404, "path"),
    "form": ("POST", "/rank", {"content-type": "application/x-www-form-urlencoded"}, 415, "content-type="),
    "text, which needs no preflight": ("POST", "/rank", {"content-type": "text/plain"}, 415, "content-type="),
    "no type": ("POST", "/score", {}, 415, "content-type=''"),
    "another host": ("GET", "/health", {"host": "evil.example"}, 400, "host='evil.example' is none"),
    "another host's page": ("POST", "/rank", {"host": "rebound.example:8000"}, 400, "host="),
    "no host": ("GET", "/", {"host": ""}, 400, "host=''"),
    "user in host": ("GET", "/", {"host": "localhost@evil.example"}, 400, "host="),
    "odd port": ("GET", "/", {"host": "localhost:80x"}, 400, "host="),
    "half an address": ("GET", "/", {"host": "[::1"}, 400, "host="),
    "too long to suggest": ("GET", "/suggest?query=" + "x" * 1001, {}, 422, "query="),
    "too many to suggest": ("GET", "/suggest?most=101", {}, 422, "most='101' must be less than or equal to 100"),
    "no number": ("GET", "/suggest?most=1e9", {}, 422, "most='1e9'"),
    "less than none": ("GET", "/suggest?most=-1", {}, 422, "most='-1' must be greater than or equal to 1"),
    "a word that no one reads": (
        "GET",
        "/suggest?limit=-1",
        {},
        422,
        "limit is no parameter here; /suggest reads query",
    ),
    "a word beside the body": ("POST", "/rank?top=3", JSON, 422, "top is no parameter here; ask in the body"),
    "an odd word": ("GET", "/suggest?%00%0a=1", {}, 422, "\\x00\\n is no parameter here"),
    "announced too large": (
        "POST",
        "/rank",
        {"content-type": "application/json", "content-length": "999999999"},
        413,
        "",
    ),
    "announced oddly": ("POST", "/rank", {"content-type": "application/json", "content-length": "-1"}, 413, "body"),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.tried("hostile_request", "bad_input")
def test_a_request_is_refused_in_one_line(serve, name):
    method, path, headers, status, line = REQUESTS[name]
    answer = serve()(method, path, headers=headers)
    assert answer.status_code == status
    assert line in told(answer)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "192.168.7.9:80", "[::1]:8000", "shop.example"]
)
def test_known_hosts_are_answered(serve, host):
    assert serve(hosts=["Shop.example"]).get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "words",
    [
        "Ω≈ç√∫ 😀👩‍👩‍👧",
        "\u202eshoes\u202c",
        "\u200b\u200d",
        "ﷺ" * 200,
        "a" + "\u0301" * 500,
        "<script>alert(1)</script>",
        "{{7*7}}",
    ],
)
def test_odd_words_are_words(serve, words):
    answer = serve().post("/rank", {"query": words})
    assert answer.status_code == 200
    assert "alert" not in answer.text


@pytest.mark.tried("hostile_request", "fault")
def test_a_body_above_the_limit_is_refused_though_it_announces_nothing(serve):
    async def parts():
        for _ in range(100):
            yield b" " * 10_000

    answer = serve()("POST", "/rank", content=parts(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "more than 524,288 bytes" in told(answer)


@pytest.mark.tried("hostile_request", "fault")
def test_errors_repeat_no_terminal_codes_and_no_long_values(serve):
    line = told(serve().post("/rank", {"query": "x", "run": "\u202e\x1b" * 50 + "y" * 500}))
    assert line.isascii() or "…" in line
    assert all(letter not in line for letter in "\u202e\x1b\n")
    assert len(line) < 120


@pytest.mark.tried("hostile_request", "fault")
def test_a_fault_of_ours_is_told_without_its_words(serve, caplog):
    logging.getLogger("funneltune.serving").propagate = True
    client = serve()
    with caplog.at_level(logging.INFO, "funneltune.serving"):
        answer = client.post("/rank", {"query": "broken", "user": "ann"})
    assert answer.status_code == 500
    assert told(answer) == "the server failed; its log says where."
    assert "fault ZeroDivisionError at" in caplog.text
    assert "made_up.py" in caplog.text
    assert "secret" not in caplog.text
    assert client.post("/rank", {"query": "shoes"}).status_code == 200  # and the server goes on


@pytest.mark.tried("persons", "canary")
def test_logs_hold_no_words_no_shopper_and_no_token(serve, caplog):
    client = serve(token="a-token-of-letters")
    with caplog.at_level(logging.DEBUG):
        client.post(
            "/rank", {"query": "private words", "user": "ann"}, headers={"authorization": "Bearer a-token-of-letters"}
        )
        client.get("/suggest", params={"user": "ann", "query": "private"})
        client.get("/private%20path")
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("funneltune"))
    assert "POST /rank 200" in ours
    assert "GET /suggest 401" in ours
    assert "GET other 401" in ours
    assert not any(word in ours for word in ("private", "ann", "a-token"))
