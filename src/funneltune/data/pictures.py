"""Pictures of items: each distinct file once in the log store, and what a frozen vision backbone makes of it, once."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from funneltune.data.folders import built_folder
from funneltune.data.store import LogStore
from funneltune.errors import ConfigError, DataError

FORMATS = ("JPEG", "PNG", "WEBP")
"""What is read. Formats that call other programs or hold many pages (EPS, TIFF, PDF) are refused."""
LARGEST_FILE = 32 * 2**20
MOST_PIXELS = 50_000_000
AT_ONCE = 256
"""Pictures that are decoded together."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Named:
    """A picture's file and its name in messages; no content: the item has no picture."""

    content: bytes | None
    name: str = ""


@runtime_checkable
class PictureSource(Protocol):
    """A source whose items have pictures."""

    def pictures(self, name: str, store: LogStore) -> Iterator[Named]:
        """Each item's picture, in the order of the items."""
        ...


class PictureEncoder(Protocol):
    """What makes vectors of pictures: a frozen vision backbone."""

    def key(self) -> str:
        """A sha256 of all that decides the vectors: weights, reading, pooling."""
        ...

    def encode(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """(pictures, width): of pictures as they are, (height, width, 3) each."""
        ...


class Pictures:
    """The pictures of a log's items, memory-mapped: `of_item` (items,) numbers of distinct files, -1 where none is."""

    def __init__(self, folder: Path) -> None:
        self.of_item: NDArray[np.int64] = np.load(folder / "of_item.npy", mmap_mode="r")
        self._content = np.load(folder / "content.npy", mmap_mode="r")
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        self.digest = (folder / "digest.txt").read_text()
        """A sha256 of all files."""

    def __len__(self) -> int:
        """Distinct files."""
        return len(self._offsets) - 1

    def pixels(self, number: int) -> Pixels:
        """(height, width, 3) of a distinct file."""
        content = self._content[self._offsets[number] : self._offsets[number + 1]].tobytes()
        return decoded(Named(content, f"picture {number}"))


def decoded(picture: Named) -> Pixels:
    """A picture's pixels, (height, width, 3): RGB, transparency over white.

    Raises:
        DataError: if the file is broken, too large, or of a format that is not read.
    """
    assert picture.content is not None
    rule = f"a picture must be a whole {', '.join(FORMATS)} file"
    if len(picture.content) > LARGEST_FILE:
        raise DataError(f"{picture.name} has {len(picture.content):,} bytes, more than {LARGEST_FILE:,}; make it less.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a decompression bomb warns first
            with Image.open(io.BytesIO(picture.content), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
                clear = image.convert("RGBA")
                ground = Image.new("RGBA", clear.size, "white")
                return np.asarray(Image.alpha_composite(ground, clear).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        told = " ".join(str(error).split())[:120].replace(f"{io.BytesIO.__name__} object", "file")
        raise DataError(f"{picture.name} cannot be read as a picture ({told}); {rule}.") from None


def as_png(pixels: Pixels) -> bytes:
    """A picture's pixels as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def stored_pictures(store: LogStore, source: Any, name: str) -> Pictures:
    """A log's pictures by their name, written into its store when they are first asked for.

    Raises:
        ConfigError: if the source has no such pictures.
        DataError: naming the first file that is broken.
    """
    folder = store.folder / f"pictures-{name}"
    if not folder.is_dir() and not isinstance(source, PictureSource):
        raise ConfigError(
            f"vision.images: the log has no pictures {name!r}; only tables (data.source.images) and the marketplace "
            "have some, set vision=none."
        )
    with built_folder(folder) as part:
        if part is not None:
            _write(part, source.pictures(name, store))
    return Pictures(folder)


def _write(folder: Path, pictures: Iterable[Named]) -> None:
    """Each distinct file once, end to end; every one is decoded before it is kept."""
    numbers: dict[bytes, int] = {}
    of_item, lengths = [], [0]
    with (folder / "content.bin").open("wb") as file:
        for picture in pictures:
            if picture.content is None:
                of_item.append(-1)
                continue
            digest = hashlib.sha256(picture.content).digest()
            if digest not in numbers:
                decoded(picture)
                numbers[digest] = len(numbers)
                file.write(picture.content)
                lengths.append(len(picture.content))
            of_item.append(numbers[digest])
    whole = folder / "content.bin"
    np.save(folder / "content.npy", np.fromfile(whole, dtype=np.uint8))
    whole.unlink()
    np.save(folder / "offsets.npy", np.cumsum(lengths))
    np.save(folder / "of_item.npy", np.array(of_item, dtype=np.int64))
    (folder / "digest.txt").write_text(hashlib.sha256(b"".join(numbers)).hexdigest())


def encode_pictures(store: LogStore, source: Any, encoder: PictureEncoder | None, names: Sequence[str]) -> LogStore:
    """Let the store answer for pictures as it does for fixed vectors: by what the backbone makes of each, once.

    The vectors lie in the store's folder, by the backbone's key and the pictures' own; another run finds them there.
    An item without a picture has a vector of zeros.
    """
    for name in names if encoder is not None else ():
        assert encoder is not None
        pictures = stored_pictures(store, source, name)
        key = hashlib.sha256(f"{encoder.key()} {pictures.digest}".encode()).hexdigest()[:16]
        folder = store.folder / f"seen-{name}-{key}"
        with built_folder(folder) as part:
            if part is not None:
                np.save(part / "vectors.npy", _encoded(pictures, encoder, name))
        store.encoded[name] = np.load(folder / "vectors.npy", mmap_mode="r")
    return store


def _encoded(pictures: Pictures, encoder: PictureEncoder, name: str) -> NDArray[np.float32]:
    if not len(pictures):
        raise DataError(f"vision.images: no item has a picture {name!r}; set vision=none.")
    parts = [
        encoder.encode([pictures.pixels(number) for number in range(start, min(start + AT_ONCE, len(pictures)))])
        for start in range(0, len(pictures), AT_ONCE)
    ]
    found = np.concatenate(parts).astype(np.float32)
    if not np.isfinite(found).all():
        raise DataError(
            f"vision.images: the backbone gives {name!r} vectors that are not finite; choose another vision=."
        )
    vectors = found[np.maximum(pictures.of_item, 0)]
    vectors[pictures.of_item < 0] = 0.0
    return vectors
