"""A user's folder of groups: files that repeat themselves without end, or are no text, are refused unread."""

import time

import pytest

from funneltune.cli import main
from funneltune.cli.own_files import DEEPEST, LARGEST, MOST, check_files
from funneltune.errors import ConfigError

LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'ha'] * 9)}]\n" for n in range(12))


def put(folder, content, name="mine.yaml"):
    (folder / "head").mkdir(exist_ok=True)
    (folder / "head" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LAUGHS, f"head/mine.yaml holds more than {MOST:,} values, its aliases written out"),
        ("a: &a [*a]\n", r"head/mine.yaml holds itself \(\*a\)"),
        ("a: &a {b: {c: *a}}\n", r"head/mine.yaml holds itself \(\*a\)"),
        ("[" * 5000, f"head/mine.yaml is nested more than {DEEPEST} levels deep"),
        ("a: x\n" + "#" * LARGEST, f"head/mine.yaml has more than {LARGEST:,} bytes"),
        (b"name: \xe9\n", r"head/mine.yaml is not UTF-8 \(byte 6\)"),
        ("name: x\n".encode("utf-16"), r"head/mine.yaml is not UTF-8 \(byte 0\)"),
        (b"\xef\xbb\xbfname: x\n", "head/mine.yaml begins with a byte order mark"),
    ],
    ids=["laughs", "itself", "itself, below", "deep", "large", "latin-1", "utf-16", "mark"],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_a_file_that_has_no_end_or_is_no_text_is_refused_at_once(content, told, tmp_path):
    begun = time.process_time()
    with pytest.raises(ConfigError, match=told):
        check_files(put(tmp_path, content))
    assert time.process_time() - begun < 2


@pytest.mark.tried("bad_config", "bad_input")
def test_a_folder_in_a_choices_place_is_refused(tmp_path):
    (tmp_path / "head" / "mine.yaml").mkdir(parents=True)
    with pytest.raises(ConfigError, match="head/mine.yaml is no file"):
        check_files(tmp_path)


@pytest.mark.parametrize("content", ["a: &a [1, 2]\nb: *a\nc: [*a, *a]\n", "", "a: [1\n", "a: *nothing\n"])
def test_honest_aliases_pass_and_what_is_no_yaml_is_left_to_who_composes_it(content, tmp_path):
    check_files(put(tmp_path, content))


def test_aliases_count_as_what_they_repeat(tmp_path):
    # a holds 1 + 9 values, b 1 + 9 * 10; with the mapping and its two keys 104
    from funneltune.cli import own_files

    text = f"a: &a [{', '.join('x' * 9)}]\nb: [{', '.join(['*a'] * 9)}]\n"
    put(tmp_path, text)
    values = 1 + 2 + 10 + 91
    for limit, passes in ((values, True), (values - 1, False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(own_files, "MOST", limit)
            if passes:
                check_files(tmp_path)
            else:
                with pytest.raises(ConfigError, match="its aliases written out"):
                    check_files(tmp_path)


@pytest.mark.parametrize("node", ["calibration", "name"])
def test_a_key_taken_away_is_the_only_one_that_is_named(node, capsys):
    assert main(["train", f"~{node}"]) == 2
    assert capsys.readouterr().err == f"error: {node} was taken away (~{node}); leave it, or give a value\n"
