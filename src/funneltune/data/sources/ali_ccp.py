"""Ali-CCP as it is downloaded: a skeleton of impressions, and the features that rows of one request have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from funneltune.data.sources.codes import IntegerCodes
from funneltune.data.sources.collected import FILE_ROW, Collected
from funneltune.data.sources.field_lists import NONE, Lines, read_lines
from funneltune.data.sources.reading import PART
from funneltune.data.sources.strictness import Strictness
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

USER, ITEM, LABELS, PARTS = "101", "205", ("click", "purchase"), ("train", "test")
COMMON = ("121", "122", "124", "125", "126", "127", "128", "129")
OF_ROW = ("206", "207", "216", "508", "509", "702", "853", "301")
SKELETON = ("sample", *LABELS, "common feature index", "number of features", "features")
INDEX = ("common feature index", "number of features", "features")
MEBIBYTE, SAMPLED = 1 << 20, 256


class AliCCP:
    """Alibaba's log of clicks and purchases (Ma et al. 2018): 84 million impressions of Taobao's recommender, in two
    published halves.

    `sample_skeleton_{train,test}.csv` hold a row per impression (id, click, purchase, index of its common features,
    count, features), `common_features_{train,test}.csv` the features of the shopper by that index. Rows of one index
    lie together in the skeleton and become one request. The skeleton is streamed; of the common features the wanted
    fields are held, four bytes each. The column `part` says `train` or `test`, for data.split.by=column.

    The field 101 is the user, 205 the item; the others are categorical columns of their names, empty where a row lacks
    them. A field of several ids in one row (histories such as 109_14, 110_14, 127_14, 150_14, and 210) keeps its last.

    Args:
        path: The folder of the four files, .csv or .csv.gz, or of the folders sample_train and sample_test with them.
        fields: Fields kept beside 101 and 205: the standard single-valued ones (Xi et al. 2021).
        strict: What to do with a purchase without a click: `refuse`, `drop` or `keep` (`Table` has the same). The log
            holds some; the field drops them.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fields: Sequence[str] = (*COMMON, *OF_ROW),
        strict: str | Mapping[str, Any] = "drop",
    ) -> None:
        if path is None:
            raise ConfigError("data.path=null: name the folder of Ali-CCP's four files, as data.path=FOLDER.")
        twice = sorted({name for name in fields if list(fields).count(name) > 1} | {USER, ITEM} & set(fields))
        if twice:
            raise ConfigError(
                f"data.source.fields names {twice[0]} twice, or {USER} or {ITEM}, always kept; remove it."
            )
        self.path, self.fields = Path(path), tuple(str(name) for name in fields)
        self.strict, self.labels_required = Strictness.parse(strict), True

    def describe(self) -> dict[str, Any]:
        """Fields, and a digest of each file: of 20 GB it reads 256 stretches of a mebibyte, and the size."""
        files = [self._file(kind, part) for part in self._parts() for kind in ("sample_skeleton", "common_features")]
        return {
            "kind": "Ali-CCP",
            "files": {file.name: sampled_digest(file) for file in files},
            "fields": list(self.fields),
            "strict": repr(self.strict),
            "labels_required": self.labels_required,
        }

    def unlabelled(self, path: Path) -> AliCCP:
        """A folder with at least one half, whose labels are not read."""
        other = AliCCP(path, fields=self.fields)
        other.labels_required = False
        return other

    def write(self, writer: StoreWriter) -> None:
        """Stream both halves, each joined to its common features.

        Raises:
            DataError: for tasks that the log does not label, a file that is missing, and the first broken row.
        """
        for task in writer.tasks.names:
            if task not in LABELS:
                raise DataError(f"data.tasks.{task}: Ali-CCP has no such label; it has {', '.join(LABELS)}.")
        if faults := self.strict.check(writer.tasks):
            raise ConfigError("; ".join(faults))
        state = _Written(self.fields)
        for part in self._parts():
            common = self._common(part, state)
            file = self._file("sample_skeleton", part)
            for lines in read_lines(file, SKELETON, [ITEM, *self.fields]):
                columns = state.columns(lines, common, file, part)
                kept = self._kept(columns, state, writer.tasks)
                writer.impressions(state.in_requests({name: values[kept] for name, values in columns.items()}))
            state.next_part(len(common.keys))
        writer.entities("queries", {"key": [""]})
        writer.entities("items", {"key": _words(state.codes[ITEM])})
        writer.entities("users", {"key": _words(state.codes[USER])})
        words = {name: _words(state.codes[name]).to_pylist() for name in self.fields}
        writer.notes |= {**state.seen.notes, "categories": {**words, PART: list(PARTS)}, "numeric": []}

    def _kept(self, columns: dict[str, NDArray[Any]], state: _Written, tasks: TaskFunnel) -> NDArray[np.bool_]:
        """Which rows stay, by their labels; without labels all, as zeros."""
        if not self.labels_required:
            columns |= {name: np.zeros_like(columns[name]) for name in LABELS}
            return np.ones(len(columns[ITEM_COLUMN]), dtype=bool)
        chunk = Collected(rows=len(columns[ITEM_COLUMN]))
        kept = self.strict.settle(columns, chunk, tasks, {})
        if chunk.faults:
            raise DataError(f"sample_skeleton (rows count from 1): {chunk.faults[0]}.")
        for note, content in chunk.notes.items():
            before = state.seen.notes.get(note, {"rows": 0})["rows"]
            state.seen.notes[note] = {**content, "rows": before + content["rows"]}
        return kept

    # --- files -------------------------------------------------------------------------------------------------

    def _parts(self) -> tuple[str, ...]:
        """The halves: both, unless their labels are not needed."""
        if self.labels_required:
            return PARTS
        found = tuple(part for part in PARTS if self._find("sample_skeleton", part))
        if not found:
            self._file("sample_skeleton", "test")
        return found

    def _find(self, kind: str, part: str) -> Path | None:
        names = [f"{kind}_{part}.csv", f"{kind}_{part}.csv.gz"]
        places = [folder / name for folder in (self.path, self.path / f"sample_{part}") for name in names]
        return next((place for place in places if place.is_file()), None)

    def _file(self, kind: str, part: str) -> Path:
        found = self._find(kind, part)
        if found is None:
            raise DataError(
                f"data.path={self.path} holds no {kind}_{part}.csv (or .csv.gz, or in sample_{part}/); unpack both "
                "archives of Ali-CCP there, see the config's head for where to get them."
            )
        return found

    def _common(self, part: str, state: _Written) -> _Common:
        """The wanted fields of all common features of a half, as codes."""
        file, keys, ids = self._file("common_features", part), [], []
        for lines in read_lines(file, INDEX, [USER, *self.fields]):
            keys.append(lines.columns[0].to_numpy(zero_copy_only=False).astype("S"))
            ids.append(lines.ids)
        if not keys:
            raise DataError(f"data.path: {file} has no rows; get it again.")
        key, found = np.concatenate(keys), np.concatenate(ids)
        order = np.argsort(key, kind="stable")
        if twice := np.flatnonzero(key[order][1:] == key[order][:-1]).tolist():
            raise DataError(f"{file.name} has the index {key[order][twice[0]].decode()!r} twice; get the file again.")
        user = state.codes[USER].encode(found[:, 0])
        return _Common(key[order], user[order], found[order, 1:])


