"""Small photographs of the items, drawn from their catalogue entries: NumPy only, 32 x 32 pixels, RGB.

What can be seen of an item is true: its colour (the paint), its group (the silhouette), its type (the silhouette's
size) and its style (the pattern). An item without a colour is an outline, one without a style is plain. Background,
place and grain are noise, a function of (seed, item) alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.catalogue import COLOUR_SLOT, SLOTS, Catalogue
from funneltune.marketplace.vocabulary import Vocabulary

SIZE = 32
"""Pixels of a side."""
STYLE_SLOT = SLOTS.index("style")
STREAM = 0x9407
"""Beside the seed, so that no other generator of the world draws the same numbers."""
GRAIN = 10.0
"""Standard deviation of a pixel's noise, of 255."""
SHADE = 0.3
"""How much darker a pattern's dark half is."""
PAINT: dict[str, tuple[int, int, int]] = {
    "black": (25, 25, 28),
    "white": (255, 255, 255),
    "ivory": (248, 240, 205),
    "beige": (226, 205, 165),
    "tan": (200, 150, 95),
    "brown": (105, 65, 35),
    "grey": (140, 140, 145),
    "charcoal": (72, 76, 82),
    "navy": (25, 35, 95),
    "blue": (45, 110, 225),
    "teal": (10, 150, 150),
    "green": (30, 150, 60),
    "olive": (120, 125, 50),
    "mustard": (205, 155, 25),
    "yellow": (250, 225, 45),
    "orange": (225, 105, 35),
    "red": (215, 25, 30),
    "burgundy": (115, 15, 45),
    "pink": (245, 150, 190),
    "purple": (135, 70, 175),
    "gold": (190, 150, 70),
    "silver": (195, 202, 210),
}
"""Red, green and blue of each colour's name; `multicolour` is a quarter each of four."""
QUARTERS = ("red", "yellow", "green", "blue")
GROUND = 228.0
OUTLINE = 90.0
SILHOUETTES, ASPECTS = 8, ((1.0, 1.0), (1.0, 0.62), (0.62, 1.0))
"""Kinds of silhouettes, and how wide and how high they are drawn: group g is kind g mod 8, drawn g div 8 mod 3."""


def photographs(vocabulary: Vocabulary, catalogue: Catalogue, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Each item's photograph, (32, 32, 3), in the order of their numbers."""
    types = _rank_in_group(vocabulary.type_group)
    styles = [number for number, each in enumerate(vocabulary.attributes) if each.dimension == "style"]
    for item in range(len(catalogue)):
        kind = int(catalogue.type[item])
        colour, style = (int(catalogue.slots[item, slot]) for slot in (COLOUR_SLOT, STYLE_SLOT))
        yield photograph(
            group=int(vocabulary.type_group[kind]),
            rank=int(types[kind]),
            colour=vocabulary.attributes[colour].name if colour >= 0 else None,
            style=styles.index(style) if style >= 0 else None,
            rng=np.random.default_rng((seed, STREAM, item)),
        )


def photograph(
    group: int, rank: int, colour: str | None, style: int | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One photograph.

    Args:
        group: Number of the item's group: its silhouette.
        rank: Of its type within the group: its size.
        colour: A name of `PAINT`, or `multicolour`; None: an outline.
        style: Number of its style: its pattern; None: plain.
        rng: Of what is noise.
    """
    shift, light, grain = rng.uniform(-0.08, 0.08, 2), rng.normal(0, 6), rng.normal(0, GRAIN, (SIZE, SIZE, 3))
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    y, x = np.meshgrid(axis - shift[0], axis - shift[1], indexing="ij")
    size = 0.92 - 0.07 * (rank % 5)
    shape = silhouette(group, x / size, y / size)
    picture = np.full((SIZE, SIZE, 3), GROUND)
    if colour is None:
        picture[shape & ~silhouette(group, x / size / 0.78, y / size / 0.78)] = OUTLINE
    else:
        paint = _paint(colour, x, y)
        if style is not None:
            paint = paint * np.where(pattern(style), 1.0 - SHADE, 1.0)[..., None]
        picture[shape] = paint[shape]
    return np.clip(np.round(picture + light + grain), 0, 255).astype(np.uint8)


def silhouette(group: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the item of a group is, of coordinates from -1 to 1."""
    wide, high = ASPECTS[group // SILHOUETTES % len(ASPECTS)]
    x, y = x / wide, y / high
    across, far = np.abs(x) + np.abs(y), np.hypot(x, y)
    box = np.maximum(np.abs(x), np.abs(y))
    kinds = (
        far < 0.9,  # disc
        box < 0.8,  # box
        across < 1.0,  # diamond
        (y < 0.8) & (np.abs(x) < (y + 0.9) / 1.9),  # triangle that stands
        (y > -0.8) & (np.abs(x) < (0.9 - y) / 1.9),  # triangle on its tip
        (far < 0.9) & (far > 0.5),  # ring
        (box < 0.85) & (np.minimum(np.abs(x), np.abs(y)) < 0.3),  # cross
        (box < 0.85) & ~((np.abs(x) < 0.4) & (y > -0.2)),  # arch
    )
    shape = kinds[group % SILHOUETTES]
    return shape & (np.abs(x + y) > 0.2) if group // (SILHOUETTES * len(ASPECTS)) % 2 else shape  # cut by a diagonal


def pattern(style: int) -> NDArray[np.bool_]:
    """The dark pixels of a style: one of six patterns, at one of four distances."""
    row, column = np.indices((SIZE, SIZE))
    step = 4 + 2 * (style // 6 % 4)
    half = step // 2
    return (
        row % step < half,
        column % step < half,
        (row + column) % step < half,
        (row - column) % step < half,
        (row % step < half) ^ (column % step < half),
        (row % step < half) & (column % step < half),
    )[style % 6]


def _paint(colour: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    if colour != "multicolour":
        return np.broadcast_to(np.array(PAINT[colour], dtype=np.float64), (*x.shape, 3))
    quarters = np.array([PAINT[name] for name in QUARTERS], dtype=np.float64)
    return np.asarray(quarters[2 * (y > 0) + (x > 0)])


def _rank_in_group(group: NDArray[np.int16]) -> NDArray[np.int64]:
    """Of each type, how many of its group come before it."""
    return np.array([int((group[:kind] == own).sum()) for kind, own in enumerate(group)], dtype=np.int64)
