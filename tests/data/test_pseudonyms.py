"""Identifiers are replaced under a key as a log is read; without the key nothing leads back."""

import hashlib
import hmac
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from funneltune.data import Simulated, Table, describe, prepare
from funneltune.data.leaks import text_columns
from funneltune.data.pseudonyms import Pseudonyms, pseudonymous, recorded, require_key
from funneltune.data.shown import Known, Shown, hides_field
from funneltune.data.slices import Slices
from funneltune.errors import ConfigError, DataError, RunError
from tables import GOOD, ROLES

KEY = "f1e2d3c4b5a697887766554433221100"
NODE = {"of": ["user", "query"], "key": "SOME_KEY"}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)


@pytest.fixture
def log(tmp_path):
    GOOD.to_csv(tmp_path / "log.csv", index=False)
    return tmp_path / "log.csv"


def by_hand(side, value):
    """RFC 2104, block by block: H((K ^ opad) + H((K ^ ipad) + m))."""
    key = KEY.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + f"{side}\0{value}".encode()).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()[:32]


def test_a_pseudonym_is_128_bits_of_hmac_sha256():
    found = Pseudonyms.parse(NODE)
    assert found.of_value("user", "u1") == by_hand("user", "u1")
    assert found.of_value("query", "u1") != by_hand("user", "u1")  # a shopper and a query of one name are not linked
    assert found.of_value("user", "") == ""  # no shopper is none
    assert len(found.of_value("user", "\udcff")) == 32  # what no encoding holds


def test_a_store_holds_pseudonyms_and_the_words_that_the_model_reads(log, tmp_path, funnel):
    plain = prepare(Table(log, **ROLES), funnel, tmp_path / "cache")
    store = prepare(pseudonymous(Table(log, **ROLES), NODE), funnel, tmp_path / "cache")
    assert store.table("users").column("key").to_pylist() == [by_hand("user", "u1"), by_hand("user", "u2")]
    assert store.table("queries").column("key").to_pylist() == [by_hand("query", q) for q in ("red couch", "lamp")]
    assert store.table("queries").column("query").to_pylist() == ["red couch", "lamp"]
    assert store.table("items").column("key").to_pylist() == ["a", "b", "c", "d"]
    for name in plain.table("impressions").column_names:
        assert np.array_equal(plain.column(name), store.column(name)), name
    assert store.fingerprint != plain.fingerprint
    assert store.manifest["source"]["pseudonyms"] == {"of": ["user", "query"], "key": by_hand("key", "funneltune")[:16]}
    everything = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert KEY.encode() not in everything
    assert b"u1" not in b"".join((store.folder / f"{name}.arrow").read_bytes() for name in ("users", "impressions"))


@pytest.mark.parametrize(("of", "hidden"), [("user", {"users"}), (["query"], {"queries"})])
def test_one_side_alone_can_be_replaced(log, tmp_path, funnel, of, hidden):
    store = prepare(pseudonymous(Table(log, **ROLES), {"of": of, "key": "SOME_KEY"}), funnel, tmp_path / "cache")
    for table, key in (("users", "u1"), ("queries", "red couch")):
        assert (key in store.table(table).column("key").to_pylist()) == (table not in hidden)


def test_null_leaves_a_source_what_it_is(log):
    source = Table(log, **ROLES)
    assert pseudonymous(source, None) is source
    assert recorded(source) == {}


def test_the_marketplace_has_pseudonyms_too_and_keeps_its_pictures(tmp_path, funnel):
    source = pseudonymous(Simulated(impressions=200, items=60, queries=20, shoppers=10, page=5), NODE)
    store = prepare(source, funnel, tmp_path / "cache")
    assert {len(key) for key in store.table("users").column("key").to_pylist()} == {32}
    assert store.vectors("image").shape[0] == 60
    assert next(iter(source.pictures("photo", store))).content


def test_a_file_of_new_rows_is_read_under_the_same_pseudonyms(log, tmp_path, funnel):
    source = pseudonymous(Table(log, **ROLES), NODE)
    store = prepare(source.unlabelled(log), funnel, tmp_path / "cache")
    assert store.table("users").column("key").to_pylist()[0] == by_hand("user", "u1")
    assert text_columns(source)["query"] == {"query": "q"}  # what looks for leaks sees the table behind


