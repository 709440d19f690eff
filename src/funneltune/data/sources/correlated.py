"""Two regression tasks of a chosen relatedness: the synthetic log on which MMoE was studied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.sources.table import Table
from funneltune.data.store import Side
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError

Vectors = NDArray[np.float64]
LABELS = ("y1", "y2")
ALPHA, BETA = (1.0, 2.0, 3.0, 4.0), (0.0, 1.0, 4.0, 9.0)


class Correlated:
    """Numbers x1, x2, ... and two labels of them whose weights have the cosine `correlation` (Ma et al. 2018, MMoE).

    u1 and u2 are orthogonal unit vectors; w1 = c u1, w2 = c (p u1 + sqrt(1 - p^2) u2) (eq. 2); x ~ N(0, I);
    y_k = w_k.x + sum_i sin(alpha_i w_k.x + beta_i) + e_k, e_k ~ N(0, noise^2) (eqs. 3-4). p is `correlation`, c is
    `scale`. As the labels are no linear functions of x, their own correlation is not p, but rises with it and is 1, up
    to the noise, at p = 1.

    One seed draws the same u, x and e whatever p is: then y1 is the same too, and only y2 moves.

    Args:
        rows: Of the log, each a request of its own.
        seed: Draws u1, u2, x and e.
        correlation: The cosine of the two tasks' weights, p.
        dimensions: Of x.
        scale: Length of the weights, c.
        alpha, beta: Of the sines. The paper gives no values; alpha_i = i, beta_i = (i - 1)^2 are those of Google's
            published generator (google-research), which has ten of them.
        noise: Standard deviation of e.

    Raises:
        ConfigError: if one is out of range; all faults together.
    """

    def __init__(
        self,
        rows: int = 24_000,
        seed: int = 0,
        correlation: float = 0.5,
        dimensions: int = 100,
        scale: float = 1.0,
        alpha: Sequence[float] = ALPHA,
        beta: Sequence[float] = BETA,
        noise: float = 0.1,
    ) -> None:
        alpha, beta = list(alpha), list(beta)
        faults = {
            f"rows={rows} must be >= 1": rows < 1,
            f"correlation={correlation} must lie in [-1, 1], it is a cosine": not -1 <= correlation <= 1,
            f"dimensions={dimensions} must be >= 2, for two orthogonal directions": dimensions < 2,
            f"scale={scale} must be above 0": not 0 < scale < math.inf,
            f"noise={noise} must be >= 0": not 0 <= noise < math.inf,
            f"alpha={alpha} and beta={beta} must be as many; each sine has one of both": len(alpha) != len(beta),
        }
        wrong = [f"data.source.{fault}" for fault, is_so in faults.items() if is_so]
        if wrong:
            raise ConfigError("; ".join(wrong) + ".")
        self.rows, self.seed, self.correlation = rows, seed, float(correlation)
        self.dimensions, self.scale, self.noise = dimensions, float(scale), float(noise)
        self.alpha, self.beta = np.array(alpha, dtype=np.float64), np.array(beta, dtype=np.float64)

    @property
    def names(self) -> list[str]:
        """Columns of x."""
        return [f"x{i}" for i in range(1, self.dimensions + 1)]

    def describe(self) -> dict[str, Any]:
        """The knobs: they decide every value of the log."""
        return {
            "kind": "correlated",
            "rows": self.rows,
            "seed": self.seed,
            "correlation": self.correlation,
            "dimensions": self.dimensions,
            "scale": self.scale,
            "alpha": self.alpha.tolist(),
            "beta": self.beta.tolist(),
            "noise": self.noise,
        }

    def unlabelled(self, path: Path) -> Table:
        """A file with the columns x1, x2, ..."""
        return Table(path, numeric=self.names, labels_required=False)

    def draw(self) -> tuple[Vectors, Vectors, Vectors]:
        """x: (rows, dimensions); the labels: (rows, 2); the weights: (2, dimensions)."""
        rng = np.random.default_rng(self.seed)
        u1, u2 = orthonormal(rng.standard_normal((2, self.dimensions)))
        p = self.correlation
        weights = self.scale * np.stack([u1, p * u1 + math.sqrt(1 - p**2) * u2])
        x = rng.standard_normal((self.rows, self.dimensions))
        noise = self.noise * rng.standard_normal((self.rows, 2))
        return x, label(x @ weights.T, self.alpha, self.beta) + noise, weights

    def write(self, writer: StoreWriter) -> None:
        """Draw the log into a store.

        Raises:
            DataError: if a task is not one of the two numbers.
        """
        for task in writer.tasks.tasks:
            if task.name not in LABELS or task.kind != "regression":
                raise DataError(
                    f"data.tasks.{task.name}, kind={task.kind}: this log has the labels {' and '.join(LABELS)}, both "
                    "kind: regression; name one of them."
                )
        x, y, _ = self.draw()
        sides: tuple[Side, ...] = ("queries", "items", "users")
        for side in sides:
            writer.entities(side, {"key": [""]})  # rows are about nobody and nothing
        nothing = np.zeros(self.rows, dtype=np.int64)
        writer.notes["numeric"] = self.names
        writer.impressions(
            {
                "request": np.arange(self.rows),
                "user": nothing,
                "query": nothing,
                "item": nothing,
                "position": nothing.astype(np.int16),
                **dict(zip(LABELS, y.T, strict=True)),
                **dict(zip(self.names, x.astype(np.float32).T, strict=True)),
            }
        )


def orthonormal(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """Two vectors made unit vectors at a right angle (Gram-Schmidt)."""
    first = vectors[0] / np.linalg.norm(vectors[0])
    second = vectors[1] - (vectors[1] @ first) * first
    return first, second / np.linalg.norm(second)


def label(z: Vectors, alpha: Vectors, beta: Vectors) -> Vectors:
    """The label of a projection z without noise: z + sum_i sin(alpha_i z + beta_i), of any shape.

    >>> label(np.array([0.0, 2.0]), np.array([np.pi]), np.array([np.pi / 2]))
    array([1., 3.])
    """
    found: Vectors = z + np.sin(z[..., None] * alpha + beta).sum(axis=-1)
    return found
