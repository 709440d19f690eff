"""Ways of finding candidates by their names: the same words in rank, retrieve and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial

from funneltune.backbones import Encoder
from funneltune.decisions.candidates import Candidates, Collaborative, Hybrid, Lexical, Popular, Semantic
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

POPULAR_WEIGHT = 0.1
"""Of popularity in the hybrid: it speaks where the other ways are silent, and hardly else."""


def hybrid(scorer: Scorer, depth: int = 200) -> Hybrid:
    """Words, meaning, shoppers alike and popularity, as far as the run and its log have them.

    Args:
        scorer: The run.
        depth: Items that each way brings at least.
    """
    store = scorer.assembly.data.store
    ways: dict[str, Candidates] = {}
    if "item" in scorer.assembly.data.texts:
        ways["lexical"] = Lexical.of(scorer)
    if isinstance(scorer.module.encoder, Encoder):
        ways["semantic"] = Semantic.of(scorer)
    if store.table("users").num_rows >= 2 and store.has("time"):
        ways["collaborative"] = Collaborative.of(scorer)
    return Hybrid({**ways, "popular": Popular.of(scorer)}, {"popular": POPULAR_WEIGHT}, depth=depth)


WAYS: dict[str, Callable[[Scorer], Candidates]] = {
    "lexical": Lexical.of,
    "semantic": Semantic.of,
    "collaborative": Collaborative.of,
    "popular": Popular.of,
    "hybrid": hybrid,
}
"""What rank and serving offer."""
COMPARED: dict[str, Callable[[Scorer], Candidates]] = {
    "bare": partial(Semantic.of, encoder="bare"),
    "als": partial(Collaborative.of, method="als"),
}
"""What retrieve holds beside them."""
WORDS = ("all", "logged", *WAYS)


def require_way(key: str, name: str, words: Sequence[str]) -> None:
    """Refuse a name that is none of the words that a key takes.

    Raises:
        ConfigError: naming them all, and the nearest.
    """
    if name not in words:
        near = get_close_matches(name, words, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(f"{key}={name!r} must be one of {', '.join(words)}{hint}")


def candidates_of(scorer: Scorer, name: str, key: str = "candidates", words: Sequence[str] = WORDS) -> Candidates:
    """A way over a run's catalogue.

    Args:
        scorer: The run.
        name: One of `WAYS` or `COMPARED`.
        key: What was set to this name.
        words: What that key takes.

    Raises:
        ConfigError: if there is no such way, or the run or its log lack what it needs.
    """
    require_way(key, name, words)
    return (WAYS | COMPARED)[name](scorer)
