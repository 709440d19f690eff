"""What lies below the lowest trained layer, kept on disk: nothing moves it, so each text is read once.

Legend: N texts of T tokens in total; states are W wide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from funneltune.errors import DataError, RunError
from funneltune.schema import Texts

CachePolicy = Literal["auto", "always", "never"]
CACHE_POLICIES: tuple[CachePolicy, ...] = get_args(CachePolicy)
NUMBERS, STARTS, VALUES = "numbers.npy", "starts.npy", "values.bin"


@dataclass(frozen=True)
class Caching:
    """What the config says of an encoder's cache."""

    policy: CachePolicy = "never"
    limit_gb: float = 16.0


@dataclass(frozen=True)
class BoundaryCache:
    """Layer k's hidden states of every text of a log; where nothing above is trained either, the texts' vectors.

    States are float16: a relative error of 2^-11, where bfloat16 arithmetic makes one of 2^-9 in every layer. Vectors,
    one per text and not one per token, stay float32. Both are memory-mapped.
    """

    numbers: NDArray[np.int64]
    """(N,): the texts' numbers in the log (`Texts.numbers`), ascending."""
    starts: NDArray[np.int64]
    """(N + 1,): where each text's rows of `values` begin; the last entry is the end."""
    values: NDArray[np.float16] | NDArray[np.float32]
    """(T, W) states, text by text; or (N, W) vectors."""

    @classmethod
    def read(cls, folder: Path, width: int, *, pooled: bool) -> BoundaryCache:
        """What `write` left in a folder.

        Raises:
            DataError: if a file is missing or cannot be read.
        """
        try:
            values = np.memmap(folder / VALUES, dtype=_dtype(pooled), mode="r").reshape(-1, width)
            numbers, starts = (np.load(folder / name, mmap_mode="r") for name in (NUMBERS, STARTS))
            if len(starts) != len(numbers) + 1 or starts[-1] != len(values):
                raise ValueError(f"{len(numbers)} texts and {len(values)} rows do not belong together")
            return cls(numbers, starts, values)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder} is damaged ({error}); delete it, it will be built again.") from None

    @staticmethod
    def write(folder: Path, found: Iterable[tuple[Texts, Float[Tensor, "rows width"]]], *, pooled: bool) -> None:
        """Keep numbered texts with their states or vectors. Numbers ascend from part to part, within one as they may.

        Raises:
            RunError: if a state is too large for float16.
        """
        numbers, sizes = [], []
        with (folder / VALUES).open("wb") as file:
            for texts, values in found:
                assert texts.numbers is not None
                size = np.ones(len(texts), np.int64) if pooled else texts.lengths.cpu().numpy()
                order = texts.numbers.argsort().cpu().numpy()
                numbers.append(texts.numbers.cpu().numpy()[order])
                sizes.append(size[order])
                with np.errstate(over="ignore"):  # looked for below
                    kept = values.float().cpu().numpy().astype(_dtype(pooled))
                rows = kept[_ranges((size.cumsum() - size)[order], size[order])]
                if not np.isfinite(rows).all():
                    raise RunError(
                        "the backbone's hidden states do not fit float16, as its cache would keep them; "
                        "set backbone.cache=never."
                    )
                rows.tofile(file)
        np.save(folder / NUMBERS, np.concatenate(numbers))
        np.save(folder / STARTS, np.append(0, np.concatenate(sizes).cumsum()))

    def find(self, texts: Texts) -> Float[Tensor, "rows width"] | None:
        """The rows of each text, text by text, in float32; None where one is not kept."""
        if texts.numbers is None:
            return None
        wanted = texts.numbers.cpu().numpy()
        place = np.searchsorted(self.numbers, wanted).clip(max=len(self.numbers) - 1)
        if not np.array_equal(self.numbers[place], wanted):
            return None
        rows = _ranges(self.starts[place], self.starts[place + 1] - self.starts[place])
        return torch.from_numpy(self.values[rows]).to(texts.lengths.device).float()


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(sizes.sum()) + np.repeat(starts - (sizes.cumsum() - sizes), sizes)


def _dtype(pooled: bool) -> type[np.float16] | type[np.float32]:
    return np.float32 if pooled else np.float16
