"""Rankings as requests name and change them, each ready to be asked again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from funneltune.decisions import Assortment, Ranking, Recommender
from funneltune.decisions.candidates import Candidates
from funneltune.decisions.order import REVENUE
from funneltune.serving.guard import Refused
from funneltune.serving.limits import ARRANGED
from funneltune.serving.strict import shown
from funneltune.serving.wire import RankRequest

ALL = "all"
TOP = 20
"""Places of a list where nobody says how many."""
KEPT = 32
"""Rankings that stand ready; the one that was asked for longest ago makes room."""
WORDS = ("candidates", "by", "depth", "top")
PARTS = ("diversity", "rules", "exposure")


class Rankings:
    """What orders the items of a run.

    Args:
        scorer: `decisions.Scorer`, or what answers as it does.
        calibrations: Name -> the scorer in another calibration.
        ways: Name -> a way of finding candidates.
        default: How candidates are found where neither a request nor its ranking says.
        named: Name -> settings, as a file of configs/ranking has them.
    """

    def __init__(
        self,
        scorer: Any,
        *,
        calibrations: Mapping[str, Any],
        ways: Mapping[str, Candidates],
        default: str,
        named: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.scorers = {"": scorer, **calibrations}
        self.ways, self.default, self.named = dict(ways), default, dict(named)
        self.items = Assortment(scorer.catalogue)
        price = self.items.price
        self.priced = price is not None and bool(np.isfinite(price).all())
        self._ready: OrderedDict[str, Recommender] = OrderedDict()

    @property
    def candidates(self) -> list[str]:
        """Ways of finding candidates, the default first."""
        return [self.default, *(name for name in (ALL, *self.ways) if name != self.default)]

    @property
    def by(self) -> list[str]:
        """Numbers that an order may be by."""
        return [*self.scorers[""].rates, *([REVENUE] if self.priced else [])]

    def of(self, wanted: RankRequest) -> Recommender:
        """The ranking that a request asks for.

        Raises:
            Refused: if it names a ranking, a way or a calibration that is not served, or wants too long a list.
            ConfigError: if a setting is wrong, or names nothing of the items.
        """
        asked = {*PARTS, *WORDS, "ranking", "calibration"}
        key = wanted.model_dump_json(include=asked, exclude_unset=True)
        found = self._ready.get(key)
        if found is None:
            found = self._ready[key] = self._made(wanted)
            if len(self._ready) > KEPT:
                self._ready.popitem(last=False)
        self._ready.move_to_end(key)
        return found

    def drop(self, name: str) -> None:
        """Serve a named ranking no longer."""
        del self.named[name]
        self._ready.clear()

    def _made(self, wanted: RankRequest) -> Recommender:
        if wanted.ranking:
            self._one_of("ranking", wanted.ranking, list(self.named))
        scorer = self.scorers[self._one_of("calibration", wanted.calibration, list(self.scorers))]
        named = self.named.get(wanted.ranking, {})
        ranking = Ranking.changed({"candidates": self.default, "top": TOP, **named}, _changes(wanted))
        way = self._one_of("candidates", ranking.candidates, [ALL, *self.ways])
        if ranking.top > ARRANGED and not ranking.is_plain:
            raise Refused(
                422, f"top={ranking.top} must be {ARRANGED} or less where rules, diversity or exposure fill the places."
            )
        for column in [] if ranking.diversity is None else ranking.diversity.columns:
            self.items.codes(column, "diversity.by")  # a column that is none is told now
        return Recommender(scorer, ranking, finder=self.ways.get(way), items=self.items)

    @staticmethod
    def _one_of(field: str, value: str, known: Sequence[str]) -> str:
        if value not in known:
            there = ", ".join(one for one in known if one)
            raise Refused(
                422, f"{field}={shown(value)} must be one of {there}." if there else f"{field}: none is served."
            )
        return value


def _changes(wanted: RankRequest) -> dict[str, Any]:
    """What a request says of its ranking; an empty word or null says nothing, a null part takes the ranking's away."""
    told = {name: getattr(wanted, name) for name in WORDS if getattr(wanted, name)}
    for name in PARTS:
        if name in wanted.model_fields_set:
            part = getattr(wanted, name)
            told[name] = None if part is None else part.settings()
    return told
