"""What is installed is the lock, and nothing beside it: the part of `make audit` that needs no network."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
OWN = {"pip", "setuptools", "wheel", "funneltune"}
"""What every environment has, and the project itself."""


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def lock():
    return {canonical(name): version for name, _, version in (line.partition("==") for line in LINES)}


def faults(installed, pins, needs):
    """What is installed and not the lock's: of another version, beside it, or short of what another package needs.

    Args:
        installed: Name -> version.
        pins: Name -> version.
        needs: (name, requirement) of every installed package.
    """
    for name, version in installed.items():
        if name not in pins:
            if name not in OWN:
                yield f"{name} {version} is in no lock"
        elif Version(version).public != pins[name]:
            yield f"{name} is {version}, the lock says {pins[name]}"
    for name, one in needs:
        found = installed.get(canonical(one.name))
        if found is not None and found not in one.specifier and Version(found).public not in one.specifier:
            yield f"{name} needs {one}, and {found} is installed"


@pytest.mark.tried("dependency", "fault")
def test_what_is_installed_is_the_lock_and_nothing_beside_it(tally):
    found = {canonical(one.metadata["Name"]): one for one in distributions()}
    needs = [(name, Requirement(text)) for name, one in found.items() for text in one.requires or ()]
    needs = [(name, one) for name, one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
    assert len(needs) > 300
    assert list(faults({name: one.version for name, one in found.items()}, lock(), needs)) == []
    tally(len(found))


@pytest.mark.tried("dependency", "fault")
@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ({"torch": "2.13.0+cpu"}, []),
        ({"torch": "2.12.1+cpu"}, ["torch is 2.12.1+cpu, the lock says 2.13.0", "a needs torch>=2.13, and 2.12.1+cpu"]),
        ({"lightning": "2.6.3", "torch": "2.13.0"}, ["lightning is 2.6.3, the lock says 2.6.6"]),
        ({"torch": "2.13.0", "requestes": "1.0"}, ["requestes 1.0 is in no lock"]),
        ({"torch": "2.13.0", "pip": "99", "funneltune": "0.1.0"}, []),
    ],
)
def test_the_check_itself_catches(installed, told):
    found = list(faults(installed, {"torch": "2.13.0", "lightning": "2.6.6"}, [("a", Requirement("torch>=2.13"))]))
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True))


@pytest.mark.tried("dependency", "fault")
def test_the_lock_pins_every_line_and_names_no_address():
    """A URL, a path or an option (another index) could stand for any code."""
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][\w.!]*", line) for line in LINES)
    assert len(lock()) == len(LINES)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert [one for one in map(Requirement, every) if one.url] == []


def test_an_audit_that_could_look_nothing_up_does_not_pass():
    """Without --strict, pip-audit skips what it cannot look up and ends with status 0."""
    makefile = (ROOT / "Makefile").read_text()
    audit = makefile[makefile.index("\naudit:") :].split("\n\n")[0]
    assert "pip_audit --strict" in audit
    assert "tests/frame/test_lock.py" in audit
