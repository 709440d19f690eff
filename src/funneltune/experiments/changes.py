"""What has changed since a study's finished runs were made: the code, the log; and who else uses the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig

from funneltune.experiments.plan import Cell
from funneltune.experiments.state import StudyState
from funneltune.records import as_json


def changes(made: Sequence[tuple[Cell, DictConfig]], state: StudyState) -> Iterator[str]:
    """One line for the code, and one for each log, that finished runs have seen otherwise than it is now."""
    from funneltune.runs.identity import as_plain, git_commit

    commit = git_commit()
    code: dict[str, int] = {}
    logs: dict[tuple[str, str], int] = {}
    now: dict[str, str] = {}
    for cell, cfg in made:
        record = state.record_of(cell)
        if record is None or record.status != "finished":
            continue
        if commit and record.git_commit and record.git_commit != commit:
            code[record.git_commit] = code.get(record.git_commit, 0) + 1
        told = str(as_json({key: as_plain(cfg)["data"][key] for key in ("source", "tasks")}))
        if told not in now:
            now[told] = _fingerprint(cfg)
        then = str(record.data.get("fingerprint", now[told]))
        if then != now[told]:
            logs[then, now[told]] = logs.get((then, now[told]), 0) + 1
    for then, count in code.items():
        yield (
            f"the code has changed: {count} finished runs were made by commit {_short(then)}, this is "
            f"{_short(str(commit))}; delete their folders to run them again"
        )
    for (then, is_now), count in logs.items():
        yield (
            f"the log has changed: {count} finished runs read {then[:8]}, it is {is_now[:8]} now; nothing is claimed "
            "between runs on different logs, so restore it, or delete their folders to run them again"
        )


def _fingerprint(cfg: DictConfig) -> str:
    """Of the log as it lies there now."""
    from funneltune.data.store import stores
    from funneltune.funnel import TaskFunnel
    from funneltune.runs.assemble import source_of
    from funneltune.runs.identity import as_plain

    funnel = TaskFunnel.from_config(as_plain(cfg)["data"]["tasks"])
    return stores(source_of(cfg.data).describe(), funnel.logged)


def _short(commit: str) -> str:
    sha, plus, rest = commit.partition("+")
    return f"{sha[:8]}{plus}{rest}"


def busy() -> Iterator[str]:
    """One line where others keep the cores of this machine busy: two torch processes on the same cores slow one another
    manifold, and step times tell nothing.
    """
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    if load > 0.5 * cores:
        yield f"the machine is busy (load {load:.1f} on {cores} cores): step times will not be comparable"
