"""Shoppers and queries under pseudonyms: a keyed hash in place of each identifier, from the reading of a log on.

Keyed, for identifiers are few and easily listed: whoever knows how a plain hash is made hashes them all and looks up
(and counts of hashed words of queries betray the words, Kumar et al. 2007). A pseudonym is the first 128 bits of
HMAC-SHA256 under a key that lies in the environment or in a file of its owner's. The same person has the same pseudonym
throughout: the log is pseudonymised, not anonymous.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from funneltune.errors import ConfigError, RunError
from funneltune.secrets import ENVIRONMENT_NAME

if TYPE_CHECKING:
    from funneltune.data.sources import Source
    from funneltune.data.write import StoreWriter

SIDES = {"users": "user", "queries": "query"}
"""Table of a store -> whose identifiers it holds."""
LEAST = 16
"""Bytes of a key."""
LETTERS = 32
"""Hexadecimal ones of a pseudonym: 128 bits."""
DISTINCT = 8
"""Distinct bytes of a key."""
DRAW = "python -c 'import secrets; print(secrets.token_hex(32))'"
T = TypeVar("T")


@dataclass(frozen=True)
class Pseudonyms:
    """Whose identifiers are replaced, and the key.

    Args:
        of: `user`, `query` or both.
        secret: The key's bytes.
        name: The variable or file that holds it.
    """

    of: tuple[str, ...]
    secret: bytes = field(repr=False)
    name: str = ""

    @classmethod
    def parse(cls, node: Any, wanted: str | None = None) -> Pseudonyms | None:
        """`data.pseudonyms`: null, or {of: [user, query], key: NAME}, NAME being an environment variable or a file.
        `wanted`: the fingerprint of the one key that will do, for messages; None: a new log may have a new one.

        Raises:
            ConfigError: naming what is wrong, the key's value never.
        """
        if node is None:
            return None
        rule = "must be null, or {of: [user, query], key: NAME OF A VARIABLE OR FILE}"
        if not isinstance(node, Mapping) or set(node) - {"of", "key"} or "key" not in node:
            keys = f" (its keys: {', '.join(map(str, node))})" if isinstance(node, Mapping) else ""
            raise ConfigError(f"data.pseudonyms {rule}{keys}.")
        of = node.get("of") or list(SIDES.values())
        of = tuple([of] if isinstance(of, str) else of)
        for one in of:
            if one not in SIDES.values():
                near = get_close_matches(str(one), SIDES.values(), 1)
                raise ConfigError(
                    f"data.pseudonyms.of={list(of)}: {one!r} is none of {', '.join(SIDES.values())}"
                    + (f" (nearest: {near[0]})." if near else ".")
                )
        secret = _read_key(str(node["key"]), wanted)
        return cls(of, secret, str(node["key"]))

    @property
    def fingerprint(self) -> str:
        """What tells two keys apart, and nothing of either."""
        return self.of_value("key", "funneltune")[:16]

    def of_value(self, side: str, value: str) -> str:
        """A pseudonym: of a user, a query; what has no identifier keeps none."""
        if not value:
            return value
        told = f"{side}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.secret, told, "sha256").hex()[:LETTERS]

    def columns(self, table: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        """A table's columns, `key` replaced where it is of those."""
        side = SIDES.get(table)
        if side not in self.of:
            return dict(columns)
        return {**columns, "key": [self.of_value(str(side), str(key)) for key in columns["key"]]}

    def described(self) -> dict[str, Any]:
        """For a store's manifest and a run's record."""
        return {"of": list(self.of), "key": self.fingerprint}


def _read_key(name: str, wanted: str | None) -> bytes:
    """The key that a variable or a file holds, without the white space around it.

    Raises:
        ConfigError: if it is not there, others may read it, it is short, or it repeats a few letters.
    """
    remedy = partial(_remedy, wanted=wanted)
    if ENVIRONMENT_NAME.fullmatch(name):
        where, make = f"data.pseudonyms.key={name}", f"export {name}=$({DRAW})"
        if name not in os.environ:
            raise ConfigError(f"{where}: there is no such environment variable; {remedy(make, ', and keep it')}.")
        found = os.environ[name].encode("utf-8", "surrogateescape").strip()
    else:
        path = Path(name).expanduser()
        if not re.search(r"[/.]", name) or not path.is_file():
            raise ConfigError(  # not shown: it may be the key itself
                "data.pseudonyms.key names neither an environment variable (capital letters) nor a file that is there; "
                f"{remedy(f'export FUNNELTUNE_KEY=$({DRAW})', ', and write key: FUNNELTUNE_KEY')}."
            )
        where, make = f"data.pseudonyms.key={name}", f"{DRAW} > {name}"
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{where}: others may read the file; chmod 600 {name}.")
        found = path.read_bytes().strip()
    if len(found) < LEAST:
        raise ConfigError(
            f"{where} holds {len(found)} bytes; a key has {LEAST} or more, or trying all of them finds it: "
            f"{remedy(make)}."
        )
    if len(set(found)) < DISTINCT:
        raise ConfigError(
            f"{where} holds {len(set(found))} distinct letters; a key is drawn at random and has {DISTINCT} or more: "
            f"{remedy(make)}."
        )
    return found


