"""README.zh-CN.md is kept in step with README.md: the same commands, blocks, numbers, links and headings, in order."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
READMES = {name: (ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md")}
ENGLISH, CHINESE = READMES.values()
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", flags=re.S | re.M)
NUMBER = re.compile(r"[±+-]?\d*[.,]?\d+(?:[.,]\d+)*%?")
HAN = re.compile("[\u4e00-\u9fff]")


def blocks(text):
    """Each fenced block: its language and its lines, comments left out."""
    return [
        (language, [line for line in (re.sub(r"\s*#.*$", "", line).rstrip() for line in body.splitlines()) if line])
        for language, body in FENCE.findall(text)
    ]


def prose(text):
    return FENCE.sub("", text)


def tables(text):
    """Each table's rows: the cells of each."""
    found = re.findall(r"(?:^\|.*\n)+", prose(text), flags=re.M)
    return [[row.strip("|").split("|") for row in table.splitlines()] for table in found]


def plain(cell):
    """Without blanks, and with the same marks between words in both languages."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", cell).replace("\u3001", ","))


def links(text):
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)) if not target.startswith("README")]


def marks(text):
    return re.findall(r"^<!-- .* -->$", text, flags=re.M)


def code(text):
    """Code in running text, a command that is broken over two lines joined."""
    return Counter(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text)))


def test_blocks_are_the_same_but_for_their_comments():
    english, chinese = blocks(ENGLISH), blocks(CHINESE)
    assert len(english) > 10
    assert len(chinese) == len(english)
    for one, other in zip(english, chinese, strict=True):
        assert one == other


def test_yaml_blocks_hold_the_same_values():
    english, chinese = (
        [yaml.safe_load(body) for word, body in FENCE.findall(t) if word == "yaml"] for t in READMES.values()
    )
    assert english
    assert english == chinese


def test_headings_are_as_many_and_as_deep():
    one, other = (re.findall(r"^(#+) ", prose(text), flags=re.M) for text in READMES.values())
    assert one == other


def test_links_and_pictures_are_the_same_in_order():
    assert links(ENGLISH) == links(CHINESE)
    assert all((ROOT / target).exists() for target in links(CHINESE) if "://" not in target)


def test_tables_have_the_same_shape_numbers_and_code():
    english, chinese = tables(ENGLISH), tables(CHINESE)
    assert [len(table) for table in english] == [len(table) for table in chinese]
    for one, other in zip(english, chinese, strict=True):
        for row, twin in zip(one, other, strict=True):
            assert len(row) == len(twin), twin
            for cell, same in zip(row, twin, strict=True):
                if not HAN.search(same):
                    assert plain(cell) == plain(same)
                bare = [re.sub(r"`[^`]*`", "", text) for text in (cell, same)]
                assert NUMBER.findall(bare[0]) == NUMBER.findall(bare[1]), same
                assert code(cell) == code(same), same


def test_running_text_names_the_same_commands_and_keys():
    assert code(ENGLISH) == code(CHINESE)


def test_parts_that_the_site_shares_are_marked_alike():
    assert marks(ENGLISH) == marks(CHINESE)


@pytest.mark.parametrize(("name", "other"), [("README.md", "README.zh-CN.md"), ("README.zh-CN.md", "README.md")])
def test_each_leads_to_the_other_in_its_first_lines(name, other):
    assert f"]({other})" in "\n".join(READMES[name].splitlines()[:3])


def test_the_chinese_one_is_chinese_throughout():
    for paragraph in prose(CHINESE).split("\n\n"):
        words = re.sub(r"`[^`]*`|\]\([^)]*\)|^\|.*$|<!--.*?-->|[\[\]*#\s]", "", paragraph, flags=re.M)
        if len(words) > 40:
            assert len(HAN.findall(words)) > 0.2 * len(words), paragraph
    assert not re.search("[\u4e00-\u9fff][,;?!]", re.sub(r"`[^`]*`", "", prose(CHINESE)))
