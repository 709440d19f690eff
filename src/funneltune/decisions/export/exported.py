"""An exported run, for whoever has neither torch nor funneltune: this file, onnxruntime, tokenizers and NumPy do.

A copy of it lies in each folder that `funneltune export` writes, so it imports nothing of the package. Its errors are
plain `ValueError`s, in one line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANIFEST, ENCODER, SCORER, TOKENIZER = "manifest.json", "encoder.onnx", "scorer.onnx", "tokenizer.json"
RAW = "none"
KINDS = ("twin", "cross", "none")
MAPPINGS = ("files", "outputs", "inputs", "features")
"""What a manifest has of these is read at once."""
PADDED_TOKENS = 4096
"""Of one call of the encoder: texts go together shortest first, until they would be more."""
KEY, MASK = b"0123456789123456", (1 << 64) - 1

Floats = NDArray[np.floating[Any]]


class Exported:
    """Scores items for a query, as the run does.

    Args:
        folder: `onnx` or `int8` of an export.
        threads: Of each graph; None: onnxruntime's choice.
        verify: Compare every file with the manifest's sha256 first.

    Raises:
        ValueError: if a file is missing, or another than the manifest says.
    """

    def __init__(self, folder: Path | str, threads: int | None = None, verify: bool = True) -> None:
        import onnxruntime

        self.folder = Path(folder)
        self.manifest = _manifest(self.folder / MANIFEST)
        for name, wanted in self.manifest["files"].items() if verify else ():
            if not (self.folder / name).is_file() or _sha256(self.folder / name) != wanted:
                raise ValueError(f"{self.folder / name} is missing or not what was exported; export the run again.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1

        def opened(name: str) -> Any:
            with _told(self.folder / name):
                return onnxruntime.InferenceSession(
                    str(self.folder / name), options, providers=["CPUExecutionProvider"]
                )

        self.kind: str = self.manifest["kind"]
        """`twin`: queries and items are encoded apart; `cross`: together; `none`: no text is read."""
        self.outputs: dict[str, str] = self.manifest["outputs"]
        """Rate (ctr, cvr, ctcvr) -> what predictions.parquet calls its column."""
        self._scorer: Any = opened(SCORER)
        self._encoder: Any = None
        self._tokenizer: Any = None
        if self.kind != "none":
            from tokenizers import Tokenizer

            self._encoder = opened(ENCODER)
            with _told(self.folder / TOKENIZER):
                self._tokenizer = Tokenizer.from_file(str(self.folder / TOKENIZER))
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()

    def run_encoder(self, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """The encoder's graph on padded texts."""
        found: Floats = self._encoder.run(None, dict(inputs))[0]
        return found

    def run_scorer(self, method: str, inputs: Mapping[str, NDArray[Any]]) -> Floats:
        """The scorer's graph: (items, columns) by a scaling, or `none`."""
        found: Floats = self._scorer.run([f"p_{method}"], dict(inputs))[0]
        return found

    # --- texts -------------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> Floats:
        """(texts, width): the vectors of queries or items, to be kept.

        Raises:
            ValueError: if the run reads query and item together, or no text.
        """
        if self.kind != "twin":
            raise ValueError(f"kind={self.kind}: a text has no vector of its own in this run; give texts to score().")
        return self._vectors([self._around(self._tokens(text)) for text in texts])

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids[: self.manifest["max_tokens"]]
        return found

    def _around(self, first: list[int], second: list[int] | None = None) -> tuple[list[int], int]:
        """The tokens of a text, or of two, special ones included, and how many belong to the first.

        Two texts that do not fit give up tokens of the longer one first.
        """
        before = [t for t in (self.manifest["before"],) if t is not None]
        after = [t for t in (self.manifest["after"],) if t is not None]
        room = self.manifest["max_tokens"] - len(before) - (1 if second is None else 2) * len(after)
        if second is None:
            ids = [*before, *first[:room], *after]
            return ids, len(ids)
        a, b = len(first), len(second)
        if a + b > room:
            a = room - b if b <= room // 2 else min(a, room - room // 2)
            b = room - a
        head = [*before, *first[:a], *after]
        return [*head, *second[:b], *after], len(head)

    def _vectors(self, texts: Sequence[tuple[list[int], int]]) -> Floats:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i][0]))
        vectors = np.zeros((len(texts), self.manifest["width"]), np.float32)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and len(texts[order[end]][0]) * (end + 1 - start) <= PADDED_TOKENS:
                end += 1
            part = order[start:end]
            vectors[part] = self.run_encoder(self._padded([texts[i] for i in part]))
            start = end
        return vectors

    def _padded(self, texts: Sequence[tuple[list[int], int]]) -> dict[str, NDArray[np.int64]]:
        shape = len(texts), max(len(ids) for ids, _ in texts)
        found = {name: np.zeros(shape, np.int64) for name in self.manifest["inputs"]["encoder"]}
        for row, (ids, first) in enumerate(texts):
            found["input_ids"][row, : len(ids)] = ids
            found["attention_mask"][row, : len(ids)] = 1
            if "token_type_ids" in found:
                found["token_type_ids"][row, first : len(ids)] = 1
        return found

    # --- scores ------------------------------------------------------------------------------------------------

    def score(
        self,
        query: str,
        items: Sequence[str] | Floats,
        features: Mapping[str, Any] | None = None,
        past: Sequence[str] | Floats = (),
        calibration: str | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Rate -> a probability per item (of other tasks: column -> value).

        Args:
            query: The words of the search, as the manifest's `texts.query` makes them of a log.
            items: Their texts (`texts.item`), or their vectors by `encode`; without a backbone, anything of the length.
            features: What else the run reads, by the log's names (`price`, `item.brand`, `user`): a value for all items
                or one per item; fixed vectors as (items, width).
            past: What the shopper clicked, the latest first: texts or vectors; without a backbone, item identifiers.
            calibration: `none`, or a scaling of the manifest's `scalings`; None: its `use`.

        Raises:
            ValueError: naming what is missing, unknown or of another length.
        """
        method = self.manifest["use"] if calibration is None else calibration
        known = [RAW, *self.manifest["scalings"]]
        if method not in known:
            raise ValueError(f"calibration={method!r} must be one of {', '.join(known)}.")
        if not len(items):
            return {name: np.zeros(0, np.float32) for name in self.outputs}
        given = {**self._text_inputs(query, items), **self._feature_inputs(features or {}, len(items))}
        if self.manifest["features"]["history"]:
            given |= self._past_inputs(past, features or {}, len(items))
        found = self.run_scorer(method, {name: given[name] for name in self.manifest["inputs"]["scorer"]})
        columns = self.manifest["columns"]
        return {name: found[:, columns.index(column)] for name, column in self.outputs.items()}

    def _text_inputs(self, query: str, items: Sequence[str] | Floats) -> dict[str, Floats]:
        if self.kind == "none":
            return {}
        if self.kind == "twin":
            return {"query": self.encode([query]), "items": self._as_vectors(items)}
        if not self.manifest["pairs"]:
            return {"pairs": np.repeat(self._vectors([self._around(self._tokens(query))]), len(items), axis=0)}
        first = self._tokens(query)
        return {"pairs": self._vectors([self._around(first, self._tokens(str(text))) for text in items])}

    def _as_vectors(self, texts: Sequence[str] | Floats) -> Floats:
        if not isinstance(texts, np.ndarray) or texts.ndim == 1:
            return self.encode([str(text) for text in texts])
        if texts.shape[1] != self.manifest["width"]:
            raise ValueError(f"vectors are {texts.shape[1]} wide, and this run's are {self.manifest['width']}.")
        return np.asarray(texts, np.float32)

    def _feature_inputs(self, features: Mapping[str, Any], n: int) -> dict[str, NDArray[Any]]:
        told, found = self.manifest["features"], {}
        if told["ids"]:
            columns = [self._buckets(name, _each(features, name, n)) for name in told["ids"]]
            found["ids"] = np.stack(columns, axis=1)
        if told["numbers"]:
            numbers = [_each(features, name, n).astype(np.float64) for name in told["numbers"]]
            found["numbers"] = np.stack(numbers, axis=1).astype(np.float32)
        if told["vectors"]:
            parts = [np.asarray(_named(features, name), np.float32) for name in told["vectors"]]
            for part, (name, width) in zip(parts, told["vectors"].items(), strict=True):
                if part.shape != (n, width):
                    raise ValueError(f"features: {name!r} has the shape {part.shape}; it must be ({n}, {width}).")
            found["vectors"] = np.concatenate(parts, axis=1)
        return found

    def _past_inputs(
        self, past: Sequence[str] | Floats, features: Mapping[str, Any], n: int
    ) -> dict[str, NDArray[Any]]:
        most = self.manifest["features"]["history"]
        past = past[:most]
        if self.manifest["features"]["history_ids"]:
            ids = np.full(most, -1, np.int64)
            ids[: len(past)] = self._buckets("item", np.asarray(past, dtype=object))
            return {"past_ids": ids, "candidate": self._buckets("item", _each(features, "item", n))}
        vectors, there = np.zeros((most, self.manifest["width"]), np.float32), np.zeros(most, np.int64)
        if len(past):
            vectors[: len(past)], there[: len(past)] = self._as_vectors(past), 1
        return {"past": vectors, "past_there": there}

    def _buckets(self, name: str, values: NDArray[Any]) -> NDArray[np.int64]:
        buckets, distinct = self.manifest["features"]["buckets"], {}
        for value in values:
            if value not in distinct:
                distinct[value] = text_hash(f"{name}\x1f{value}") % buckets
        return np.array([distinct[value] for value in values], np.int64)


def _manifest(path: Path) -> dict[str, Any]:
    """What a folder's manifest says, held against what is read of it.

    Raises:
        ValueError: if it is missing, cut short or another file.
    """
    with _told(path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("kind") not in KINDS:
            raise ValueError(f"it has no kind, one of {', '.join(KINDS)}")
        if odd := [name for name in MAPPINGS if not isinstance(found.get(name), dict)]:
            raise ValueError(f"it has no {odd[0]}")
    return found


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What went wrong with a file, in one line; onnxruntime and tokenizers raise errors of no kind in particular."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}); export the run again.") from None


def _named(features: Mapping[str, Any], name: str) -> Any:
    if name not in features:
        raise ValueError(f"features: {name!r} is missing; this run reads it of every item.")
    return features[name]


def _each(features: Mapping[str, Any], name: str, n: int) -> NDArray[Any]:
    """A feature of each item."""
    value = _named(features, name)
    if isinstance(value, (str, int, float, np.generic)):
        return np.array([value] * n, dtype=object)
    values = np.asarray(list(value), dtype=object)
    if len(values) != n:
        raise ValueError(f"features: {name!r} has {len(values)} values for {n} items; give one, or one per item.")
    return values


def text_hash(text: str) -> int:
    """What `pandas.util.hash_array` makes of a text: SipHash, then SplitMix64's last steps."""
    z = siphash(text.encode(), KEY)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def siphash(data: bytes, key: bytes) -> int:
    """SipHash-2-4 (Aumasson & Bernstein 2012) of bytes, under a key of 16."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, whole, 8)]
    words.append((len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    for word in words:
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], times: int) -> None:
    def turned(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & MASK

    for _ in range(times):
        v[0] = (v[0] + v[1]) & MASK
        v[1] = turned(v[1], 13) ^ v[0]
        v[0] = turned(v[0], 32)
        v[2] = (v[2] + v[3]) & MASK
        v[3] = turned(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & MASK
        v[3] = turned(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & MASK
        v[1] = turned(v[1], 17) ^ v[2]
        v[2] = turned(v[2], 32)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