def _remedy(make: str, then: str = "", *, wanted: str | None) -> str:
    """A new key; where a run has one, that."""
    if wanted is None:
        return f"make one: {make}{then}"
    return f"set the run's own key (fingerprint {wanted}): under another its shoppers would be strangers"


class Pseudonymous:
    """A source whose shoppers and queries a store never sees by their identifiers.

    Args:
        source: The source.
        pseudonyms: Whose, and the key.

    Raises:
        ConfigError: if a column of identifiers is read as something else, too.
    """

    def __init__(self, source: Source, pseudonyms: Pseudonyms) -> None:
        self.plain, self.pseudonyms = source, pseudonyms
        if faults := list(_read_elsewhere(getattr(source, "roles", None), pseudonyms.of)):
            raise ConfigError("; ".join(faults) + ".")

    def __getattr__(self, name: str) -> Any:
        """What the source itself offers: pictures, roles."""
        if name in ("plain", "pseudonyms"):  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self.plain, name)

    def describe(self) -> dict[str, Any]:
        """The source's own, and which key."""
        return {**self.plain.describe(), "pseudonyms": self.pseudonyms.described()}

    def write(self, writer: StoreWriter) -> None:
        """Hand the log over, identifiers replaced."""
        self.plain.write(cast("StoreWriter", _Writing(writer, self.pseudonyms)))

    def unlabelled(self, path: Path) -> Pseudonymous:
        """A file of new rows, likewise."""
        return Pseudonymous(self.plain.unlabelled(path), self.pseudonyms)


class _Writing:
    """A store's writer with one method of its own."""

    def __init__(self, writer: StoreWriter, pseudonyms: Pseudonyms) -> None:
        self._writer, self._pseudonyms = writer, pseudonyms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def entities(self, side: Any, columns: Mapping[str, Any]) -> None:
        self._writer.entities(side, self._pseudonyms.columns(side, columns))


def _read_elsewhere(roles: Any, of: Iterable[str]) -> Iterator[str]:
    """Columns of identifiers that a table's map gives a second role, in which the store would hold them as they are."""
    if roles is None:
        return
    texts = {"query_text": roles.query_text, "item_text": roles.item_text}
    other = {f"data.source.{name}": set(map_.values()) for name, map_ in texts.items()}
    other |= {f"data.source.{name}": set(getattr(roles, name)) for name in ("categorical", "numeric")}
    other["data.source.item"] = {roles.item}
    for side in of:
        own = {getattr(roles, side)} if side == "user" else {roles.query, *roles.query_text.values()}
        for name, columns in other.items():
            if side == "query" and name == "data.source.query_text":
                continue
            for column in sorted((own & columns) - {None}):
                yield (
                    f"{name}: column {column!r} identifies a {side}, and data.pseudonyms could not hide it there; "
                    "remove it"
                )


def pseudonymous(source: T, node: Any) -> T | Pseudonymous:
    """A source as `data.pseudonyms` asks; itself where that is null.

    Raises:
        ConfigError: naming what is wrong with the node or the key.
    """
    pseudonyms = Pseudonyms.parse(node)
    return source if pseudonyms is None else Pseudonymous(cast("Source", source), pseudonyms)


def recorded(source: Any) -> dict[str, Any]:
    """What a run's record keeps of the pseudonyms of its log; nothing where there are none."""
    return {"pseudonyms": source.pseudonyms.described()} if isinstance(source, Pseudonymous) else {}


def plain_source(source: Any) -> Any:
    """The source behind the pseudonyms, if there are any."""
    return source.plain if isinstance(source, Pseudonymous) else source


def require_key(node: Any, recorded: Mapping[str, Any], where: str) -> None:
    """Refuse another key than the one that a run's log was read with: its shoppers would be strangers.

    Args:
        node: `data.pseudonyms`.
        recorded: The run's record of its data.
        where: The field and folder of the run, for the message.

    Raises:
        RunError: naming both keys by their fingerprints.
        ConfigError: if there is no key.
    """
    if (wanted := (recorded.get("pseudonyms") or {}).get("key")) is None:
        return
    try:
        pseudonyms = Pseudonyms.parse(node, str(wanted))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if pseudonyms is not None and pseudonyms.fingerprint != wanted:
        raise RunError(
            f"{where}: data.pseudonyms.key={pseudonyms.name} holds another key (fingerprint {pseudonyms.fingerprint}) "
            f"than its log was read with ({wanted}); set that one, for under this its shoppers would be strangers."
        )
