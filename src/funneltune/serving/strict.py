"""JSON as the standard has it: no NaN, no name twice, no bottomless nesting, no half characters."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

DEPTH = 16
"""Brackets within brackets; an honest request has four."""

STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)', re.DOTALL)
"""One that is not closed ends with the body, so that no body is read twice."""
NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


class Malformed(ValueError):  # noqa: N818 (it is what the client sent, not a fault of ours)
    """A body that is no JSON value as the standard has it, in one line."""


def parse(body: bytes) -> Any:
    """The value of a request's body.

    Raises:
        Malformed: naming where and what.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"body: byte {error.start} is not UTF-8.") from None
    if _too_deep(body):
        raise Malformed(f"body: brackets are nested more than {DEPTH} deep, or not closed.")
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise Malformed(f"body: not JSON at letter {error.pos} ({error.msg}).") from None
    except Malformed:
        raise
    except ValueError:  # Python's own limit on the digits of a whole number
        raise Malformed("body: a number has more than 4300 digits.") from None


def shown(value: Any) -> str:
    """A value as an error may repeat it: short, on one line, without what a terminal would act on."""
    told = repr(value) if isinstance(value, str | int | float | bool | None) else f"a value of type {kind_of(value)}"
    told = "".join(c if unicodedata.category(c) not in {"Cf", "Co", "Cs"} else f"\\u{ord(c):04x}" for c in told[:61])
    return told if len(told) <= 60 else told[:59] + "…"


def kind_of(value: Any) -> str:
    """JSON's word for a value's type."""
    return {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}.get(
        type(value), "number"
    )


def _too_deep(body: bytes) -> bool:
    """Whether brackets outside strings are nested too deep or not closed: pairs are struck out level by level."""
    left = STRING.sub(b"", body).translate(None, NO_BRACKET)
    for _ in range(DEPTH):
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    return bool(left)


def _refuse(name: str) -> Any:
    raise Malformed(f"body: {name} is no JSON number.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"body: {shown(twice)} is given twice; give it once.")
    return found
