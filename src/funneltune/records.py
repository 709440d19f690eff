"""What a run leaves behind, readable without torch: `RunRecord` to and from JSON, and the folders that hold them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from funneltune.errors import RunError
from funneltune.files import write_text
from funneltune.funnel import TaskFunnel

SCHEMA_VERSION = 1
RECORD_NAME = "record.json"
STATISTICS_NAME = "statistics.npz"
HISTORY_NAME = "history.parquet"
STUDY_NAME = "study.json"
DECISION_NAME = "decision.json"
TRIALS_NAME = "trials"
"""Folder of runs that were made to choose a setting: no result of the study or search that they lie in."""

Status = Literal["running", "finished", "interrupted", "failed"]
NO_GUARANTEE = {"guarantee": "none"}
"""What a record says of privacy where nothing was promised."""


@dataclass
class RunRecord:
    """One run: what was trained, on what, how well, at what cost. JSON holds `null` where a number is undefined."""

    name: str
    status: str = "running"
    cell: str = ""
    """The study's cell that the run belongs to; empty for a run of its own."""
    run_dir: str = ""
    command: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    git_commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    funnel: dict[str, Any] = field(default_factory=dict)
    """`TaskFunnel.to_config()`."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """total, trainable_start, trainable_end, share."""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """validation and test, each a mapping of `{rate}/{metric}` to {"value", "protocol"}."""
    oracle: dict[str, Any] = field(default_factory=dict)
    """The oracle as predictor on the test rows, by the same keys: the ceiling. Empty where a log has no oracle."""
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=dict)
    """Rate -> what scalings, fitted on the validation rows, do to its probabilities; see `metrics.calibrate`."""
    cost: dict[str, Any] = field(default_factory=dict)
    """wall_seconds, step_milliseconds_median, rows_per_second, unique_tokens_per_second, peak_memory_bytes, ..."""
    rank_pattern: dict[str, Any] | None = None
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    """backbone and vision, where they are pretrained: folder, package or the hub's commit, and whether it is pinned."""
    error: str | None = None
    resumed: list[dict[str, Any]] = field(default_factory=list)
    """Each time that the run went on from a checkpoint: the step, the time, and what of the config was changed."""
    leaks: list[dict[str, Any]] = field(default_factory=list)
    """What the leakage guard found and the config let pass."""
    privacy: dict[str, Any] = field(default_factory=lambda: dict(NO_GUARANTEE))
    """guarantee; where there is one, epsilon, delta, unit, the mechanism's numbers, and what is not covered."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Where a finished run was measured anew: `at`, `git_commit`, and how far the metrics moved."""
    started: str | None = None
    finished: str | None = None

    def __post_init__(self) -> None:
        """Refuse a status that no reader knows."""
        if self.status not in get_args(Status):
            raise RunError(
                f"record: status={self.status!r} is unknown; it must be one of {', '.join(get_args(Status))}."
            )

    def value(self, key: str, split: str = "test") -> float | None:
        """The number behind a metric key, or None where it was not measured or is undefined."""
        return number(self.metrics.get(split, {}).get(key))

    def tasks(self) -> TaskFunnel:
        """The funnel that the run predicted."""
        return TaskFunnel.from_config(self.funnel)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the schema version first; NaN and infinities become null."""
        plain: dict[str, Any] = as_json(dataclasses.asdict(self))
        return {"schema_version": SCHEMA_VERSION, **plain}

    @classmethod
    def from_json(cls, content: Any, source: str = "record") -> RunRecord:
        """The inverse of `to_json`. Raises RunError on another schema version, a missing name or an unknown field."""
        if not isinstance(content, Mapping):
            raise RunError(f"{source}: holds {type(content).__name__}, not a mapping; it is not a run record.")
        check_version(content, source)
        known = {f.name for f in dataclasses.fields(cls)}
        given = {key: value for key, value in content.items() if key != "schema_version"}
        unknown = sorted(set(given) - known)
        if unknown:
            raise RunError(
                f"{source}: field {unknown[0]!r} is unknown in schema {SCHEMA_VERSION}; is this a run record?"
            )
        if "name" not in given:
            raise RunError(f"{source}: field 'name' is missing; a run record needs it.")
        check_kinds(cls, given, source)
        return cls(**given)

    def write(self, path: Path) -> Path:
        """Write whole or not at all: a reader never sees half a record."""
        return write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read a record file. Raises RunError where it is missing, broken or of another version."""
        lost = f"remove {path.parent} and train that run again" if path.name == RECORD_NAME else "leave it out"
        return cls.from_json(read_json(path, f"restore it from a copy, or {lost}"), str(path))


