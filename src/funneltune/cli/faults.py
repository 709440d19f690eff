"""Hydra's and OmegaConf's composition errors, told in one line: what is wrong, what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, ValidationError

from funneltune.cli.arguments import key_of, nearest, nearest_clause
from funneltune.cli.locate import config_root

WANTED = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "String": "a text"}
GROUPS_WITHOUT_KEY = ("experiment", "hparams_search", "debug")
LISTED = 14


@dataclass(frozen=True)
class Fault:
    """One thing that does not compose, and the override that brought it (None: a file did)."""

    error: Exception
    override: str | None

    @property
    def key(self) -> str:
        """The override's key, without Hydra's marks."""
        return key_of(self.override or "")


def find_fault(error: Exception, overrides: Sequence[str]) -> Fault:
    """Which of the overrides an error is about, as far as its type and text tell."""
    text = str(error)
    if isinstance(error, OverrideParseException) and error.override in overrides:
        return Fault(error, error.override)
    for override in reversed(overrides):
        if f"Error merging override {override}" in text or f"'{override}'" in text:
            return Fault(error, override)
    if isinstance(error, MissingConfigException):
        group = (error.missing_cfg_file or "").rpartition("/")[0]
        return Fault(error, next((o for o in reversed(overrides) if key_of(o) == group), None))
    named = re.search(r"(?:Could not override|Could not delete(?: from config\.)?(?: The value of)?) '([^'=@]+)", text)
    if named:
        return Fault(error, next((o for o in reversed(overrides) if key_of(o) == named.group(1)), None))
    if isinstance(error, ValueError) and "group override must be" in text:
        return Fault(error, next((o for o in reversed(overrides) if _chooses_no_name(o)), None))
    if twice := re.search(r"Multiple values for ([^.]+)\.", text):
        return Fault(error, next((o for o in overrides if o.startswith("+") and key_of(o) == twice.group(1)), None))
    return Fault(error, None)


def explain(fault: Fault, composed: DictConfig | None) -> str:
    """One sentence about a fault; `composed` is the config without the faulty overrides, where there is one."""
    error, text = fault.error, _plain(fault.error)
    cause = error.__cause__ if error.__cause__ is not None else error.__context__
    root = cause if isinstance(cause, (ValidationError, ConfigKeyError)) else error
    if isinstance(error, MissingConfigException):
        return _unknown_choice(error, fault)
    if fault.override and "group override must be" in text:
        return f"{fault.override}: {fault.key} is a group; write {fault.key}=CHOICE (--help lists them)"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read; write key=value, and quote a value that holds , = or spaces"
    if fault.override and "Multiple values for" in text:
        return f"{fault.override}: {fault.key} is chosen already; write {fault.override.lstrip('+')}"
    if fault.override and isinstance(error, AssertionError):
        return f"{fault.override}: {fault.key.rpartition('.')[0]} is null here, so nothing below it can be set"
    if fault.override and "Ambiguous value" in text:
        return f"{fault.override!r} has several values: only `funneltune study` tries them all; give one, or a [list]"
    if fault.override and ("Could not override" in text or "Could not delete" in text):
        return _unknown_key(fault, composed)
    if isinstance(root, ValidationError):
        return _bad_value(root, fault)
    if isinstance(root, MissingMandatoryValue):
        key = getattr(root, "full_key", None) or text.rpartition(": ")[2]
        return f"{key} is not set; give {key}=VALUE"
    if isinstance(root, ConfigKeyError) and getattr(root, "key", None) is not None:
        place = re.search(r"In '([^']+)'", text)
        return (
            f"{place.group(1) + '.yaml: ' if place else ''}{root.key} is no key"
            f"{nearest_clause(str(root.key), _children(root.parent_node))}"
        )
    return f"{fault.override}: {text}" if fault.override else text


def _chooses_no_name(override: str) -> bool:
    """Whether a group is given a number, null or a mapping (`data=3`)."""
    value = override.partition("=")[2]
    return ((config_root() / key_of(override)).is_dir() and not re.match(r"[A-Za-z_]", value)) or value == "null"


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()) or " ".join(str(error.__cause__ or type(error).__name__).split())


def _unknown_choice(error: MissingConfigException, fault: Fault) -> str:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    options = sorted(error.options or ())
    if not options:
        return _plain(error)
    return (
        f"{group}={choice} is no choice{nearest_clause(choice, options)}; {group} is one of {', '.join(options)}"
        if fault.override
        else f"a config file chooses {group}: {choice}, which is not there{nearest_clause(choice, options)}; "
        f"{group} is one of {', '.join(options)}"
    )


def _unknown_key(fault: Fault, composed: DictConfig | None) -> str:
    parent, _, last = fault.key.rpartition(".")
    if composed is None:
        return f"{fault.key} is no key"
    node: Any = OmegaConf.select(composed, parent) if parent else composed
    here = list(_children(node))
    if not parent:
        here += GROUPS_WITHOUT_KEY
    near = nearest(last, here)
    prefix = f"{parent}." if parent else ""
    if near == last and isinstance(OmegaConf.select(composed, fault.key), DictConfig):
        return f"{fault.override}: names keys that {fault.key} does not have yet; write ++{fault.override}"
    if told := _below_null(fault, composed):
        return told
    if near is None or (near == last):
        # a wrong parent, or a key of another place: look everywhere
        everywhere = list(dotted_keys(composed))
        by_last = {key.rpartition(".")[2]: key for key in reversed(everywhere)}
        found = nearest(fault.key, everywhere) or by_last.get(nearest(last, by_last) or "")
        clause = f"nearest: {found}" if found else f"keys there: {', '.join(here[:LISTED])}"
    else:
        clause = f"nearest: {prefix}{near}"
    return f"{fault.key} is no key ({clause}); --cfg job lists all keys"


def _below_null(fault: Fault, composed: DictConfig) -> str | None:
    """What to write instead of a key below one that is null; None where the key lies elsewhere."""
    key, _, value = (fault.override or "").lstrip("+").partition("=")
    parts = key.split(".")
    node: Any = composed
    for depth, part in enumerate(parts[:-1], start=1):
        if not (isinstance(node, DictConfig) and part in node):
            return None
        node = node.get(part)
        if node is None and value:
            for below in reversed(parts[depth:]):
                value = f"{{{below}: {value}}}"
            above = ".".join(parts[:depth])
            return f"{fault.override}: {above} is null here; write it whole: '{above}={value}'"
    return None


def _bad_value(error: ValidationError, fault: Fault) -> str:
    text = _plain(error)
    key = getattr(error, "full_key", None) or fault.key
    found = re.search(r"Value '(.*?)' .*could not be converted to (\w+)", text)
    if found:
        value, kind = found.groups()
        return f"{key}={value} must be {WANTED.get(kind, kind)}"
    if "is not Optional" in text:
        return f"{fault.override or key}: cannot be null"
    if "is not a ListConfig" in text:
        return f"{fault.override or key}: must be a list, [a,b]"
    return f"{fault.override or key}: {text.partition(' full_key')[0]}"


def _children(node: Any) -> Iterator[str]:
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        yield from (str(key) for key in node if key != "hydra")


def dotted_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a config, dotted; a mapping before its own keys."""
    for key in _children(node):
        yield prefix + key
        child = node._get_node(key)
        if isinstance(child, (DictConfig, ListConfig)):
            yield from dotted_keys(child, f"{prefix}{key}.")