ITEM_COLUMN, RUN = "item", "request"


@dataclass(frozen=True)
class _Common:
    """Common features by their index, sorted by it."""

    keys: NDArray[np.bytes_]
    user: NDArray[np.int32]
    """Codes."""
    ids: NDArray[np.int32]
    """(indices, fields)"""

    def places(self, lines: Lines, file: Path) -> NDArray[np.int64]:
        """Where the index of each row stands."""
        encoded = lines.columns[3].dictionary_encode()  # rows of one index lie together: few are looked up
        wanted = encoded.dictionary.to_numpy(zero_copy_only=False).astype("S")
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        local = encoded.indices.to_numpy()
        astray = np.flatnonzero((self.keys[place] != wanted)[local])
        if len(astray):
            raise DataError(
                f"{file.name}, row {lines.first + int(astray[0])}: common feature index "
                f"{wanted[local[astray[0]]].decode()!r} is not in common_features; the two files are of one half, get "
                "them again."
            )
        return np.asarray(place[local])


@dataclass
class _Written:
    """What goes on from block to block."""

    fields: Sequence[str]
    seen: Collected = field(default_factory=Collected)
    offset: int = 0
    """Common features of the parts before."""
    request: int = -1
    run: int = -1
    """The common features of the last row."""
    position: int = -1

    def __post_init__(self) -> None:
        """Codes of the user, the item and each field."""
        self.codes = {name: IntegerCodes() for name in (USER, ITEM, *self.fields)}

    def next_part(self, indices: int) -> None:
        """Indices of the next part are others, whatever they are called."""
        self.offset += indices

    def columns(self, lines: Lines, common: _Common, file: Path, part: str) -> dict[str, NDArray[Any]]:
        """A block's rows; `request` still holds the place of the common features."""
        place = common.places(lines, file)
        found: dict[str, NDArray[Any]] = {
            RUN: place.astype(np.int64) + self.offset,
            "user": common.user[place],
            "query": np.zeros(len(place), np.int32),
            ITEM_COLUMN: self.codes[ITEM].encode(lines.ids[:, 0]),
            FILE_ROW: lines.first + np.arange(len(place)),
            PART: np.full(len(place), PARTS.index(part), np.int32),
        }
        for column, name in enumerate(self.fields):
            of_common = common.ids[place, column]
            ids = np.where(of_common == NONE, lines.ids[:, 1 + column], of_common)
            found[name] = self.codes[name].encode(ids)
        return found | {name: _label(lines, place, name, file) for place, name in enumerate(LABELS, start=1)}

    def in_requests(self, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Number the runs of rows with common features of one index, and the rows of a run."""
        run = columns[RUN]
        if not len(run):
            return columns
        fresh = np.diff(run, prepend=self.run) != 0
        request = self.request + np.cumsum(fresh)
        start = np.maximum.accumulate(np.where(fresh, np.arange(len(run)), -1))
        position = np.where(start < 0, self.position + 1 + np.arange(len(run)), np.arange(len(run)) - start)
        self.run, self.request, self.position = int(run[-1]), int(request[-1]), int(position[-1])
        del columns[FILE_ROW]
        return columns | {"request": request, "position": np.minimum(position, 32_767).astype(np.int16)}


def sampled_digest(path: Path) -> str:
    """sha256 of a file's size and of up to 256 stretches of a mebibyte, evenly apart: of a small file, all of it."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    stretches = min(SAMPLED, -(-size // MEBIBYTE))
    last = max(0, size - MEBIBYTE)
    with path.open("rb") as file:
        for number in range(stretches):
            file.seek(last * number // max(1, stretches - 1))
            digest.update(file.read(MEBIBYTE))
    return digest.hexdigest()


def _label(lines: Lines, place: int, name: str, file: Path) -> NDArray[np.int8]:
    text = lines.columns[place]
    wrong = np.flatnonzero(~pc.is_in(text, value_set=pa.array(["0", "1"])).to_numpy(zero_copy_only=False))
    if len(wrong):
        said = text[int(wrong[0])].as_py()
        raise DataError(f"{file.name}, row {lines.first + int(wrong[0])}: {name} is {said!r}; it must be 0 or 1.")
    return np.asarray(pc.equal(text, "1").to_numpy(zero_copy_only=False).astype(np.int8))


def _words(codes: IntegerCodes) -> Any:
    """Ids as texts, by code; nothing where rows lack the field."""
    keys = codes.keys
    return pc.if_else(pa.array(keys == NONE), "", pc.cast(pa.array(keys), pa.string()))
