"""What our own source may not say, and what the packages that we ask for may not be."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SOURCE = sorted((ROOT / "src").rglob("*.py"))
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
RUNNERS = {"eval", "exec", "compile", "__import__"}
INSTANTIATES = {"runs/targets.py"}
"""Where Hydra may build: behind the check of the very node that is built."""
MALICIOUS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
FLOORS = {"lightning": "2.6.6", "torch": "2.10", "transformers": "5.3", "hydra-core": "1.3.8", "datasets": "4"}


def faults(text, file):
    """(rule, line) of everything that a source file may not say."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (("unpickler", node.lineno) for name in names if name.partition(".")[0] in UNPICKLERS)
            if isinstance(node, ast.ImportFrom) and (node.module, file in INSTANTIATES) == ("hydra.utils", False):
                yield from (("instantiate", node.lineno) for a in node.names if a.name in {"instantiate", "call", "*"})
        if isinstance(node, ast.Call):
            yield from ((rule, node.lineno) for rule in call_faults(node, file))


def call_faults(node, file):
    said = ast.unparse(node.func)
    last = said.rpartition(".")[2]
    keywords = {k.arg: k.value.value if isinstance(k.value, ast.Constant) else ... for k in node.keywords}
    if said in RUNNERS:
        yield said
    if said == "torch.load" and keywords.get("weights_only") is not True:
        yield "torch.load"
    if last in {"read_pickle", "to_pickle", "unsafe_load", "unsafe_load_all", "full_load"} or said == "yaml.load":
        yield last
    if keywords.get("shell", False) is not False or said in {"os.system", "os.popen", "subprocess.getoutput"}:
        yield "shell"
    for switch in ("allow_pickle", "trust_remote_code"):
        if keywords.get(switch, False) is not False:
            yield switch
    if last == "from_config" and said.startswith("Auto") and keywords.get("trust_remote_code") is not False:
        yield "trust_remote_code"
    if said.endswith(("hydra.utils.instantiate", "hydra.utils.call")) and file not in INSTANTIATES:
        yield "instantiate"


def dictionary_faults(text):
    """`{"trust_remote_code": True}`, unpacked into a call."""
    for node in ast.walk(ast.parse(text)):
        pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
        for key, value in pairs:
            switch = key.value if isinstance(key, ast.Constant) else None
            off = isinstance(value, ast.Constant) and value.value is False
            if switch in {"trust_remote_code", "allow_pickle", "shell"} and not off:
                yield str(switch), node.lineno


@pytest.mark.parametrize("path", SOURCE, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_the_source_unpickles_and_evaluates_nothing(path):
    text = path.read_text()
    file = str(path.relative_to(ROOT / "src")).removeprefix("funneltune/")
    assert [*faults(text, file), *dictionary_faults(text)] == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import pickle", "unpickler"),
        ("from joblib import load", "unpickler"),
        ("import dill.source", "unpickler"),
        ("eval('1')", "eval"),
        ("exec(text)", "exec"),
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("torch.load(path, weights_only=flag)", "torch.load"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("AutoModel.from_pretrained(x, trust_remote_code=spec.trust)", "trust_remote_code"),
        ("AutoModel.from_config(x)", "trust_remote_code"),
        ("a = {'trust_remote_code': True}", "trust_remote_code"),
        ("yaml.load(text)", "load"),
        ("yaml.unsafe_load(text)", "unsafe_load"),
        ("pd.read_pickle(path)", "read_pickle"),
        ("subprocess.run('x', shell=True)", "shell"),
        ("os.system('x')", "shell"),
        ("from hydra.utils import instantiate", "instantiate"),
        ("hydra.utils.instantiate(node)", "instantiate"),
    ],
)
def test_the_rule_itself_catches(line, rule):
    assert [found for found, _ in [*faults(line, "x.py"), *dictionary_faults(line)]] == [rule]


def asked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return {requirement.name: requirement.specifier for requirement in map(Requirement, every)}


def pinned():
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), flags=re.M)
    return {name.lower().replace("_", "-"): Version(version.partition("+")[0]) for name, version in lines}


@pytest.mark.parametrize("package", FLOORS)
@pytest.mark.tried("dependency", "fault")
def test_dependencies_have_their_floors(package):
    floor = Version(FLOORS[package])
    lowest = [Version(one.version) for one in asked()[package] if one.operator in {">=", "==", "~="}]
    assert lowest
    assert max(lowest) >= floor
    assert pinned()[package] >= floor
    assert pinned()[package] in asked()[package]


@pytest.mark.tried("dependency", "fault")
def test_malicious_versions_are_neither_asked_for_nor_pinned():
    for version in MALICIOUS["lightning"]:
        assert version not in asked()["lightning"]
        assert f"!={version}" in str(asked()["lightning"])  # written out, should the floor ever fall
    for package, versions in MALICIOUS.items():
        assert str(pinned()[package]) not in versions


@pytest.mark.tried("dependency", "fault")
def test_what_is_installed_is_what_is_asked_for():
    from importlib.metadata import version

    for package in FLOORS:
        if package != "datasets":
            assert version(package) in asked()[package], package