@dataclass(frozen=True)
class DecisionRecord:
    """What a decision made with a run came to: `decision.json` in its folder."""

    verb: str
    """Whose it is: rank, export, offpolicy, ..."""
    run: str
    """The run's folder; of a comparison, the runs' folders, joined by a comma."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was asked for."""
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> value, low and high (a 95% interval, where there is one) and protocol."""
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> columns, rows."""
    figures: list[str] = field(default_factory=list)
    """Pictures beside the record, by their file names."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know, in sentences."""
    git_commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Into a folder, whole or not at all."""
        return write_json(folder / DECISION_NAME, {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)})

    @classmethod
    def read(cls, path: Path) -> DecisionRecord:
        """Back from its file. Raises RunError where it is missing, broken, of another version or has other fields."""
        content = read_json(path, "make the decision again")
        if not isinstance(content, Mapping):
            raise RunError(f"{path}: holds {type(content).__name__}, not a mapping; is this a decision's record?")
        check_version(content, str(path))
        known = {f.name for f in dataclasses.fields(cls)}
        strange, missing = set(content) - known - {"schema_version"}, {"verb", "run"} - set(content)
        if odd := sorted(strange | missing):
            raise RunError(f"{path}: field {odd[0]!r} is unknown or missing; is this a decision's record?")
        check_kinds(cls, content, str(path))
        return cls(**{name: value for name, value in content.items() if name in known})


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A record and where it lies: run folders and evidence folders are read alike. Equal only to itself."""

    record: RunRecord
    path: Path
    cell: str
    statistics: Path | None
    """The file of compact per-request statistics, where there is one."""

    @property
    def history(self) -> Path | None:
        """The file of what was logged over time (of evidence: what a report reads), where there is one."""
        own = self.path.parent / HISTORY_NAME if self.path.name == RECORD_NAME else self.path.with_suffix(".parquet")
        return own if own.is_file() else None


@dataclass(frozen=True)
class RecordFolder:
    """Every record below a folder, and the study that they belong to, if any."""

    path: Path
    runs: tuple[StoredRun, ...]
    study: dict[str, Any] | None = None

    @property
    def cells(self) -> dict[str, tuple[StoredRun, ...]]:
        """Runs by cell, in the study's order where there is one, seeds ascending."""
        order = [str(run.get("cell", "")) for run in (self.study or {}).get("runs", [])]
        names = list(dict.fromkeys([*order, *(run.cell for run in self.runs)]))
        by_cell = {
            name: sorted((r for r in self.runs if r.cell == name), key=lambda r: r.record.seed) for name in names
        }
        return {name: tuple(runs) for name, runs in by_cell.items() if runs}


def number(entry: Any) -> float | None:
    """The finite number of a metric entry ({"value": ...} or a bare number), else None."""
    value = entry.get("value") if isinstance(entry, Mapping) else entry
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def as_json(value: Any) -> Any:
    """Plain JSON values: NumPy scalars and arrays, paths, tuples and sets become theirs; NaN and infinities null."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [as_json(item) for item in sorted(value, key=str)]
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def write_json(path: Path, content: Any) -> Path:
    """Write JSON whole or not at all. Raises RunError where it cannot be written."""
    return write_text(path, json.dumps(as_json(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str = "write it anew or leave it out") -> Any:
    """Parse a JSON file. Raises RunError, naming the file and the remedy, where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing; give a folder that a run or a study has written.") from None
    except (OSError, ValueError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise RunError(f"{path} cannot be read as JSON ({first_line}); {remedy}.") from None


def check_version(content: Mapping[str, Any], source: str) -> None:
    """Raises RunError unless the schema version is one that this release reads."""
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{source}: schema_version={version!r} is not the one that this release reads ({SCHEMA_VERSION}); "
            "use the release of funneltune that wrote it."
        )


