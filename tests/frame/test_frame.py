"""What the frame promises: pinned versions, floors, packaged configs, commands that the README names."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from funneltune.cli.entry import VERBS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
)


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_within_its_range_and_without_a_local_build():
    pins = {canonical(name): version.split(";")[0].strip() for name, version in PINS.items()}
    assert not [pin for pin in PINS.values() if "+" in pin]
    wanted = [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]
    for requirement in map(Requirement, wanted):
        if canonical(requirement.name) != "funneltune":
            assert pins[canonical(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize(
    ("name", "refused"),
    [("lightning", "2.6.3"), ("torch", "2.9.1"), ("transformers", "5.2.0"), ("hydra-core", "1.3.7")],
)
def test_versions_with_known_holes_are_out_of_range(name, refused):
    (found,) = [r for r in map(Requirement, PROJECT["dependencies"]) if canonical(r.name) == name]
    assert Version(refused) not in found.specifier


def test_the_readme_names_only_commands_and_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"^funneltune (\w+)", readme, flags=re.MULTILINE))
    assert verbs >= {"train", "study", "evaluate", "predict", "report"}
    assert verbs <= set(VERBS)
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_a_wheel_brings_its_configs_and_runs(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True
    )
    (wheel,) = tmp_path.glob("funneltune-*.whl")
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    assert (unpacked / "funneltune" / "configs" / "train.yaml").is_file()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "funneltune", "train", "quickstart", "--cfg", "job"],
        cwd=tmp_path,
        env={"PATH": str(Path(shutil.which("env")).parent), "PYTHONPATH": str(unpacked), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "funneltune.tuning.AdaLoRA" in done.stdout
