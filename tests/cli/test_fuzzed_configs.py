"""Hundreds of commands with one thing wrong, drawn by a seed: each is what was asked for, or one line."""

import signal
from contextlib import contextmanager
from itertools import islice

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from cli.config_mutations import cases, groups, write
from funneltune import runs
from funneltune.cli import main
from funneltune.data import datamodule

SECONDS = 30
"""For one command, on a busy machine; where one hangs, the test fails."""
LONGEST = 5000


class ReachedData(BaseException):
    """The command was found right, and everything was built: the log is read next."""


@pytest.fixture
def before_data(monkeypatch):
    """`train` stops where the log would be read; what it was about to train is kept."""
    asked = {}

    def kept(cfg, run_dir):
        asked["cfg"] = cfg
        return trained(cfg, run_dir)

    def stop(*_):
        raise ReachedData

    trained = runs.train
    monkeypatch.setattr(runs, "train", kept)
    monkeypatch.setattr(datamodule, "prepare", stop)
    monkeypatch.setattr(datamodule.LogDataModule, "vector_widths", lambda self: dict.fromkeys(self.features.vectors, 8))
    return asked


@contextmanager
def within(seconds):
    """A command that takes longer is interrupted: it hangs."""

    def late(*_):
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def parsed(words):
    """(key, value, whether it is taken away) of each override of a key."""
    for word in words:
        try:
            (override,) = OverridesParser.create().parse_overrides([word])
        except OverrideParseException:
            continue
        key = override.key_or_group
        if key not in groups() and not override.is_sweep_override():
            yield key, override.value(), override.is_delete()


def passed_over(words, cfg):
    """Overrides that the config does not hold, though the command was found right."""
    asked = list(parsed(words))
    for place, (key, value, deleted) in enumerate(asked):
        later = [other for other, *_ in asked[place + 1 :]]
        if key.partition(".")[0] in {"study", "search"} or any(touches(key, other) for other in later):
            continue
        if deleted:
            if key in cfg:
                yield f"~{key}"
        elif "${" not in str(value) and not holds(OmegaConf.select(cfg, key, default=Ellipsis), value):
            yield f"{key}={value!r}: {OmegaConf.select(cfg, key, default=Ellipsis)!r}"


def touches(key, other):
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def holds(found, value):
    """Whether a config's value is the one that was asked for; a mapping adds to what is there."""
    if isinstance(found, DictConfig):
        return isinstance(value, dict) and all(holds(found.get(str(k), Ellipsis), v) for k, v in value.items())
    plain = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    return plain == value or str(plain) == str(value)


def fault_of(case, folder, before_data, capsys, tmp_path):
    """What is wrong with how a command ended; None where nothing is."""
    before_data.clear()
    words = write(case, folder)
    capsys.readouterr()
    try:
        with within(SECONDS):
            status = main(["train", *words])
    except ReachedData:
        wrong = list(passed_over(case.words, before_data["cfg"]))
        if case.refused or wrong:
            return f"passed over: {wrong or case.words[-1]}"
        return left(tmp_path)
    except BaseException as error:  # whatever it is, the command did not tell it
        return f"{type(error).__name__}: {error}"
    shown = capsys.readouterr()
    if status not in {1, 2} or not shown.err.startswith("error: ") or shown.err.count("\n") != 1 or shown.out:
        return f"status {status}: {shown.err[:500]!r}, {shown.out[:200]!r}"
    return f"{len(shown.err)} letters" if len(shown.err) > LONGEST else left(tmp_path)


def left(tmp_path):
    found = [path.name for path in tmp_path.iterdir()]
    return f"wrote {found}" if found else None


@pytest.mark.tried("bad_config", "fuzz")
@pytest.mark.parametrize(
    ("seed", "first", "last"),
    [
        (0, 0, 40),
        pytest.param(0, 40, 200, marks=pytest.mark.slow),
        pytest.param(1, 0, 300, marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_a_mutated_command_is_what_was_asked_for_or_one_line(
    seed, first, last, before_data, capsys, tmp_path, tmp_path_factory, monkeypatch, tally
):
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for number, case in enumerate(islice(cases(seed, last), first, None), start=first):
        if fault := fault_of(case, tmp_path_factory.mktemp("own"), before_data, capsys, tmp_path):
            wrong[number, case.kind, " ".join(case.words)[-200:]] = fault
    tally(last - first)
    assert not wrong, "\n".join(
        f"{number} {kind}: …{words}\n  {fault[:500]}" for (number, kind, words), fault in wrong.items()
    )