def check_kinds(record: type, content: Mapping[str, Any], source: str) -> None:
    """Raises RunError where a field of a record holds another kind of value than its readers count on."""
    for name, hint in get_type_hints(record).items():
        kinds = [get_origin(one) or one for one in (get_args(hint) if isinstance(hint, UnionType) else (hint,))]
        if name in content and not isinstance(content[name], tuple(kinds)):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise RunError(
                f"{source}: field {name!r} holds {type(content[name]).__name__}, not {wanted}; restore it from a copy, "
                "or leave it out."
            )


def record_paths(folder: Path) -> list[Path]:
    """Record files below a folder: `**/record.json` of run folders and `**/records/*.json` of evidence; no trials."""
    if folder.is_file():
        return [folder]
    found = {*folder.rglob(RECORD_NAME), *folder.glob("records/*.json"), *folder.glob("**/records/*.json")}
    return sorted(path for path in found if TRIALS_NAME not in path.relative_to(folder).parts)


def read_records(folder: Path | str) -> RecordFolder:
    """Read every record below a folder (a study, evidence, a folder of runs, one run) and its study.json, if any.

    Raises RunError where the folder is missing or holds no record.
    """
    root = Path(folder)
    if not root.exists():
        raise RunError(f"{root} does not exist; give a folder that a run or a study has written.")
    paths = record_paths(root)
    if not paths:
        raise RunError(f"{root} holds no {RECORD_NAME} and no records/*.json; give a run, a study or its evidence.")
    study = read_study(root / STUDY_NAME) if (root / STUDY_NAME).is_file() else None
    found = [(path, RunRecord.read(path)) for path in paths]
    cells = _cells(root, found, study)
    return RecordFolder(
        path=root if root.is_dir() else root.parent,
        runs=tuple(StoredRun(record, path, cells[path], _statistics(path)) for path, record in found),
        study=study,
    )


def read_study(path: Path) -> dict[str, Any]:
    """Read a study.json. Raises RunError where it is broken or of another version."""
    remedy = "give the study's command again, which writes it anew from the records of its cells, or remove it"
    content = read_json(path, remedy)
    if not is_study(content):
        raise RunError(f"{path}: holds {type(content).__name__}, not a mapping with a list of runs; {remedy}.")
    if "schema_version" in content:
        check_version(content, str(path))
    return content  # type: ignore[no-any-return]


def is_study(content: Any) -> bool:
    """Whether a study.json's content is of the kinds that its readers count on."""
    lists = [content.get(name, []) for name in ("runs", "trials", "comparisons")] if isinstance(content, dict) else [0]
    return all(isinstance(one, list) and all(isinstance(entry, dict) for entry in one) for one in lists)


def _statistics(path: Path) -> Path | None:
    beside = path.parent / STATISTICS_NAME if path.name == RECORD_NAME else path.with_suffix(".npz")
    return beside if beside.is_file() else None


def _cells(root: Path, found: list[tuple[Path, RunRecord]], study: dict[str, Any] | None) -> dict[Path, str]:
    """The cell of each record: the study's word, the record's, its folder's (`cells/<cell>/seed=<n>`), or its name.

    Runs of one name whose configs differ in more than the seed are told apart by their folder.
    """
    listed = {
        (root / str(run["record"])).resolve(): str(run["cell"])
        for run in (study or {}).get("runs", [])
        if run.get("record") and run.get("cell")
    }
    cells: dict[Path, str] = {}
    own: dict[str, dict[str, list[Path]]] = {}
    for path, record in found:
        parts = path.parts
        cell = listed.get(path.resolve()) or record.cell
        if not cell and "cells" in parts[:-2]:
            cell = parts[len(parts) - 1 - parts[::-1].index("cells") + 1]
        if cell:
            cells[path] = cell
        else:
            same = {key: value for key, value in record.config.items() if key not in ("seed", "run_dir")}
            own.setdefault(record.name, {}).setdefault(json.dumps(as_json(same), sort_keys=True), []).append(path)
    for name, groups in own.items():
        for paths in groups.values():
            stem = paths[0].parent.name if paths[0].name == RECORD_NAME else paths[0].stem
            cells.update(dict.fromkeys(paths, name if len(groups) == 1 else f"{name}/{stem}"))
    return cells