@pytest.mark.tried("persons", "leak")
def test_a_dictionary_of_all_identifiers_finds_none_without_the_key(tally):
    """Whoever has the list of identifiers hashes them all, with any of the keys that one would try first."""
    found = Pseudonyms.parse(NODE)
    ids = [f"shopper-{n:06d}" for n in range(20_000)]
    pseudonyms = {found.of_value("user", one) for one in ids}
    assert len(pseudonyms) == len(ids)
    for key in (
        b"",
        b"funneltune",
        b"SOME_KEY",
        b"user",
        KEY[:16].encode(),
        KEY.upper().encode(),
        found.fingerprint.encode(),
    ):
        for message in (str.encode, lambda one: f"user\0{one}".encode()):
            tried = {hmac.digest(key, message(one), "sha256").hex()[:32] for one in ids}
            assert not tried & pseudonyms
    for plain in (hashlib.sha256, hashlib.md5, hashlib.sha1):
        assert not {plain(one.encode()).hexdigest()[:32] for one in ids} & pseudonyms
    tally(7 * 2 + 3)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.tried("persons", "bad_input")
@pytest.mark.parametrize(
    ("node", "told"),
    [
        ("SOME_KEY", r"data.pseudonyms must be null, or \{of: \[user, query\], key: NAME"),
        ({"of": ["user"]}, r"must be null, or .* \(its keys: of\)"),
        ({"key": "SOME_KEY", "off": ["user"]}, r"its keys: key, off"),
        ({"key": "SOME_KEY", "of": ["usr"]}, r"'usr' is none of user, query \(nearest: user\)"),
        ({"key": "NOT_THERE"}, r"key=NOT_THERE: there is no such environment variable; make one: export NOT_THERE="),
        ({"key": "SHORT_KEY"}, r"key=SHORT_KEY holds 15 bytes; a key has 16 or more, .* make one: export SHORT_KEY="),
        ({"key": "BLANK_KEY"}, r"key=BLANK_KEY holds 0 bytes; a key has 16 or more"),
        ({"key": "DULL_KEY"}, r"key=DULL_KEY holds 5 distinct letters; a key is drawn .*: make one: export DULL_KEY="),
        ({"key": "a/file/that/is/not/there"}, r"names neither an environment variable .* nor a file"),
    ],
)
def test_a_node_or_key_that_is_none_is_told_in_one_line(node, told, monkeypatch):
    monkeypatch.setenv("SHORT_KEY", "canary-15-bytes")
    monkeypatch.setenv("BLANK_KEY", " " * 20)
    monkeypatch.setenv("DULL_KEY", "canary" * 5 + "\n")
    with pytest.raises(ConfigError, match=told) as caught:
        Pseudonyms.parse(node)
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.tried("persons", "bad_input")
@pytest.mark.parametrize("key", [KEY, "canary-key.with/marks", "Canary.Key"])
def test_a_key_that_stands_in_the_config_itself_is_not_shown(key):
    with pytest.raises(ConfigError, match="names neither") as caught:
        Pseudonyms.parse({"key": key})
    assert key not in str(caught.value)


@pytest.mark.tried("persons", "bad_input")
def test_a_key_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "shop.key"
    path.write_text(KEY + "\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read the file; chmod 600"):
        Pseudonyms.parse({"key": str(path)})
    path.chmod(0o600)
    assert Pseudonyms.parse({"key": str(path)}).of_value("user", "u1") == by_hand("user", "u1")
    path.write_text("a" * 32)
    with pytest.raises(ConfigError, match=rf"holds 1 distinct letters; .* make one: python -c .* > {path}\.$"):
        Pseudonyms.parse({"key": str(path)})


def test_white_space_around_a_key_is_none_of_it(monkeypatch):
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    assert Pseudonyms.parse(NODE).of_value("user", "u1") == by_hand("user", "u1")


