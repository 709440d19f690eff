"""Commands and config files of real experiments with one thing or two wrong, drawn by a seed: the fuzz of configs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cli.config_values import GROUP_CHOICES, HYDRAS, INTERPOLATIONS, SYNTAX, TARGETS, VALUES, WHOLE
from funneltune.cli.compose import compose_config
from funneltune.cli.locate import config_root

TINY = ("backbone=tiny", "logger=none")
WITHOUT = ("backbone=none", "tuning=frozen", "logger=none")
BASES: tuple[tuple[str, ...], ...] = (
    ("experiment=quickstart", *TINY),
    ("experiment=quickstart", *TINY, "tuning=lora", "head=mmoe", "objective=escm2_dr", "balancing=pcgrad"),
    ("experiment=quickstart", *TINY, "tuning=houlsby", "head=ple", "features=all", "adversary=fgm"),
    ("experiment=quickstart", *TINY, "tuning=prefix", "head=aitm", "callbacks=early_stopping", "scheduler=constant"),
    ("experiment=quickstart_zh", *TINY, "tuning=ia3", "objective=pal", "vision=tiny"),
    ("experiment=funnel3", *TINY, "tuning=bitfit", "head=esm2", "balancing=gradnorm"),
    ("experiment=homedepot", *TINY, "tuning=dora", "head=stem", "objective=weighted_clicks"),
    ("experiment=wands", *TINY, "tuning=full", "trainer=bf16"),
    ("experiment=taobao", *WITHOUT, "balancing=cagrad"),
    ("experiment=hillstrom", *WITHOUT, "objective=dcmt"),
    ("experiment=census_income", *WITHOUT, "head=cross_stitch"),
    ("experiment=criteo_conversions", *WITHOUT, "logger=csv"),
    ("study=quickstart", *TINY, "tuning=pfeiffer"),
    ("study=ablation", *TINY),
    ("hparams_search=quickstart", *TINY),
)
"""What is mutated: data sets, heads, ways of tuning, studies."""


@dataclass(frozen=True)
class Case:
    """One mutated command.

    Args:
        kind: The mutation.
        words: The command, without the verb.
        files: Files of the user's folder (`--config-dir`), by their names in it.
        refused: Whether it can only be a mistake.
    """

    kind: str
    words: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    refused: bool = False


@cache
def base_config(base: tuple[str, ...]) -> DictConfig:
    """The composed config of a base, and of its groups."""
    return compose_config(list(base))


@cache
def keys_of(base: tuple[str, ...]) -> tuple[str, ...]:
    """Its dotted keys, mappings among them."""
    return tuple(_dotted(base_config(base), ""))


def _dotted(node: DictConfig, prefix: str) -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key}"
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _dotted(child, f"{prefix}{key}.")


@cache
def groups() -> tuple[str, ...]:
    """The config groups."""
    return tuple(sorted(path.name for path in config_root().iterdir() if path.is_dir() and path.name != "ranking"))


def drawn_key(rng: random.Random, base: tuple[str, ...]) -> str:
    """A key; each top-level key is as likely as the others, however many keys are below it."""
    keys = keys_of(base)
    first = rng.choice(sorted({key.partition(".")[0] for key in keys}))
    return rng.choice([key for key in keys if key.partition(".")[0] == first])


def misspelt(rng: random.Random, word: str) -> str:
    """A letter lost, doubled, swapped with its neighbour, or another."""
    at = rng.randrange(len(word))
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
            word[:at] + rng.choice("xqz_") + word[at + 1 :],
        ]
    )


# --- commands --------------------------------------------------------------------------------------------------------


def dropped(rng: random.Random, base: tuple[str, ...]) -> Case:
    return Case("dropped", (*base, f"~{drawn_key(rng, base)}"))


def renamed(rng: random.Random, base: tuple[str, ...]) -> Case:
    keys = keys_of(base)
    key = drawn_key(rng, base)
    parts = key.split(".")
    at = rng.randrange(len(parts))
    parts[at] = misspelt(rng, parts[at])
    wrong = ".".join(parts)
    mark = rng.choice(["", "", "+", "++", "~"])
    return Case(
        "renamed", (*base, mark + wrong + ("" if mark == "~" else "=1")), refused=wrong not in keys and not mark
    )


def retyped(rng: random.Random, base: tuple[str, ...]) -> Case:
    return Case("retyped", (*base, f"{drawn_key(rng, base)}={rng.choice(VALUES)}"))


def added(rng: random.Random, base: tuple[str, ...]) -> Case:
    parent = drawn_key(rng, base)
    name = rng.choice([*HYDRAS, "x", "workers", "seed", "lr", "columns", "1", "a-b"])
    return Case("added", (*base, f"{rng.choice(['+', '++'])}{parent}.{name}={rng.choice(VALUES)}"))


def out_of_range(rng: random.Random, base: tuple[str, ...]) -> Case:
    cfg = base_config(base)
    numbers = [
        key
        for key in keys_of(base)
        if isinstance(
            OmegaConf.select(cfg, key, throw_on_missing=False, throw_on_resolution_failure=False), (int, float)
        )
    ]
    first = rng.choice(sorted({key.partition(".")[0] for key in numbers}))
    key = rng.choice([key for key in numbers if key.partition(".")[0] == first])
    numerals = ("-1", "0", "1", "2", "-0.5", "1.5", "1e9", "-1e9", "1e308", "nan", "inf", "-inf", "1" + "0" * 30)
    return Case("out of range", (*base, f"{key}={rng.choice(numerals)}"))


def conflicting(rng: random.Random, base: tuple[str, ...]) -> Case:
    key = drawn_key(rng, base)
    one, other = rng.sample(VALUES, 2)
    below = f"{key}.{rng.choice(['x', 'seed', 'lr'])}"
    pair = rng.choice(
        [
            (f"{key}={one}", f"{key}={other}"),
            (f"{key}={one}", f"{below}={other}"),
            (f"++{below}={one}", f"{key}={other}"),
            (f"~{key}", f"{key}={one}"),
            (f"{key}={one}", f"~{key}"),
            tuple(f"{rng.choice(groups())}={rng.choice(['none', 'default', 'quickstart'])}" for _ in range(2)),
        ]
    )
    return Case("conflicting", (*base, *pair))


def other_choice(rng: random.Random, base: tuple[str, ...]) -> Case:
    group = rng.choice(groups())
    real = sorted(path.stem for path in (config_root() / group).glob("*.yaml"))
    choice = rng.choice([rng.choice(GROUP_CHOICES), rng.choice(real), misspelt(rng, rng.choice(real))])
    mark = rng.choice(["", "", "", "+", "++", "~"])
    return Case("other choice", (*base, f"{mark}{group}={choice}"))


def odd_syntax(rng: random.Random, base: tuple[str, ...]) -> Case:
    key = rng.choice([drawn_key(rng, base), *groups()])
    return Case("odd syntax", (*base, rng.choice(SYNTAX).replace("KEY", key)))


def interpolated(rng: random.Random, base: tuple[str, ...]) -> Case:
    key, other = drawn_key(rng, base), drawn_key(rng, base)
    text = rng.choice(INTERPOLATIONS).replace("KEY", key)
    words = rng.choice([(f"{key}={text}",), (f"{key}='{text}'",), (f"{key}=${{{other}}}", f"{other}=${{{key}}}")])
    return Case("interpolated", (*base, *words))


def other_target(rng: random.Random, base: tuple[str, ...]) -> Case:
    targets = [key for key in keys_of(base) if key.endswith("._target_")]
    first = rng.choice(sorted({key.partition(".")[0] for key in targets}))
    key = rng.choice([key for key in targets if key.partition(".")[0] == first])
    return Case("other target", (*base, f"{key}={rng.choice(TARGETS)}"))


def long_or_deep(rng: random.Random, base: tuple[str, ...]) -> Case:
    key = drawn_key(rng, base)
    n = rng.choice([50, 400, 3000])
    word = rng.choice(
        [
            f"{key}={'[' * n}{']' * n}",
            f"{key}={'{a:' * n}1{'}' * n}",
            f"{key}=[{','.join(map(str, range(n)))}]",
            f"{key}.{'.'.join('a' * n)}=1",
            f"++{key}.{'.'.join('a' * n)}=1",
            f"{key}={'(' * n}",
            f"{key}={'${' * n}{'}' * n}",
            f"{key}={'9' * n}",
            f"{key}={'a' * 20 * n}",
            f"{key}=" + "choice(" * n + "1" + ")" * n,
        ]
    )
    return Case("long or deep", (*base, word))


COMMANDS: tuple[Callable[[random.Random, tuple[str, ...]], Case], ...] = (
    dropped,
    renamed,
    retyped,
    retyped,
    added,
    out_of_range,
    out_of_range,
    conflicting,
    other_choice,
    odd_syntax,
    interpolated,
    other_target,
    long_or_deep,
)

# --- files -----------------------------------------------------------------------------------------------------------

OWN = (
    ("experiment", "quickstart"),
    ("experiment", "homedepot"),
    ("experiment", "hillstrom"),
    ("data", "homedepot"),
    ("data", "simulated"),
    ("head", "mmoe"),
    ("tuning", "lora"),
    ("study", "quickstart"),
    ("trainer", "cpu"),
    ("callbacks", "early_stopping"),
)


@cache
def _text(group: str, name: str) -> bytes:
    return (config_root() / group / f"{name}.yaml").read_bytes()


def _spoilt(rng: random.Random, text: bytes) -> bytes:
    """The file, cut short or with a few letters, lines or bytes changed."""
    lines = text.splitlines(keepends=True)
    at, other = rng.randrange(len(text)), rng.randrange(len(lines))
    line = lines[other]
    replaced = rng.choice(
        [
            text[:at],
            text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :],
            text[:at]
            + rng.choice([b"\t", b"{", b"[", b":", b"'", b'"', b"\n", b"-", b"&", b"*", b"!", b"%"])
            + text[at:],
            text.replace(b"\n", b"\r\n"),
            text + text,
            b"\xef\xbb\xbf" + text,
            text.decode().encode("utf-16"),
            b"".join([*lines[:other], *lines[other + 1 :]]),
            b"".join([*lines[:other], line, *lines[other:]]),
            b"".join([*lines[:other], b"\t" + line, *lines[other + 1 :]]),
            b"".join([*lines[:other], b"  " + line, *lines[other + 1 :]]),
            b"".join([*lines[:other], line.lstrip(b" "), *lines[other + 1 :]]),
            b"".join(
                [
                    *lines[:other],
                    line.partition(b":")[0] + b": " + rng.choice(VALUES).encode() + b"\n",
                    *lines[other + 1 :],
                ]
            ),
            b"".join(rng.sample(lines, len(lines))),
        ]
    )
    return replaced


def own_file(rng: random.Random, base: tuple[str, ...]) -> Case:
    group, name = rng.choice(OWN)
    text = rng.choice([_spoilt(rng, _text(group, name)), _spoilt(rng, _text(group, name)), rng.choice(WHOLE)])
    words = (*TINY, f"{group}=mine") if group in {"experiment", "study"} else (*base, f"{group}=mine")
    return Case("own file", words, {f"{group}/mine.yaml": text})


def cases(seed: int, n: int) -> Iterator[Case]:
    """So many mutations; a fifth of them are of files."""
    rng = random.Random(seed)
    for _ in range(n):
        make = own_file if rng.random() < 0.2 else rng.choice(COMMANDS)
        yield make(rng, rng.choice(BASES))


def write(case: Case, folder: Path) -> list[str]:
    """Put a case's files into a folder; the words of its command."""
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [*case.words, *(["--config-dir", str(folder)] if case.files else [])]
