"""What one may ask of personas."""

from __future__ import annotations

from dataclasses import dataclass

from funneltune.errors import ConfigError

METHODS = ("kmeans", "hdbscan")
MAPS = ("pca", "umap")
BLOCKS = ("tastes", "prices", "categories", "rates", "words", "activity")
USUAL = BLOCKS[:-1]
"""Without `activity`: how much people shop falls into heavy and light users, whatever they like."""


@dataclass(frozen=True)
class Settings:
    """Of one look for personas.

    Args:
        k: How many; None: as many as silhouette and stability say, or none.
        method: `kmeans` or `hdbscan` (which leaves shoppers between the groups without one).
        map: How shoppers are laid on a plane: `pca` or `umap`.
        min_size: Fewest shoppers of a persona; smaller ones are merged into the nearest.
        past: Fewest clicks before the test split of a shopper who is grouped.
        most: Most shoppers that are grouped, drawn at random.
        blocks: What shoppers are told apart by.
        explained: Share of the vectors' variance that the components keep.
        max_k: Most personas that are tried.
        bootstraps: Re-clusterings behind a stability.
        nulls: Sets of shoppers without groups that the real ones are held against.
        seed: Of all that is drawn.

    Raises:
        ConfigError: naming the first that is out of range.
    """

    k: int | None = None
    method: str = "kmeans"
    map: str = "pca"
    min_size: int = 20
    past: int = 20
    most: int = 5000
    blocks: tuple[str, ...] = USUAL
    explained: float = 0.8
    max_k: int = 8
    bootstraps: int = 20
    nulls: int = 39
    seed: int = 0

    def __post_init__(self) -> None:
        """Check each alone, then together."""
        for name, least in {"min_size": 2, "past": 1, "most": 10, "bootstraps": 2, "nulls": 19, "max_k": 2}.items():
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{name}={value} must be a whole number, {least} or more.")
        for name, known in (("method", METHODS), ("map", MAPS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)} must be one of {', '.join(known)}.")
        if self.k is not None and self.k < 2:
            raise ConfigError(f"k={self.k} must be 2 or more, or auto.")
        if self.k is not None and self.method == "hdbscan":
            raise ConfigError(f"k={self.k} is for method=kmeans; hdbscan finds how many there are: leave k out.")
        if not 0 < self.explained <= 1:
            raise ConfigError(f"explained={self.explained:g} must lie above 0, up to 1.")
        odd = [name for name in self.blocks if name not in BLOCKS]
        if odd or not self.blocks:
            raise ConfigError(f"blocks={','.join(self.blocks)} must be some of {', '.join(BLOCKS)}.")
