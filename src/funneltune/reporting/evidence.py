"""Committed evidence: a study's records and statistics without weights, and without the machine they were made on."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from funneltune.errors import RunError
from funneltune.metrics import StoredStatistics, write_statistics
from funneltune.records import STUDY_NAME, StoredRun, as_json, read_records, write_json
from funneltune.reporting.comparisons import fold_of, named_metrics
from funneltune.reporting.history import keep_history
from funneltune.reporting.report import write_report

ABSOLUTE_PATH = re.compile(r"(?<![\w./:~-])(?:~|/(?=[\w.~-]))[\w.@+~=%-]*(?:/[\w.@+~=%-]+)+/?")
"""A path from the root or from home, of at least two parts; `ctr/auc`, `a / b` and URLs are none."""
ABOUT_THE_MACHINE = frozenset({"host", "hostname", "node", "user", "username"})


def collect(study_dir: Path | str, target: Path | str) -> Path:
    """Copy what a report needs of a study (or of one run) to `target`, then write its table there.

    The layout is study.json, config.yaml, records/<cell>__seed=<n>.{json,npz} (seed=<n>,fold=<k> where there are
    folds; .parquet with the history of ranks, gradients, losses and what the study is about), table.md. Paths below
    the study are made relative, other absolute paths keep their last part only, and fields that name a host or a user
    are dropped.

    Raises:
        RunError: `study_dir` holds no finished run or two of one cell, seed and fold, or is the target itself.
    """
    source, goal = Path(study_dir), Path(target)
    if source.resolve() == goal.resolve():
        raise RunError(f"target={target} is the study itself; name another folder.")
    records = read_records(source)
    finished = [run for run in records.runs if run.record.status == "finished"]
    if not finished:
        raise RunError(f"{source} holds no finished run; evidence is made of finished runs.")
    names = {run: _stem(run) for run in finished}
    if len(set(names.values())) < len(names):
        raise RunError(f"{source} holds two runs of one cell, seed and fold; collect one study at a time.")
    roots = (str(records.path.resolve()), str(records.path))
    folder = goal / "records"
    for old in [*folder.glob("*.json"), *folder.glob("*.npz"), *folder.glob("*.parquet")]:
        if old.stem not in names.values():
            old.unlink()  # of an earlier collection: it would enter the table as one more cell
    compared = named_metrics(records, whole=True)
    for run, stem in names.items():
        content = run.record.to_json() | {"cell": run.cell, "run_dir": _inside(run.path.parent, records.path)}
        write_json(folder / f"{stem}.json", without_machine(content, roots))
        if run.statistics:
            _keep_statistics(run.statistics, folder / f"{stem}.npz", compared)
        keep_history(run, folder / f"{stem}.parquet", named_metrics(records))
    if records.study is not None:
        write_json(goal / STUDY_NAME, without_machine(_study(records.study, source, names), roots))
    for name in ("study.yaml", "config.yaml"):
        if (records.path / name).is_file():
            text = (records.path / name).read_text(encoding="utf-8")
            (goal / "config.yaml").write_text(without_machine(text, roots), encoding="utf-8")
            break
    write_report(goal)
    return goal


def without_machine(value: Any, roots: tuple[str, ...] = ()) -> Any:
    """The same content without absolute paths, host names and user names; `roots` become `.`."""
    if isinstance(value, Mapping):
        return {k: without_machine(v, roots) for k, v in value.items() if str(k).lower() not in ABOUT_THE_MACHINE}
    if isinstance(value, (list, tuple)):
        return [without_machine(item, roots) for item in value]
    if not isinstance(value, str):
        return as_json(value)
    value = value.replace("file://", "")
    for root in sorted(roots, key=len, reverse=True):
        if root.startswith("/"):
            value = re.sub(rf"{re.escape(root)}(?![\w-])", ".", value)
    value = ABSOLUTE_PATH.sub(lambda match: match.group().rstrip("/").rpartition("/")[2], value)
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "host", value) if len(host) > 3 else value


def _keep_statistics(source: Path, target: Path, metrics: Sequence[str]) -> None:
    """The statistics of the metrics that verdicts are about, of runs and baselines; all where a study names none."""
    stored = StoredStatistics(source)
    kept = [n for n in stored if ":" not in n or n.partition(":")[0].rpartition("|")[2] in metrics]
    write_statistics(target, {name: stored[name] for name in (kept if metrics else stored)})


def _stem(run: StoredRun) -> str:
    fold = fold_of(run)
    which = f"seed={run.record.seed}" + ("" if fold is None else f",fold={fold}")
    return re.sub(r"[^\w.=,@+-]", "_", f"{run.cell}__{which}")


def _inside(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def _study(study: dict[str, Any], source: Path, names: Mapping[StoredRun, str]) -> dict[str, Any]:
    """study.json with the records where the evidence has them; a run that did not finish keeps its line."""
    where = {run.path.resolve(): f"records/{stem}.json" for run, stem in names.items()}
    runs = []
    for run in study.get("runs", []):
        path = (source / str(run["record"])).resolve() if run.get("record") else None
        runs.append({**run, "record": where.get(path) if path else None})
    return {**study, "runs": runs}