@pytest.mark.tried("persons", "leak")
@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ({"categorical": ["colour", "shopper"]}, "data.source.categorical: column 'shopper' identifies a user"),
        ({"numeric": ["shopper"]}, "data.source.numeric: column 'shopper' identifies a user"),
        (
            {"query_text": {"query": "q", "who": "shopper"}},
            "data.source.query_text: column 'shopper' identifies a user",
        ),
        ({"item_text": {"title": "name", "asked": "q"}}, "data.source.item_text: column 'q' identifies a query"),
        ({"categorical": ["q"]}, "data.source.categorical: column 'q' identifies a query"),
    ],
)
def test_an_identifier_that_is_read_elsewhere_too_is_refused(log, roles, told):
    with pytest.raises(ConfigError, match=told):
        pseudonymous(Table(log, **{**ROLES, **roles}), NODE)


@pytest.mark.tried("persons", "bad_input")
def test_another_key_than_the_runs_is_refused_by_fingerprints(log, monkeypatch):
    of_run = recorded(pseudonymous(Table(log, **ROLES), NODE))
    require_key(NODE, of_run, "run=a")
    require_key(None, {}, "run=a")
    monkeypatch.setenv("SOME_KEY", KEY[::-1])
    with pytest.raises(RunError, match=r"run=a: data.pseudonyms.key=SOME_KEY holds another key \(fingerprint \w{16}\)"):
        require_key(NODE, of_run, "run=a")
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(ConfigError) as caught:
        require_key(NODE, of_run, "run=a")
    wanted = of_run["pseudonyms"]["key"]
    assert str(caught.value) == (
        "run=a: data.pseudonyms.key=SOME_KEY: there is no such environment variable; set the run's own key "
        f"(fingerprint {wanted}): under another its shoppers would be strangers."
    )


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_shoppers_and_queries_are_shown_by_pseudonyms_and_asked_for_by_either(log, tmp_path, funnel):
    source = pseudonymous(Table(log, **ROLES), NODE)
    store = prepare(source, funnel, tmp_path / "cache")
    shown = Shown(source, store, {"query": "for {query}"})
    user, query = by_hand("user", "u1"), by_hand("query", "lamp")
    assert shown.user("u1") == shown.user(user) == user
    assert shown.user("a stranger") == by_hand("user", "a stranger")
    assert shown.query("for lamp") == shown.query(query) == query  # as the run reads it, and by its pseudonym
    assert shown.query("other words") == by_hand("query", "other words")
    known = Known({user: 0}, shown.user)
    assert (known.get("u1"), known.get(user), known.get("u2", -1)) == (0, 0, -1)
    plain = Shown(Table(log, **ROLES), store, {})
    assert (plain.user("u1"), plain.query("lamp"), plain.hides("user")) == ("u1", "lamp", False)


@pytest.mark.tried("persons", "leak")
def test_slices_by_the_words_of_queries_are_refused(log, tmp_path, funnel):
    store = prepare(pseudonymous(Table(log, **ROLES), NODE), funnel, tmp_path / "cache")
    with pytest.raises(DataError, match="'query.query' holds words of queries, which data.pseudonyms hides"):
        Slices(store, ("query.query",), "for {query}")
    assert not hides_field(store, "for {query}", "query.market")
    assert not hides_field(store, "for {query}", "item.title")
    Slices(prepare(Table(log, **ROLES), funnel, tmp_path / "cache"), ("query.query",), "for {query}")


def test_a_copied_store_says_which_key_it_was_made_under(log, tmp_path, funnel):
    store = prepare(pseudonymous(Table(log, **ROLES), NODE), funnel, tmp_path / "cache")
    shutil.copytree(store.folder, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "store.json").read_text())
    assert manifest["source"]["pseudonyms"]["key"] == Pseudonyms.parse(NODE).fingerprint
    assert pa.ipc.open_file(tmp_path / "copy" / "users.arrow").read_all().num_rows == 2


def test_describe_counts_queries_that_few_shoppers_asked(log, tmp_path, make_data):
    """Of the marketplace's log: as a plain count by pandas."""
    data = make_data()
    frame = pd.DataFrame({name: data.store.of_requests(name) for name in ("query", "user")})
    asking = frame.groupby("query")["user"].nunique()
    assert describe(data)["queries of fewer than 5 shoppers"] == int((asking < 5).sum()) > 0
