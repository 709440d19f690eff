"""Real judgments of query-item pairs as a *simulated* log: real texts, known probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from funneltune.data.sources.table import Table
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.marketplace import JudgedWorld

LABELS = ("click", "purchase")


class Judged:
    """A click-to-purchase log over real queries and items, simulated from their judged relevance.

    Everything but the texts and the grades is invented, so results on such a log say nothing about real shoppers; they
    say how methods compare where the words are real and the truth is known. The `grade` column keeps the judgment.

    Args:
        path, item, item_text, query_text, grade, encoding: As `Table` has them; `grade` is needed.
        impressions: Rows of the log, rounded up to whole pages.
        world: Arguments of `marketplace.JudgedWorld`: seed, shoppers, page, days, ctr, cvr, position_decay,
            selection_bias, zipf.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        item: str,
        item_text: Mapping[str, str],
        query_text: Mapping[str, str],
        grade: str,
        encoding: str = "utf-8",
        impressions: int = 50_000,
        **world: Any,
    ) -> None:
        self.table = Table(
            path,
            item=item,
            item_text=item_text,
            query_text=query_text,
            grade=grade,
            encoding=encoding,
            labels_required=False,
        )
        unknown = sorted(set(world) - set(JudgedWorld.__dataclass_fields__) | {"query", "item", "grade"} & set(world))
        if unknown:
            raise ConfigError(f"data.source.{unknown[0]} is no argument of Judged; see marketplace.JudgedWorld.")
        self.impressions, self.world = impressions, world

    def describe(self) -> dict[str, Any]:
        """The judgments and the knobs: they decide every value of the log."""
        return {
            "kind": "simulated from judgments",
            "judgments": self.table.describe(),
            "impressions": self.impressions,
            **self.world,
        }

    def unlabelled(self, path: Path) -> Table:
        """A file with the judgments' column names; grades are not needed."""
        roles = self.table.roles
        return Table(
            path,
            item=roles.item,
            item_text=roles.item_text,
            query_text=roles.query_text,
            encoding=self.table.files.encoding,
            labels_required=False,
        )

    def write(self, writer: StoreWriter) -> None:
        """Read the judgments, then stream the log that they give.

        Raises:
            DataError: if the judgments are faulty, or a task is no label of the simulation.
        """
        for task in writer.tasks.names:
            if task not in LABELS:
                raise DataError(f"data.tasks.{task}: the simulation has no such label; it has {', '.join(LABELS)}.")
        seen = self.table.collect(TaskFunnel.from_config({"judged": {}}))
        self.table.refuse_faults(seen)
        rows = seen.columns.whole()
        world = JudgedWorld(query=rows["query"], item=rows["item"], grade=rows["grade"], **self.world)
        writer.entities("queries", seen.entity("query"))
        writer.entities("items", seen.entity("item"))
        writer.entities("users", {"key": [f"shopper-{i:06d}" for i in range(world.shoppers)]})
        writer.notes |= {"simulated from judgments": {"rows": len(rows["query"]), "file": self.table.files.path.name}}
        for chunk in world.simulate(self.impressions):
            writer.impressions({k: np.asarray(v) for k, v in chunk.items()})
