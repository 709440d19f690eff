"""Lines of delimited text: what is read is what is written, and a line of another number of fields is found."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from funneltune.data.sources import delimited
from funneltune.data.sources.delimited import Delimited
from funneltune.data.sources.reading import TableFiles
from funneltune.errors import DataError

GOOD = b"a,b,c\n1,x,3\n4,y,6\n7,z,9\n"


def at(tmp_path, content, name="log.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def ragged(path, separator=",", names=None, quotes=True, encoding="utf-8"):
    """Row (from 1) -> its number of fields, where that is another than the header's."""
    found, rows = {}, 0
    for _, fields in Delimited(path, encoding, separator, names, quotes).chunks(["a"], 2):
        odd = np.flatnonzero(fields != 3)
        found |= {rows + int(i) + 1: int(fields[i]) for i in odd}
        rows += len(fields)
    return found


CASES = {
    "all is well": (GOOD, {}),
    "one too many": (b"a,b,c\n1,x,3\n4,y,6,7\n7,z,9\n", {2: 4}),
    "one too many in every row, which the reader takes for an index": (b"a,b,c\n1,2,3,9\n4,5,6,7\n", {1: 4, 2: 4}),
    "too few": (b"a,b,c\n1,x,3\n4\n7,z,9\n", {2: 1}),
    "one more here, one fewer there": (b"a,b,c\n1,x\n4,y,6,7\n7,z,9\n", {1: 2, 2: 4}),
    "a separator at each line's end": (b"a,b,c\n1,x,3,\n", {1: 4}),
    "the last line without its end": (b"a,b,c\n1,x,3\n4,y", {2: 2}),
    "no line end behind the last": (GOOD[:-1], {}),
    "blank lines count for nothing": (b"a,b,c\n\n1,x,3\n  \n4,y\n\n\n7,z,9\n\n", {2: 2}),
    "Windows' line ends": (GOOD.replace(b"\n", b"\r\n") + b"1,x\r\n", {4: 2}),
    "an old Macintosh's": (GOOD.replace(b"\n", b"\r") + b"1,x\r", {4: 2}),
    "quoted separators and line ends": (b'a,b,c\n1,"x, y\n z",3\n4,"say ""hi"", you",6\n7,z\n', {3: 2}),
    "a lone quotation mark within a word": (b'a,b,c\n1,5" pipe,3\n4,y,6\n7,6" pipe\n', {3: 2}),
    "spaces before a quotation mark": (b'a,b,c\n1, "x, y",3\n4, y,6\n', {}),
    "a byte order mark": (b'\xef\xbb\xbf"a",b,c\n1,x,3\n4,y\n', {2: 2}),
    "separators of other alphabets": ("a,b,c\n1,x\u2028\x0b\x85,3\n4,\uff0c,6\n".encode(), {}),
    "NUL bytes": (b"a,b,c\n1,\0,3\n4,\0\n", {2: 2}),
    "a cell longer than the csv module takes": (b"a,b,c\n1," + b"x" * 200_000 + b",3\n4,y\n", {2: 2}),
}


@pytest.mark.tried("bad_table", "bad_input")
@pytest.mark.parametrize("block", [1 << 20, 5])
@pytest.mark.parametrize("case", CASES)
def test_lines_of_another_number_of_fields_are_found(tmp_path, monkeypatch, case, block):
    monkeypatch.setattr(delimited, "BLOCK", block)
    content, expected = CASES[case]
    assert ragged(at(tmp_path, content)) == expected


def test_other_separators_quotes_and_encodings(tmp_path):
    assert ragged(at(tmp_path, b"a\tb\tc\n1\tx\t3\n4,5\ty\n"), "\t") == {2: 2}
    lone = b'a\tb\tc\n1\t"x\t3\n4\ty\n'
    assert ragged(at(tmp_path, lone), "\t", quotes=False) == {2: 2}
    assert ragged(at(tmp_path, b"1,x,3\n4,y,6,7\n"), names=("a", "b", "c")) == {2: 4}
    for encoding in ("utf-16", "latin-1", "gb18030", "shift_jis"):
        text = "a,b,c\n1,\u8868,3\n4,y\n" if encoding != "latin-1" else "a,b,c\n1,\xe9,3\n4,y\n"
        assert ragged(at(tmp_path, text.encode(encoding)), encoding=encoding) == {2: 2}


@pytest.mark.parametrize("pack", ["log.csv.gz", "log.csv.bz2", "log.csv.xz", "log.csv.zip"])
def test_packed_text_reads_as_it_is(tmp_path, pack):
    content = b"a,b,c\n1,x,3\n4,y\n"
    packers = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    path = tmp_path / pack
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("log.csv", content)
    else:
        path.write_bytes(packers[path.suffix](content))
    assert ragged(path) == {2: 2}


def test_values_are_those_of_the_file(tmp_path):
    path = at(tmp_path, b'a,b,c\n1,"x, y\n z",3\n4, say,6\n')
    frame = pd.concat([frame for frame, _ in Delimited(path, "utf-8", ",", None, True).chunks(["a", "b"], 10)])
    assert frame.to_dict("list") == {"a": ["1", "4"], "b": ["x, y\n z", "say"]}


@pytest.mark.tried("bad_table", "bad_input")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("side.csv", b"a,b,c\n1,x,3\n4,y,6,7\n", r"side\.csv: row 2 has 4 fields, the header 3 \(1 such\); mend"),
        ("side.csv", b"a,b,a\n1,x,3\n", r"the header names column 'a' 2 times; rename or remove one"),
        ("side.csv", b"a,b,c\n1,x,3\n4,caf\xe9,6\n", r"is not utf-8 \(line 3 of the file, .*\); set data.source.enc"),
        ("side.csv", b'a,b,c\n1,"x,3\n4,y,6\n', r"cannot be read \(.*EOF inside string"),
        ("side.csv.gz", gzip.compress(GOOD * 99, mtime=0)[:-20], "cannot be read"),
        ("side.csv.gz", b"\x1f\x8b\x08\x00" + b"\0" * 6 + b"\xff" * 40, "cannot be read"),
        ("side.csv.gz", GOOD, "cannot be read"),
    ],
)
def test_a_side_table_that_is_broken_is_refused_in_one_line(tmp_path, name, content, message):
    files = TableFiles(at(tmp_path, content, name))
    with pytest.raises(DataError, match=message) as error:
        list(files.chunks(["a", "b"]))
    assert "\n" not in str(error.value)


@pytest.mark.tried("bad_table", "bad_input")
@pytest.mark.parametrize("name", ["log.csv.zst", "log.tar"])
def test_archives_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="is an archive; unpack it"):
        TableFiles(at(tmp_path, b"x", name), separator=",").header()


def test_whole_numbers_beside_missing_ones_stay_whole(tmp_path):
    pd.DataFrame({"user": pd.array([7, None, 9], dtype="Int64")}).to_parquet(tmp_path / "log.parquet")
    frame = next(TableFiles(tmp_path / "log.parquet").chunks(["user"]))
    assert frame["user"].tolist()[::2] == ["7", "9"], "not 7.0, which is another identifier than 7"
    assert frame["user"].isna().tolist() == [False, True, False]
