"""A trained run in the forms that others read: merged backbones, safetensors, ONNX, int8."""

from funneltune.decisions.export.exported import Exported
from funneltune.decisions.export.exporting import KINDS, REPEATS, export
from funneltune.decisions.export.whole import read_whole

__all__ = ["KINDS", "REPEATS", "Exported", "export", "read_whole"]
