"""A finished run in the forms that others read, each held to what the run says."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from funneltune.backbones import Encoder
from funneltune.decisions.export.checking import (
    FLOAT_TOLERANCE,
    MOST_ROWS,
    Rows,
    TestRows,
    largest_difference,
)
from funneltune.decisions.export.exported import MANIFEST, Exported
from funneltune.decisions.export.graphs import outputs_of, quantise, require_packages, write_graphs, write_manifest
from funneltune.decisions.export.latency import COLUMNS, latencies
from funneltune.decisions.export.merged import ADAPTERS, merge, predicted_by_merged, refusal, write_merged
from funneltune.decisions.export.whole import read_whole, write_whole
from funneltune.errors import ConfigError, FailedRunError
from funneltune.files import read_parquet, require_new, whole_folder
from funneltune.metrics import METHODS, Scaling, scalings
from funneltune.records import RECORD_NAME, DecisionRecord, RunRecord
from funneltune.runs import Assembly, assemble
from funneltune.runs.identity import git_commit, versions
from funneltune.runs.load import finished_config
from funneltune.runs.weights import load_weights

KINDS = ("merged", "safetensors", "onnx", "int8")
FOLDERS = {"merged": "backbone", "safetensors": "model", "onnx": "onnx", "int8": "int8"}
"""Where each form lies in the output."""
INT8_TOLERANCE = 0.05
"""Of probabilities, absolute, on every checked row."""
REPEATS = 50
"""Timed calls of each engine."""


@dataclass
class Exporting:
    """One run on its way out.

    Args:
        run: Its folder.
        assembly: The run in float32 and evaluation mode.
        record: What it left.
        repeats: Timed calls; 0: none.
        rows: Test rows to be checked on; None: nothing is checked.
    """

    run: Path
    assembly: Assembly
    record: RunRecord
    repeats: int
    rows: TestRows | None
    wanted: Rows = field(default_factory=dict)
    merged: bool = False
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def scalings(self) -> dict[str, dict[str, Scaling]]:
        """Method -> rate -> what the run fitted."""
        found = {method: scalings(self.record.calibration, method) for method in METHODS}
        return {method: by_rate for method, by_rate in found.items() if by_rate}

    @cached_property
    def told(self) -> dict[str, Any]:
        """What a stranger needs to know of any form: the manifests hold it."""
        data = self.assembly.data
        return {
            "run": self.record.name,
            "config": self.record.config,
            "git_commit": git_commit(),
            "run_git_commit": self.record.git_commit,
            "versions": versions(),
            "funnel": data.funnel.to_config(),
            "outputs": outputs_of(self.assembly),
            "texts": dict(data.texts),
            "max_tokens": data.max_tokens,
            "calibration": {
                method: {rate: scaling.to_json() for rate, scaling in by_rate.items()}
                for method, by_rate in self.scalings.items()
            },
        }

    def measure(self) -> None:
        """What the run says of the checked rows, before anything is merged; and merged."""
        if self.rows is not None:
            self.wanted = self.rows.predicted(self.assembly.module)
            self._hold_to_record()
        self.merged = merge(self.assembly)

    def _hold_to_record(self) -> None:
        """A run in float32 on a CPU said the same when it was tested; another one said it in its own precision."""
        assert self.rows is not None
        path = self.run / "predictions.parquet"
        stored = self.rows.stored(_columns(path)) if path.is_file() else None
        if stored is None:
            self.notes.append("predictions.parquet does not hold the test rows: the exports are held to the run alone")
            return
        precision = str(self.record.cost.get("precision", "unknown"))
        same = precision == "32-true" and str(self.assembly.cfg.trainer.accelerator) == "cpu"
        told = f"the run in float32 against its predictions.parquet ({precision})"
        self.hold("run", stored, FLOAT_TOLERANCE if same else None, told)

    def hold(self, name: str, found: Rows, tolerance: float | None, told: str) -> None:
        """Note how far an export is from the run.

        Raises:
            FailedRunError: if that is too far.
        """
        assert self.rows is not None
        difference, n = largest_difference(found, self.wanted), len(self.rows.rows)
        self.numbers[f"{name}/largest_difference"] = {
            "value": difference,
            "low": None,
            "high": None,
            "protocol": {"rows": f"{n} test rows", "what": told, "tolerance": tolerance},
        }
        if tolerance is not None and not difference <= tolerance:
            raise FailedRunError(
                f"export: {name} differs from the run by {difference:.3g} on {n} test rows ({told}), more than "
                f"{tolerance:g}; nothing was written: choose other forms by to=."
            )

    def write(self, kind: str, folder: Path) -> None:
        """One form, held to the run."""
        {"merged": self._merged, "safetensors": self._whole, "onnx": self._onnx, "int8": self._int8}[kind](folder)

    def _merged(self, folder: Path) -> None:
        folders = write_merged(self.assembly, folder, lambda: loaded(self.run))
        if (folder / ADAPTERS).is_file():
            self.notes.append(
                f"tuning={self.assembly.module.tuning.name}: adapters have a nonlinearity inside and cannot be merged; "
                f"they lie beside the backbone as they are: tuning.start={FOLDERS['merged']}/{ADAPTERS}"
            )
        if self.rows is not None:
            found = predicted_by_merged(self.assembly, folders, self.rows)
            self.hold("merged", found, FLOAT_TOLERANCE, "the folder's backbone under the run's head")

    def _whole(self, folder: Path) -> None:
        write_whole(self.assembly, folder, self.told, merged=self.merged)
        if self.rows is not None:
            module = read_whole(folder, self.assembly.data).module
            self.hold("safetensors", self.rows.predicted(module), FLOAT_TOLERANCE, "the model built from the file")

    def _onnx(self, folder: Path) -> None:
        write_graphs(self.assembly, folder, self.scalings, self.told)
        if self.rows is not None:
            self.hold("onnx", self.rows.by(Exported(folder)), FLOAT_TOLERANCE, "float32 graphs, from the log's texts")

    def _int8(self, folder: Path) -> None:
        source = folder.parent / FOLDERS["onnx"]
        alone = not source.is_dir()
        if alone:
            write_graphs(self.assembly, source, self.scalings, self.told)
        quantise(source, folder)
        if alone:
            shutil.rmtree(source)
        if self.rows is None:
            return
        found = self.rows.by(Exported(folder))
        self.hold("int8", found, INT8_TOLERANCE, "int8 matrices in the encoder, from the log's texts")
        quality = self.rows.quality(found, self.wanted)
        rows = [[rate, *(told[k] for k in ("rank_correlation", "auc", "auc_of_run"))] for rate, told in quality.items()]
        self.tables["int8"] = {"columns": ["rate", "rank correlation", "AUC int8", "AUC of the run"], "rows": rows}
        protocol = {"rows": f"{len(self.rows.rows)} test rows", "what": "Spearman's, with the run"}
        for rate, told in quality.items():
            value = {"value": told["rank_correlation"], "low": None, "high": None, "protocol": protocol}
            self.numbers[f"int8/rank_correlation/{rate}"] = value
        measured = {"tolerance": INT8_TOLERANCE, "held_to_the_run": quality}
        measured["largest_difference"] = self.numbers["int8/largest_difference"]["value"]
        write_manifest(folder, {**json.loads((folder / MANIFEST).read_text()), **measured})


def export(
    run: Path, output: Path | None = None, to: str = "all", *, check: bool = True, repeats: int = REPEATS
) -> DecisionRecord:
    """Write a finished run in other forms, hold each to the run's own predictions, and time the graphs.

    Args:
        run: Its folder.
        output: The folder to make; None: `export` in the run's.
        to: `merged`, `safetensors`, `onnx`, `int8`, or `all` that this run has.
        check: Compare on the run's test rows: 1e-5 for float32, `INT8_TOLERANCE` for int8.
        repeats: Timed calls of each engine; 0, or without `check`: none.

    Raises:
        ConfigError: if `to` is unknown or not for this run, or a package is missing.
        RunError: if it is no finished run, or the output exists.
        FailedRunError: if an export says something else than the run; nothing is left then.
    """
    if to not in (*KINDS, "all"):
        raise ConfigError(f"to={to} must be one of {', '.join((*KINDS, 'all'))}.")
    output = run / "export" if output is None else output
    require_new(output)
    if to in ("all", "onnx", "int8"):
        require_packages("onnx", "onnxruntime", "onnxscript")
    assembly = loaded(run)
    assembly.data.prepare_data()
    assembly.data.setup()
    at_hand = Exporting(
        run=run,
        assembly=assembly,
        record=RunRecord.read(run / RECORD_NAME),
        repeats=repeats,
        rows=TestRows.of(assembly, MOST_ROWS) if check else None,
    )
    kinds = list(_chosen(to, at_hand))
    at_hand.measure()
    if output.is_dir():  # empty: the whole one takes its place
        output.rmdir()
    with whole_folder(output) as part:
        for kind in kinds:
            at_hand.write(kind, part / FOLDERS[kind])
        graphs = {f"onnx {p}": part / FOLDERS[k] for k, p in (("onnx", "float32"), ("int8", "int8")) if k in kinds}
        if at_hand.rows is not None and repeats and graphs:
            at_hand.tables["latency"] = {"columns": COLUMNS, "rows": latencies(at_hand.rows, graphs, repeats)}
            busy, cores = os.getloadavg()[0], os.cpu_count()
            at_hand.notes.append(f"timed with a load average of {busy:.1f} on {cores} cores")
        record = _record(at_hand, kinds, to, check)
        record.write(part)
        write_manifest(
            part,
            {
                **at_hand.told,
                "forms": {kind: FOLDERS[kind] for kind in kinds},
                "tolerances": {"float32": FLOAT_TOLERANCE, "int8": INT8_TOLERANCE},
                "numbers": at_hand.numbers,
                "notes": at_hand.notes,
            },
        )
    return record


def loaded(run: Path) -> Assembly:
    """The run in float32, whatever it was trained in, ready to be scored with."""
    cfg = finished_config(run)
    cfg.trainer.precision = "32-true"
    if cfg.backbone.get("compile"):
        cfg.backbone.compile = False  # what is compiled cannot be traced
    assembly = assemble(cfg)
    load_weights(assembly.module, run / "weights")
    assembly.module.eval()  # gradients stay as they are: by them a method knows what it trained
    return assembly


def _chosen(to: str, at_hand: Exporting) -> Iterator[str]:
    """The forms asked for; of `all`, those that this run has."""
    encoder = at_hand.assembly.module.encoder
    graphs = None
    if isinstance(encoder, Encoder) and encoder.sets is not None:
        sharing = at_hand.assembly.module.tuning.sharing
        graphs = f"tuning.sharing={sharing}: a text has a vector for each task, and the graphs have one encoder"
    int8 = graphs if isinstance(encoder, Encoder) else "backbone=none: there are no matrices of an encoder"
    refused = {"merged": refusal(at_hand.assembly), "safetensors": None, "onnx": graphs, "int8": int8}
    for kind in KINDS if to == "all" else (to,):
        why = refused[kind]
        if why is None:
            yield kind
        elif to == "all":
            at_hand.notes.append(f"to={kind} was left out: {why}")
        else:
            raise ConfigError(f"to={kind}: {why}; choose another form, or to=all for those that this run has.")


def _record(at_hand: Exporting, kinds: list[str], to: str, check: bool) -> DecisionRecord:
    return DecisionRecord(
        verb="export",
        run=str(at_hand.run),
        settings={"to": to, "forms": kinds, "check": check, "repeats": at_hand.repeats},
        numbers=at_hand.numbers,
        tables=at_hand.tables,
        notes=at_hand.notes,
        git_commit=git_commit(),
        versions=versions(),
    )


def _columns(path: Path) -> dict[str, Any]:
    frame = read_parquet(path).to_pandas()
    return {name: frame[name].to_numpy() for name in frame.columns}
