"""Commands and config files of real experiments with one thing or two wrong, drawn by a seed: the fuzz of configs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

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

VALUES = (
    *("null", "true", "false", "''", "abc", "'3'", "3.5", "-1", "0", "1", "7", "1e30", "-1e30", "nan", "inf", "-inf"),
    *("9223372036854775808", "1" + "0" * 40, "[]", "{}", "[1,2]", "[null]", "[[1],[a]]", "{a: 1}", "{a: {b: [1]}}"),
    *("'\u00e9\u4e2d\U0001f600'", "'a b'", "'a\\'b'", "x" * 5000, "../../etc/passwd", "/", "~", "'%s %d {} {0}'"),
    *("'{'", "'{title.nothing}'", "'[a'", "1_000", "0x10", "012", "1e-400", "2026-01-01", "'\u202eabc'", "'a\\tb'"),
    *("{_target_: os.system}", "[{_target_: os.system}]", "'a,b'", "[true,1,x]", "{1: 2}", "{null: 1}", "'???'"),
)
"""Right for some keys, wrong for most."""
INTERPOLATIONS = (
    *("${KEY}", "${nothing.there}", "${.}", "${..}", "${", "${}", "$", "${seed}", "${seed", "${${name}}", "${KEY.x}"),
    *("${oc.env:NOTHING_SET_HERE}", "${oc.env:NOTHING_SET_HERE,4}", "${oc.decode:'[1'}", "${oc.decode:'3'}"),
    *("${oc.create:{a:1}}", "${oc.select:nothing}", "${oc.dict.keys:data}", "${now:%Y}", "${hydra:runtime.cwd}"),
    *("${no_such_resolver:1}", "\\${seed}", "\\\\${seed}", "x${seed}x", "${head}", "${data}", "${.seed}", "${[0]}"),
)
SYNTAX = (
    *("=", "==", "=3", "KEY", "KEY==1", "KEY=[", "KEY=]", "KEY={", "KEY='", 'KEY="', "KEY=a b", "KEY= 1", "KEY =1"),
    *("KEY=[1,,2]", "KEY={a}", "KEY={a:}", "KEY=(1)", "KEY=a:b", "KEY=\\", "KEY=a=b", "KEY=[1]2", "KEY=,", "KEY=1,"),
    *("+KEY=1", "++KEY=1", "+++KEY=1", "~KEY", "~KEY=1", "~~KEY", "+~KEY", "+", "++", "~", "+KEY", "KEY@a=1"),
    *("KEY@=1", "@KEY=1", ".KEY=1", "KEY.=1", "KEY..x=1", "KEY.x=1", "+KEY.x=1", "++KEY.x.y=1", "KEY[0]=1"),
    *("KEY/x=1", "KEY=choice(1,2)", "KEY=range(3)", "KEY=glob(*)", "KEY=interval(0,1)", "KEY=sort(3,1)"),
    *("KEY=shuffle(1,2)", "KEY=int('x')", "KEY=float(3)", "KEY=str(3)", "KEY=json_str(3)", "KEY=extend_list(1)"),
    *("KEY=no_function(1)", "KEY=\n1", "KEY=1\n", "K\u00c9Y=1", "KEY=\u00e9", "KEY=\x00", "\u202eKEY=1", "KEY=#1"),
    *("#KEY=1", "KEY=%", "!KEY=1", "hydra.run.dir=x", "+hydra.x=1", "hydra/launcher=joblib", "hydra.verbose=true"),
    *("+hydra/x=1", "hydra=null", "--KEY=1", "-KEY=1", "-", "--", "--cfg", "--cfg=all", "--config-dir"),
    *("--config-dir=nowhere", "-m", "--help=x"),
)
GROUP_CHOICES = (
    *("", "null", "[]", "{}", "3", "nothing", "[quickstart]", "[a,b]", "{a: 1}", "../train", "/etc/passwd", "a/b"),
    *(".", "..", "none", "default", "'a b'", "\u4e2d", "x" * 300, "true", "a.yaml", "none.yaml", "~", "${name}"),
    *("a,b", "///", "'none'", "none/", "./none", "NONE", "none@x", "'none '", "shapes", "shapes/bert_base", "parts"),
    *("_self_"),
)
TARGETS = (
    *("funneltune.heads.ESMM", "funneltune.heads.PLE", "funneltune.data.Table", "funneltune.data.Simulated"),
    *("funneltune.data.Split", "funneltune.tuning.LoRA", "funneltune.tuning.AdaLoRA", "funneltune.tuning.Frozen"),
    *("funneltune.backbones.Backbone", "funneltune.backbones.NoBackbone", "funneltune.objectives.ESCM2DR"),
    *("funneltune.objectives.EntireSpaceBCE", "funneltune.objectives.RowLoss", "funneltune.objectives.PCGrad"),
    *("funneltune.callbacks.History", "funneltune.callbacks.Checkpoints", "funneltune.callbacks.wandb_logger"),
    *("funneltune.modules.constant", "funneltune.modules.FGM", "funneltune.modules.FunnelModule"),
    *("torch.optim.LBFGS", "torch.optim.SGD", "torch.optim.SparseAdam", "torch.optim.Optimizer", "lightning.Trainer"),
    *("torch.nn.Linear", "lightning.pytorch.callbacks.EarlyStopping", "lightning.pytorch.callbacks.Timer"),
    *("os.system", "builtins.dict", "lightning.pytorch.loggers.CSVLogger", "funneltune", "funneltune.heads", ""),
    *("'.'", "null", "3", "[a]", "{a: 1}", "funneltune.heads.Nothing", "funneltune..heads.ESMM"),
    *("'funneltune.heads.ESMM '", "x" * 500, "\u4e2d.\u6587"),
)
HYDRAS = ("_partial_", "_args_", "_recursive_", "_convert_", "_mode_", "_target_", "__class__", "_metadata", "_content")


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
BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12)).encode()
WHOLE = (
    *(b"", b"\n", b"# nothing\n", b"---\n", b"---\n---\n", b"a: 1\n---\nb: 2\n", b"3", b"abc", b"[1, 2]", b"null"),
    *(b"- a", b"\xef\xbb\xbfname: x\n", b"\xff\xfename: x\n", b"name: \xe9\xff\n", b"name: \x00\n"),
    *(b"\x1f\x8b\x08\x00", b"%PDF-1", b"name: [1\n", b"name: {a\n", b"name: 'x\n", b"\tname: x\n", b"name:\tx\n"),
    *(b"a: b: c\n", b"name: *nothing\n", b"name: &a [*a]\n", b"&a a: *a\n", b"<<: 3\n", b"<<: *x\n"),
    *(b"&x data: {<<: *x}\n", b"? [a]\n: b\n", b"? {a: b}\n: c\n", b"1: 2\n", b"null: 2\n", b"1.5: 2\n"),
    *(b"true: 1\n", b"2026-01-01: 1\n", b"name: 2026-01-01\n", b"name: 12:30:45\n", b"name: !!binary aGk=\n"),
    *(b"name: !!set {a, b}\n", b"name: !!omap [a: 1]\n", b"name: !!float x\n", b"name: !!int x\n"),
    *(b"name: !!timestamp x\n", b"name: !x y\n", b"!!python/object/apply:os.system ['x']\n", b"name: !!map 3\n"),
    *(b"name: ???\n", b"defaults: 3\n", b"defaults: [mine]\n", b"defaults: [3]\n"),
    *(b"defaults: [{override /head: 3}]\n", b"defaults: {a: b}\n", b"defaults: [{override head: esmm}]\n"),
    *(b"defaults: [{/head: esmm}]\n", b"defaults: [{override /head: [esmm]}]\n", b"defaults: [/data/nothing]\n"),
    *(b"defaults: [optional nothing]\n", b"defaults: [_self_, _self_]\n", b"defaults:\n"),
    *(b"defaults: [{override /nothing: x}]\n", b"defaults: [{a: b, c: d}]\n", b"defaults: [null]\n"),
    *(b"defaults: [[]]\n", b"# @package _global_\ndefaults: [{override /experiment: mine}]\n"),
    *(b"# @package\nname: x\n", b"# @package a.b\nc: 1\n", b"# @package _group_\nname: x\n"),
    *(b"# @package ..\nname: x\n", b"# @package _global_.data\nseed: 1\n"),
    *(b"# @package _global_\nhydra: {callbacks: {x: {_target_: os.system}}}\n", b"# @package hydra\nverbose: true\n"),
    *(b"# @package _global_\n${a}: 1\n", b"# @package _global_\na.b: 1\n", b"# @package _global_\nname: {a: 1}\n"),
    *(b"# @package _global_\nname: '${name}'\n", b"# @package _global_\nseed: ${seed}\n"),
    *(b"# @package _global_\nseed: 1e3\n", BOMB, b"# @package _global_\n" + BOMB, b"[" * 5000, b"{a: " * 3000),
    *(b"a:\n" + b" " * 100_000 + b"- b\n", b"# @package _global_\nname: " + b"x" * 300_000 + b"\n"),
    *(b"x" * 2000 + b": 1\n", b"a: 0o99\n", b"a: " + b"9" * 9000),
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
