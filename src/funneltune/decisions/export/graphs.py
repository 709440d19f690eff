"""A run as ONNX graphs, in float32 or with int8 matrices, in a folder that `Exported` reads by itself."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from funneltune.backbones import Encoder
from funneltune.data import Specials
from funneltune.decisions.export import exported
from funneltune.decisions.export.exported import ENCODER, MANIFEST, SCORER, TOKENIZER
from funneltune.decisions.export.plain import PaddedEncoder, PlainScorer
from funneltune.errors import ConfigError
from funneltune.files import sha256_of
from funneltune.metrics import RAW, Scaling
from funneltune.runs import Assembly
from funneltune.schema import FeatureNeeds

OPSET = 20
"""Of the ONNX standard: LayerNormalization and Gelu are single operators there."""
LARGEST_FILE = 2**31 - 2**24
"""Bytes of one protobuf; what is larger keeps its weights in files beside."""
QUANTISED = ("MatMul", "Gemm")
"""Embeddings are looked up, not multiplied: they stay as they are."""


def require_packages(*names: str) -> None:
    """Refuse to begin where a package of the extra is missing.

    Raises:
        ConfigError: with the command that installs it.
    """
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in names):
        raise ConfigError("export needs a package that is not installed: pip install 'funneltune[onnx]'.")


def write_graphs(
    assembly: Assembly, folder: Path, scalings: Mapping[str, Mapping[str, Scaling]], told: Mapping[str, Any]
) -> None:
    """The run's encoder and scorer, its tokenizer, the class that reads them, and what that needs to know.

    Traced by the TorchScript exporter: on these models as exact as the newer one at every shape (each export is checked
    on the run's rows), and ten times as quick.

    Args:
        assembly: The run, in evaluation mode and float32, its update merged where it can be.
        folder: To be filled.
        scalings: Method -> rate -> scaling.
        told: What else the manifest holds.
    """
    module, data = assembly.module, assembly.data
    folder.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, list[str]] = {"encoder": [], "scorer": []}
    kind = data.interaction
    if isinstance(module.encoder, Encoder):
        encoder = PaddedEncoder(module.encoder).eval()
        inputs["encoder"] = encoder.inputs
        two = torch.tensor([[1, 1, 1], [1, 1, 0]])
        trace(
            encoder, [two] * len(encoder.inputs), folder / ENCODER, encoder.inputs, ["vectors"], ["texts", "positions"]
        )
        data.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    scorer = PlainScorer(module, data.features, {method: dict(found) for method, found in scalings.items()}).eval()
    inputs["scorer"] = scorer.inputs
    outputs = [f"p_{method}" for method in (RAW, *scalings)]
    trace(scorer, _example(scorer, assembly), folder / SCORER, scorer.inputs, outputs, ["items"])
    shutil.copyfile(str(exported.__file__), folder / "exported.py")
    specials = Specials.of(data.tokenizer) if kind != "none" else Specials(None, None)
    write_manifest(
        folder,
        {
            **told,
            "kind": kind,
            "precision": "float32",
            "opset": OPSET,
            "columns": list(data.funnel.predicted),
            "scalings": list(scalings),
            "use": str((assembly.cfg.get("calibration") or {}).get("use", RAW)),
            "inputs": inputs,
            "width": module.encoder.width,
            "before": specials.before,
            "after": specials.after,
            "pairs": bool(data.texts.get("item")),
            "features": _features(data.features, data.vector_widths()),
        },
    )


def outputs_of(assembly: Assembly) -> dict[str, str]:
    """Rate -> column of the predictions; columns of tasks that are no rates by their own names."""
    funnel = assembly.data.funnel
    found: dict[str, str] = {}
    for task in funnel.tasks:
        if task.binary:
            found |= {str(task.rate): f"p_{task.conditional}"}
            found |= {str(task.joint_rate): f"p_{task.joint}"} if task.given else {}
        else:
            found |= {name: name for name in task.predicted}
    return found


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """What is in a folder, with the sha256 of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    sums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps({**content, "files": sums}, indent=1, ensure_ascii=False) + "\n")


def quantise(source: Path, folder: Path) -> None:
    """The folder with the encoder's matrices in int8, a scale for each output; activations are scaled call by call.

    Weights keep to seven bits: where a CPU has no VNNI, two products of eight bits overflow their sixteen.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shutil.copytree(source, folder)
    for path in folder.glob(f"{ENCODER}*"):
        path.unlink()
    size = sum(path.stat().st_size for path in source.iterdir())
    with _quiet():
        quantize_dynamic(
            source / ENCODER,
            folder / ENCODER,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=size > LARGEST_FILE,
        )
    content = json.loads((source / MANIFEST).read_text())
    write_manifest(folder, {**content, "precision": "int8"})


def trace(
    module: nn.Module,
    example: Sequence[Tensor],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Sequence[str],
) -> None:
    """Write a module as a graph whose first axes are free; `query` and the past keep their sizes."""
    fixed = ("query", "past", "past_there", "past_ids")
    free = {name: dict(enumerate(axes)) for name in inputs if name not in fixed}
    free |= {name: {0: axes[0]} for name in outputs}
    with _quiet(), torch.inference_mode(False), torch.no_grad():
        torch.onnx.export(
            module,
            tuple(example),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )


def _example(scorer: PlainScorer, assembly: Assembly) -> list[Tensor]:
    """Three candidates of zeros, for the tracer."""
    needs, width, n = assembly.data.features, assembly.module.encoder.width, 3
    wide = sum(assembly.data.vector_widths().values())
    shapes: dict[str, Tensor] = {
        "query": torch.zeros(1, width),
        "items": torch.zeros(n, width),
        "pairs": torch.zeros(n, width),
        "ids": torch.zeros(n, len(needs.ids), dtype=torch.long),
        "numbers": torch.zeros(n, len(needs.numbers)),
        "vectors": torch.zeros(n, wide),
        "past": torch.zeros(needs.history, width),
        "past_there": torch.ones(needs.history, dtype=torch.long),
        "past_ids": torch.zeros(needs.history, dtype=torch.long),
        "candidate": torch.zeros(n, dtype=torch.long),
    }
    return [shapes[name] for name in scorer.inputs]


def _features(needs: FeatureNeeds, widths: Mapping[str, int]) -> dict[str, Any]:
    return {
        "ids": list(needs.ids),
        "buckets": needs.buckets,
        "numbers": list(needs.numbers),
        "vectors": dict(widths),
        "history": needs.history,
        "history_ids": needs.history_ids,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' advice, none of which is for who exports a run."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxruntime", "root", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
