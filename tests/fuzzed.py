"""An honest log, and ways to spoil it; `fuzzed_oracle.py` says what a spoilt one must be read as."""

import csv
import gzip
import io

import numpy as np
import pandas as pd

HEADER = [
    "session",
    "shopper",
    "q",
    "sku",
    "name",
    "rank",
    "at",
    "price",
    "colour",
    "score",
    "clicked",
    "bought",
    "spare",
]
ROLES = {
    "request": "session",
    "user": "shopper",
    "query_text": {"query": "q"},
    "item": "sku",
    "item_text": {"title": "name"},
    "position": "rank",
    "time": "at",
    "price": "price",
    "categorical": ["colour"],
    "numeric": ["score"],
    "labels": {"click": "clicked", "purchase": "bought"},
}


def honest(rows=60):
    """Rows of text: requests of five items, 12 shoppers, titles with commas, quotes and other alphabets."""
    random, found = np.random.default_rng(7), []
    titles = ["Sofa, red", 'Lamp 5"', "Stuhl Größe 2", "椅子", "Desk", 'it\'s "it"', "Bed\nwith feet"]
    for row in range(rows):
        request, place = divmod(row, 5)
        sku, clicked = int(random.integers(0, 25)), int(random.random() < 0.3)
        found.append(
            [
                *(
                    f"s{request}",
                    f"u{request % 12}",
                    f"query {request % 9}",
                    f"i{sku}",
                    f"{titles[sku % 7]} {sku}",
                    place,
                ),
                *(f"2025-01-{1 + request:02d}T10:00:00", round(float(random.lognormal(3, 1)), 2)),
                *(["red", "blue", "green", ""][row % 4], round(float(random.normal()), 4), clicked),
                *(int(clicked and random.random() < 0.5), "x"),
            ]
        )
    return [[str(cell) for cell in row] for row in found]


