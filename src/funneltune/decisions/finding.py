"""Ways of finding candidates by their names."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from funneltune.backbones import Encoder
from funneltune.decisions.candidates import Candidates, Collaborative, Hybrid, Lexical, Popular, Semantic
from funneltune.decisions.candidates.named import SINGLE
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

POPULAR_WEIGHT = 0.1
"""Of popularity in the hybrid: it speaks where the other ways are silent, and hardly else."""


def hybrid(scorer: Scorer) -> Hybrid:
    """Words, meaning, shoppers alike and popularity, as far as the run and its log have them."""
    store = scorer.assembly.data.store
    ways: dict[str, Candidates] = {}
    if "item" in scorer.assembly.data.texts:
        ways["lexical"] = Lexical.of(scorer)
    if isinstance(scorer.module.encoder, Encoder):
        ways["semantic"] = Semantic.of(scorer)
    if store.table("users").num_rows >= 2 and store.has("time"):
        ways["collaborative"] = Collaborative.of(scorer)
    return Hybrid({**ways, "popular": Popular.of(scorer)}, {"popular": POPULAR_WEIGHT})


WAYS: dict[str, Callable[[Scorer], Candidates]] = {
    "lexical": SINGLE["lexical"],
    "semantic": SINGLE["semantic"],
    "collaborative": Collaborative.of,
    "popular": SINGLE["popular"],
    "hybrid": hybrid,
}


def candidates_of(scorer: Scorer, name: str) -> Candidates:
    """A way over a run's catalogue.

    Raises:
        ConfigError: if there is no such way, or the run or its log lack what it needs.
    """
    if name not in WAYS:
        others = ("all", "logged", *WAYS)
        near = get_close_matches(name, others, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(f"candidates={name!r} must be one of {', '.join(others)}{hint}")
    return WAYS[name](scorer)
