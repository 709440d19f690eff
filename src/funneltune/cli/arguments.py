"""The words of a command line, sorted: bare words, overrides, flags."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from funneltune.errors import ConfigError

OF_PERSONS = ("query", "user")
"""Keys whose values no message repeats."""
FLAGS = ("--help", "--cfg", "--config-dir", "--version", "--list")


@dataclass(frozen=True)
class Arguments:
    """What follows the verb."""

    words: tuple[str, ...] = ()
    """Without `=`: the experiment, the study, the folder."""
    overrides: tuple[str, ...] = ()
    """`key=value` and Hydra's `+key=value`, `~key`."""
    help: bool = False
    show_config: bool = False
    config_dir: Path | None = None
    listed: bool = False

    @classmethod
    def parse(cls, tokens: Iterable[str]) -> Arguments:
        """Sort the tokens after the verb.

        Raises:
            ConfigError: for an unknown flag, a flag without its value, a folder that is not there.
        """
        words: list[str] = []
        overrides: list[str] = []
        asked_help = show_config = listed = False
        config_dir: Path | None = None
        waiting = list(tokens)
        while waiting:
            token = waiting.pop(0)
            flag, _, value = token.partition("=")
            if flag in {"--help", "-h"}:
                asked_help = True
            elif flag == "--cfg":
                show_config = _value_of(flag, value, waiting, "job") == "job" or _refuse_cfg()
            elif token == "--list":
                listed = True
            elif flag == "--config-dir":
                config_dir = _folder(_value_of(flag, value, waiting, "DIR"))
            elif token in {"-m", "--multirun"}:
                raise ConfigError(f"{token} is no flag here; to run several values, use funneltune study.")
            elif token.startswith("-"):
                raise ConfigError(f"{flag} is no flag{nearest_clause(flag, FLAGS)}; overrides are written key=value.")
            elif "=" in token or token.startswith(("+", "~")):
                overrides.append(token)
            else:
                words.append(token)
        return cls(tuple(words), tuple(overrides), asked_help, show_config, config_dir, listed)

    def only_word(self, meaning: str) -> str | None:
        """The one bare word, if there is one.

        Raises:
            ConfigError: if there are more.
        """
        if len(self.words) > 1:
            raise ConfigError(
                f"{self.words[1]!r} is a second bare word: the first ({self.words[0]!r}) names the {meaning}; "
                "write everything else as key=value, e.g. tuning=adalora."
            )
        return self.words[0] if self.words else None

    def keys(self, needed: Mapping[str, str], optional: Mapping[str, str]) -> dict[str, str]:
        """The values of a verb that takes a few keys of its own and no config.

        Args:
            needed: key -> what it says (shown where it is missing).
            optional: key -> default.

        Raises:
            ConfigError: for an unknown key, one given twice, one that is missing or that nothing was written behind.
        """
        given: dict[str, str] = {}
        known = (*needed, *optional)
        for override in self.overrides:
            key, _, value = override.partition("=")
            if key not in known:
                told = key if nearest(key, known) in OF_PERSONS else f"{key}={value}"
                raise ConfigError(f"{told} is no key here{nearest_clause(key, known)}; keys: {', '.join(known)}.")
            if key in given:
                values = "" if key in OF_PERSONS else f" ({given[key]!r}, {value!r})"
                raise ConfigError(f"{key} is given twice{values}; give it once.")
            given[key] = value
            if not value.strip() and optional.get(key) == "":
                raise ConfigError(f"{key}= is empty; give it a value or leave it out.")
        missing = [f"{key}={meaning}" for key, meaning in needed.items() if not given.get(key)]
        if missing:
            raise ConfigError(f"missing {' '.join(missing)}; add {'it' if len(missing) == 1 else 'them'}.")
        return {**optional, **given}


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that `word` most probably meant, if any is near."""
    found = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return found[0] if found else None


def nearest_clause(word: str, options: Iterable[str]) -> str:
    """`, nearest: x`, or nothing where no option is near."""
    found = nearest(word, options)
    return f", nearest: {found}" if found else ""


def _value_of(flag: str, value: str, waiting: list[str], meaning: str) -> str:
    if value:
        return value
    if not waiting or waiting[0].startswith("-"):
        raise ConfigError(f"{flag} needs a value: {flag} {meaning}.")
    return waiting.pop(0)


def _refuse_cfg() -> bool:
    raise ConfigError("--cfg shows the composed config only: write --cfg job.")


def _folder(text: str) -> Path:
    folder = Path(text).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir={text} is not a folder; give the folder that holds your config groups.")
    return folder


def key_of(override: str) -> str:
    """`tuning.target_rank` of `++tuning.target_rank=4`."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]