def as_csv(header, rows, separator=","):
    """Bytes of a CSV file as pandas writes it."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


# --- ways to spoil a CSV file ----------------------------------------------------------------------------------------

WORDS = {
    "rank": ["x", "-1", "1.5", "70000", "1e10", "", "0x1", "1_000", "٣", " 2", "nan", "2.0"],
    "at": ["soon", "2025-13-45", "", "1735725600", "2025-01-01T10:00:00+02:00", "inf", "2025-01-01", "-5"],
    "price": ["dear", "", "inf", "-inf", "nan", "NaN", "-3", "1e39", "1e400", "1,5", "$5", "1e-400", ".5", "+7", "5."],
    "score": ["1e39", "-1e39", "3e38", "", "x", "None", "TRUE", "1 2"],
    "clicked": ["2", "-1", "yes", "", "0.5", "True", "false", "TRUE", "1.0", "0.0", "nan", "1 ", " 1", "NULL", "01"],
    "bought": ["1", "2", "", "x", "true"],
    "session": ["", " ", "s0", "NA", "new", "x" * 200_000],
    "shopper": ["", "\t", "null", "u0", "u\x0bv"],
    "q": ["", "a\u2028b", "a\x85b", "a\x0cb", "\u3000", "NULL", "q\x00r", "é" * 70_000],
    "sku": ["", "i0", "NaN", "i,0", 'i"0'],
    "name": ["", "Sofa\r\nred", "=1+1", "a\rb", "\ufeffname", "n" * 1_000_000],
    "colour": ["", "NA", "rot", "a,b", "\x1f", "red "],
    "spare": ["", '"', "NULL"],
}


def cell(random, header, rows):
    """One cell is another."""
    name = random.choice(list(WORDS))
    if name in header:
        rows[random.integers(0, len(rows))][header.index(name)] = str(random.choice(WORDS[name]))


def cells(random, header, rows):
    for _ in range(int(random.integers(2, 9))):
        cell(random, header, rows)


def drop_column(random, header, rows):
    at = int(random.integers(0, len(header)))
    for line in (header, *rows):
        del line[at]


def double_column(random, header, rows):
    at = int(random.integers(0, len(header)))
    for line in (header, *rows):
        line.append(line[at])


def rename_column(random, header, rows):
    at = int(random.integers(0, len(header)))
    header[at] = str(random.choice([header[at].upper(), header[at] + " ", "", "other", f"{header[at]}.1"]))


def swap_columns(random, header, rows):
    """Cells change places, the header does not."""
    a, b = random.integers(0, len(header), 2)
    for line in rows:
        line[a], line[b] = line[b], line[a]


def move_column(random, header, rows):
    a, b = random.integers(0, len(header), 2)
    for line in (header, *rows):
        line.insert(b, line.pop(a))


def header_twice(random, header, rows):
    rows.insert(int(random.integers(0, len(rows))), list(header))


def double_rows(random, header, rows):
    for _ in range(int(random.integers(1, 5))):
        rows.append(list(rows[random.integers(0, len(rows))]))


def shuffle_rows(random, header, rows):
    random.shuffle(rows)


def no_rows(random, header, rows):
    rows.clear()


def longer_row(random, header, rows):
    line = rows[random.integers(0, len(rows))]
    line.insert(int(random.integers(0, len(line) + 1)), str(random.choice(["", "x", "1"])))


def shorter_row(random, header, rows):
    line = rows[random.integers(0, len(rows))]
    del line[int(random.integers(0, len(line))) :]


def longer_rows(random, header, rows):
    """All of them, so that a reader might take the first column for an index."""
    for line in rows:
        line.insert(0, "7")


OF_ROWS = (
    *(cell,) * 6,
    *(cells,) * 3,
    *(drop_column, double_column, rename_column, swap_columns, move_column),
    *(header_twice, double_rows, shuffle_rows, no_rows, longer_row, shorter_row, longer_rows),
)


def insert(random, content, what):
    at = int(random.integers(0, len(content) + 1))
    return content[:at] + what + content[at:]


def cut(random, content):
    return content[: int(random.integers(0, len(content) + 1))]


def flipped(random, content):
    """A bit of it is another."""
    if not content:
        return content
    found = bytearray(content)
    found[random.integers(0, len(content))] ^= 1 << int(random.integers(0, 8))
    return bytes(found)


OF_BYTES = (
    cut,
    lambda random, content: insert(random, content, b'"'),
    lambda random, content: insert(random, content, b"\0"),
    lambda random, content: insert(random, content, b"\xff\xfe"),
    lambda random, content: insert(random, content, b"\xe9"),
    lambda random, content: insert(random, content, b"\n"),
    lambda random, content: insert(random, content, b"\r"),
    lambda random, content: insert(random, content, b","),
    lambda random, content: insert(random, content, b"\n\n  \n"),
    lambda random, content: b"\xef\xbb\xbf" + content,
    lambda random, content: b"\xef\xbb\xbf\xef\xbb\xbf" + content,
    lambda random, content: content.replace(b"\n", b"\r\n"),
    lambda random, content: content.replace(b"\n", b"\r"),
    lambda random, content: content.rstrip(b"\n"),
    lambda random, content: content.decode().encode("utf-16"),
    lambda random, content: content.replace(b",", b";"),
    lambda random, content: b"",
    lambda random, content: b"\0" * 100,
    lambda random, content: b"\n" + content,
    lambda random, content: content + content,
    flipped,
)


def spoilt_csv(random):
    """The honest log with one to three things wrong."""
    header, rows = list(HEADER), honest()
    for _ in range(int(random.integers(0, 3))):
        if rows and all(len(line) == len(header) for line in rows):
            OF_ROWS[random.integers(0, len(OF_ROWS))](random, header, rows)
    content = as_csv(header, rows)
    if random.random() < 0.5:
        content = OF_BYTES[random.integers(0, len(OF_BYTES))](random, content)
    return content


def spoilt_gzip(random):
    """A packed honest log that is cut short or has a flipped bit."""
    packed = gzip.compress(as_csv(HEADER, honest()), mtime=0)
    return cut(random, packed) if random.random() < 0.5 else flipped(random, packed)


# --- Parquet ---------------------------------------------------------------------------------------------------------


def typed():
    """The honest log with a type per column."""
    whole, real = ["rank", "clicked", "bought"], ["price", "score"]
    return pd.DataFrame(honest(), columns=HEADER).astype(dict.fromkeys(whole, "int64") | dict.fromkeys(real, "float64"))


def retyped(random):
    """The same log in other types, all of which say the same."""
    found = typed()
    choices = {
        "clicked": ["bool", "float64", "int8", "str", "Int64"],
        "bought": ["bool", "uint8", "float32", "object"],
        "rank": ["int16", "float64", "str", "category"],
        "colour": ["category", "object", "str"],
        "sku": ["category", "str"],
        "at": ["datetime64[ns]", "datetime64[s]", "datetime64[ms]", "str"],
    }
    for name, kinds in choices.items():
        found[name] = found[name].astype(str(random.choice(kinds)))
    if random.random() < 0.3:
        found["q"] = found["q"].map(str.encode)
    if random.random() < 0.3 and found["at"].dtype != "str":
        found["at"] = found["at"].dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC") + pd.Timedelta(hours=1)
    return found


def spoilt_cells(random):
    """One typed cell that breaks a rule, and its row."""
    found, row = typed(), int(random.integers(0, 60))
    name, value = [
        *(("price", np.inf), ("price", np.nan), ("score", 1e39), ("clicked", 2), ("clicked", None), ("rank", -40_000)),
        *(("rank", 1.5), ("at", None), ("q", None), ("sku", " "), ("session", None), ("bought", 0.5), ("at", "soon")),
    ][random.integers(0, 13)]
    found[name] = found[name].astype(object)
    found.loc[row, name] = value
    if isinstance(value, int | float):
        found[name] = found[name].astype("float64")
    return found, row + 1


def pages_of(content):
    """Bytes of a Parquet file before its footer, which no checksum covers."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")
