"""Secrets: what looks like one, in a config or a text, and how it is kept out of all that is written or shown.

A secret belongs in the environment (`WANDB_API_KEY`), or where `wandb login` and `hf auth login` put it. A config is
kept with a run, shown in reports and sent to trackers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BLANK = "***"
REMEDY = (
    "a config is written down and shown; put it into the environment, where its reader looks by itself (WANDB_API_KEY, "
    "HF_TOKEN), or use `wandb login`, ~/.netrc"
)
NAMED = (
    r"(?:api|access|secret|private|auth|encryption|signing)[_-]?keys?|passwords?|passwd|passphrase|secrets?|token|"
    r"credentials?|authorization"
)
NAME = re.compile(rf"(?:^|[_.-])(?:{NAMED})$", re.IGNORECASE)
"""Keys whose values are secrets: `hf_token`, `API_KEY`; not `tokens_per_batch` or `tokenizer`."""
OF_TEXTS = re.compile(r"(?:^|[_.-])(?:pad|cls|sep|unk|bos|eos|mask|image|extra|special)_token$", re.IGNORECASE)
"""Tokens that a model reads."""
VARIABLE = re.compile(r"(?:key|token|secret|password|passwd|passphrase|credentials?)$", re.IGNORECASE)
"""Environment variables whose values are secrets."""
LEAST, LEAST_WORD = 8, 20
"""Letters of a variable's value, fewer than which would be found everywhere; of one that is a word in small letters."""
FORMATS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{20,}"  # Hugging Face
    r"|api_org_[A-Za-z0-9]{20,}"
    r"|wandb_v\d_\w{20,}"  # W&B
    r"|sk-(?:[A-Za-z0-9]+-)*[A-Za-z0-9_]{20,}"  # OpenAI, Anthropic
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|pypi-[\w-]{40,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"  # JSON web tokens
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r")"
)
USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
"""Name and password before a URL's host."""
HEX = re.compile(r"(?:[\w.]+-)?[0-9a-f]{40}")
"""A key of W&B; and a commit of git, which only the name beside it tells apart."""
COMMITS = re.compile(r"(?:^|[_.-])(?:revision|commit|sha1?|sha256|digest|fingerprint|hash)$", re.IGNORECASE)
VARIABLE_READ = re.compile(r"oc\.env:\s*['\"]?([^,}'\"\s]+)")
ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
ASSIGNED = re.compile(rf"(?i)(?<![\w-])((?:[\w.]*[_.-])?(?:{NAMED}))(\s*=\s*['\"]?|['\"]\s*:\s*['\"]?)([^\s,;'\"}}]+)")
ASSIGNED_HEX = re.compile(r"([\w.]+)=((?:[\w.]+-)?[0-9a-f]{40})(?![0-9a-f])")


def is_secret_name(name: str) -> bool:
    """Whether what a key of this name holds is a secret.

    >>> [is_secret_name(name) for name in ("api_key", "hfToken", "tokens_per_batch", "pad_token")]
    [True, True, False, False]
    """
    spelt = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return bool(NAME.search(spelt)) and not OF_TEXTS.search(spelt)


def secret_faults(node: Any, path: str = "") -> Iterator[str]:
    """What of a plain config looks like a secret, or would read one from the environment; its value is never told.

    Interpolations may be there or be resolved already: then values are held against the environment.
    """
    for where, value in _leaves(node, path):
        if (what := _kind(where, value)) is not None:
            yield f"{redacted(where)} {what}: {REMEDY}"


def word_faults(words: Sequence[str]) -> Iterator[str]:
    """The same of the words of a command line, before anything is read; what a config's file says is not known yet."""
    for word in words:
        key, equals, value = word.partition("=")
        name = key.lstrip("+~").partition("@")[0]
        if not equals or not re.fullmatch(r"[\w.\-/]+", name):
            name, value = "", word
        if (what := _kind(name, value, whole=False)) is not None:
            yield f"{redacted(name) or 'a word of the command'} {what}: {REMEDY}"


def _kind(path: str, value: Any, *, whole: bool = True) -> str | None:
    """What makes a value a secret. `whole`: forty letters are asked after too, the value being all there is."""
    if value is None or isinstance(value, bool) or value in ("", "null", "???", "true", "false"):
        return None
    text = str(value)
    for name in VARIABLE_READ.findall(text):
        if VARIABLE.search(name):
            return f"reads the environment variable {name}"
    if is_secret_name(re.sub(r"\[\d+\]$", "", path).rpartition(".")[2]):
        return "is named like a secret"
    if FORMATS.search(text):
        return "has the format of a key"
    if USER_INFO.search(text):
        return "holds a URL with a login"
    if whole and HEX.fullmatch(text) and not COMMITS.search(path):
        return "has the format of a W&B key (of a commit, give the first 12 letters)"
    for name, secret in environment_secrets():
        if secret in text:
            return f"holds the value of the environment variable {name}"
    return None


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{path}[{index}]")
    else:
        yield path, node


def environment_secrets() -> list[tuple[str, str]]:
    """(name, value) of the variables that hold secrets by their names, the longest values first; a path is none."""
    found = [(name, value) for name, value in os.environ.items() if VARIABLE.search(name) and _is_long(value)]
    return sorted((one for one in found if not _is_path(one[1])), key=lambda one: -len(one[1]))


def _is_long(value: str) -> bool:
    return len(value) >= (LEAST_WORD if value.isalpha() and value.islower() else LEAST)


def _is_path(value: str) -> bool:
    try:
        return value.startswith("/") and Path(value).exists()
    except OSError:  # longer than a name may be
        return False


def redacted(text: str) -> str:
    """A text without secrets: known formats, what follows `password=`, logins of URLs, values of the environment.

    >>> redacted("cannot reach https://me:pass@host/x, api_key=abc")
    'cannot reach https://host/x, api_key=***'
    """
    text = USER_INFO.sub("", text)
    for _, secret in environment_secrets():
        text = text.replace(secret, BLANK)
    text = FORMATS.sub(BLANK, text)
    text = ASSIGNED_HEX.sub(lambda m: m[0] if COMMITS.search(m[1]) else f"{m[1]}={BLANK}", text)
    return ASSIGNED.sub(lambda m: m[0] if OF_TEXTS.search(m[1]) else f"{m[1]}{m[2]}{BLANK}", text)


def without_secrets(value: Any, name: str = "") -> Any:
    """Plain values with texts under names such as `api_key` or `password` blanked, and secrets cut out of the others.

    What a key `key` holds is blanked too, unless it names a variable of the environment.
    """
    if isinstance(value, Mapping):
        return {str(key): without_secrets(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item, name) for item in value]
    if not isinstance(value, str):
        return value
    key = re.search(r"(?:^|_)key$", name, re.IGNORECASE) and not ENVIRONMENT_NAME.fullmatch(value)
    return BLANK if key or is_secret_name(name) else redacted(value)
