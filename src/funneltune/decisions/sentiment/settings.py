"""What a sentiment study is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from funneltune.errors import ConfigError

SPLITS = ("validation", "test")
BASELINES = ("tfidf", "none")


@dataclass(frozen=True)
class Settings:
    """Checks itself.

    Raises:
        ConfigError: naming the first value that is out of range.
    """

    split: str = "test"
    by: tuple[str, ...] = ()
    """What groups reviews: `item`, fields of the items; empty: item and each field of few values."""
    baseline: str = "tfidf"
    smallest: int = 20
    """Reviews of a group, below which it is left out."""
    words: int = 5
    """Words told of each group, up and down."""
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check."""
        for name, words in (("split", SPLITS), ("baseline", BASELINES)):
            if getattr(self, name) not in words:
                raise ConfigError(f"{name}={getattr(self, name)} must be one of {', '.join(words)}.")
        for name, low, high in (("smallest", 2, 100_000), ("words", 1, 50), ("draws", 100, 10_000)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name}={getattr(self, name)} must lie in [{low}, {high}].")
