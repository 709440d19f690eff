"""Ways by name, for measuring them side by side on a run's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from funneltune.data import Asked
from funneltune.decisions.candidates.hybrid import Convex, Hybrid
from funneltune.decisions.candidates.protocol import Candidates, Found
from funneltune.decisions.candidates.reranked import Reranked
from funneltune.decisions.finding import candidates_of, hybrid, require_way
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

SINGLE = ("lexical", "semantic", "bare", "collaborative", "als", "popular")
"""Ways that look at one thing."""
FUSED, CONVEX, RANKED, BLENDED = "hybrid", "convex", "ranked", "blended"
RANKS = {RANKED, BLENDED}
NAMES = (*SINGLE, FUSED, CONVEX, RANKED, BLENDED)


@dataclass
class Remembered:
    """A way whose lists are kept, so that what is fused from it need not find them again."""

    way: Candidates
    _asked: tuple[Asked, ...] = ()
    _found: Found | None = field(default=None, repr=False)

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The way's lists, cut from longer ones where these are at hand."""
        if self._found is None or tuple(asked) != self._asked or self._found.numbers.shape[1] < k:
            self._asked, self._found = tuple(asked), self.way.find(asked, k)
        return Found(self._found.numbers[:, :k], self._found.scores[:, :k])


def ways_of(
    scorer: Scorer,
    names: Sequence[str],
    *,
    ranker: Scorer | None = None,
    by: str = "",
    depth: int = 200,
    seen: int = 100,
    weight: float = 0.5,
    weights: Mapping[str, float] | None = None,
) -> dict[str, Candidates]:
    """Ways by their names, in this order.

    `lexical`, `semantic` (the run's encoder), `bare` (its backbone before tuning), `collaborative`, `als`, `popular`;
    `hybrid` fuses those single ways that are named with it by their ranks (where none is, it is what rank and serving
    call so), `convex` by their scores; `ranked` is the first `seen` of these (of `convex` where it is named, else of
    `hybrid`) by a run's rate, `blended` by both that rate and the fused score.

    Args:
        scorer: The run whose catalogue is searched.
        names: Which.
        ranker: The run that ranks; by default the same.
        by: Its rate; by default its last.
        depth: Items that single ways bring.
        seen: Items that are ranked anew; what is behind them stays there.
        weight: Of the ranker in `blended`.
        weights: Of single ways in `hybrid` and `convex`; 1 where none is named.

    Raises:
        ConfigError: if a name is unknown or stands twice, or there is nothing to fuse.
    """
    for name in names:
        require_way("ways", name, NAMES)
        if list(names).count(name) > 1:
            raise ConfigError(f"ways: {name!r} stands twice; name each once.")
    found = {name: candidates_of(scorer, name, "ways", NAMES) for name in names if name in SINGLE}
    made: dict[str, Candidates] = {name: Remembered(way) for name, way in found.items()}
    if len(made) == len(names):
        if weights:
            raise ConfigError(
                "weights: say how much single ways count where they are fused; add hybrid or convex to ways."
            )
        return made
    if made:
        single = dict(made)
        made[FUSED] = Remembered(Hybrid(single, weights, depth=depth))
        made[CONVEX] = Remembered(Convex(single, weights, depth=depth))
    elif FUSED in names and CONVEX not in names and not weights:
        made[FUSED] = Remembered(hybrid(scorer, depth))
    else:
        alone = next((name for name in names if name != FUSED), FUSED)
        raise ConfigError(f"ways: {alone} fuses single ways, and none is named; add some of {', '.join(SINGLE)}.")
    if RANKS & set(names):
        made |= _ranked(made[CONVEX if CONVEX in names else FUSED], ranker or scorer, by, seen, weight)
    return {name: made[name] for name in names}


def _ranked(fused: Candidates, ranker: Scorer, by: str, seen: int, weight: float) -> Mapping[str, Candidates]:
    ranked = Reranked(fused, ranker, by, seen)
    return {RANKED: ranked, BLENDED: ranked.weighed(weight)}
