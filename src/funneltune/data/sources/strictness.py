"""Labels that hold where the funnel says that they cannot: refused, dropped or kept as 0, edge by edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.data.sources.collected import FILE_ROW, Collected
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel

Word = Literal["refuse", "drop", "keep"]
WORDS = get_args(Word)


@dataclass(frozen=True)
class Strictness:
    """What to do with a label that holds where an edge of its task does not: one word, or one per task, or per edge."""

    default: Word = "refuse"
    of_edge: Mapping[tuple[str, str], Word] = field(default_factory=dict)
    """(task, edge) -> word; the edge "" stands for all of a task's."""

    @classmethod
    def parse(cls, node: Any) -> Strictness:
        """`drop`, `{purchase: keep}`, or `{purchase: {click: drop, cart: keep}}`; what is not named is refused."""
        if isinstance(node, str):
            return cls(_word(node, "data.source.strict"))
        if not isinstance(node, Mapping):
            raise ConfigError(
                f"data.source.strict={node!r} must be refuse, drop or keep, or a mapping of tasks to them."
            )
        found: dict[tuple[str, str], Word] = {}
        for task, value in node.items():
            edges = value if isinstance(value, Mapping) else {"": value}
            for edge, word in edges.items():
                where = f"data.source.strict.{task}" + (f".{edge}" if edge else "")
                found[str(task), str(edge)] = _word(word, where)
        return cls("refuse", found)

    def check(self, tasks: TaskFunnel) -> list[str]:
        """Faults: tasks and edges that the funnel does not have."""
        faults = []
        for task, edge in self.of_edge:
            if task not in tasks.names:
                faults.append(f"data.source.strict.{task} names no task; tasks are {', '.join(tasks.names)}")
            elif edge and edge not in tasks[task].given:
                given = ", ".join(tasks[task].given) or "none"
                faults.append(f"data.source.strict.{task}.{edge} names no edge of the task; its edges: {given}")
        return faults

    def word(self, task: str, edge: str) -> Word:
        """The word for one edge of a task."""
        return self.of_edge.get((task, edge), self.of_edge.get((task, ""), self.default))

    def settle(
        self, columns: dict[str, NDArray[Any]], seen: Collected, tasks: TaskFunnel, named: Mapping[str, str]
    ) -> NDArray[np.bool_]:
        """Apply the words to a log's labels. Returns the rows that stay; refusals join the faults of `seen`. `named`:
        task -> the column of its label.
        """
        kept = np.ones(seen.rows, dtype=bool)
        for task in tasks.binary:
            for edge in task.edges:
                stands = tasks.observed(columns, edge.name) & ((columns[edge.name] == 1) == edge.holds)
                astray = kept & (columns[task.name] == 1) & ~stands
                if not astray.any():
                    continue
                count, word = int(astray.sum()), self.word(task.name, str(edge))
                rows = np.asarray(columns[FILE_ROW][np.flatnonzero(astray)])
                if word == "refuse" and seen.quarantine is not None:
                    kept &= ~astray
                    rule = f"{task.name!r} must not hold without {edge}"
                    seen.quarantine.add(rows, named.get(task.name, ""), [f"{task.name}=1"] * count, rule)
                    continue
                if word == "refuse":
                    first = seen.spelt(int(rows[0]))
                    seen.faults.append(
                        f"{task.name!r} holds without {edge} in {count} row(s), first {first}; mend them, or write "
                        f"strict: {{{task.name}: drop}} (leaves the rows out) or keep (as 0) under source"
                    )
                elif word == "drop":
                    kept &= ~astray
                else:
                    columns[task.name] = np.where(astray, 0, columns[task.name]).astype(np.int8)
                seen.notes[f"{task.name} without {edge}"] = {"rows": count, "strict": word}
        return kept


def _word(word: Any, where: str) -> Word:
    if word not in WORDS:
        raise ConfigError(f"{where}={word!r} must be refuse, drop or keep.")
    return word  # type: ignore[no-any-return]
