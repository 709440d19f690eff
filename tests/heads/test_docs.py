"""docs/heads.md lists every head there is."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

from funneltune import heads
from funneltune.funnel import TaskFunnel

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "heads.md").read_text()
CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "configs" / "head").glob("*.yaml")}


def test_both_tables_list_every_head():
    words = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.M)
    assert words[: len(CONFIGS)] == words[len(CONFIGS) :]
    assert set(words) == set(CONFIGS)


@pytest.mark.parametrize("word", CONFIGS)
def test_configs_hold_the_classes_defaults_and_its_lines_name_keys_that_are_there(word):
    keys = {key: value for key, value in CONFIGS[word].items() if not key.startswith("_")}
    made = getattr(heads, CONFIGS[word]["_target_"].rpartition(".")[2])
    defaults = {
        name: list(p.default) if isinstance(p.default, tuple) else p.default
        for name, p in inspect.signature(made).parameters.items()
        if name not in ("width", "funnel")
    }
    assert keys == defaults
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{word}` |"))
    assert set(re.findall(r"head\.(\w+)=", line)) <= set(keys)


def test_sizes_in_the_table_are_those_of_the_heads():
    two = {"click": {}, "purchase": {"given": ["click"]}}
    three = {"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click"]}}
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([\d.]+) ([kM])[^|]*\|", PAGE, flags=re.M)
    assert len(rows) == len(CONFIGS)
    for word, count, unit in rows:
        funnel = TaskFunnel.from_config(three if word == "esm2" else two)
        head = getattr(heads, CONFIGS[word]["_target_"].rpartition(".")[2])(1537, funnel)
        size = sum(p.numel() for p in head.parameters())
        assert float(count) == round(size / 1e3 if unit == "k" else size / 1e6, 0 if unit == "k" else 1), word
