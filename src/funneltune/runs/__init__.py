"""Build a run from a config, train it, load one back from its folder."""

from funneltune.runs.assemble import Assembly, assemble
from funneltune.runs.check import check_config
from funneltune.runs.identity import config_hash
from funneltune.runs.load import evaluate, load, predict, scalings_of
from funneltune.runs.precision import chosen_precision
from funneltune.runs.pretrain import pretrain
from funneltune.runs.remeasure import remeasure
from funneltune.runs.starting import Carried, start_from, zero_shot
from funneltune.runs.train import train

__all__ = [
    "Assembly",
    "Carried",
    "assemble",
    "check_config",
    "chosen_precision",
    "config_hash",
    "evaluate",
    "load",
    "predict",
    "pretrain",
    "remeasure",
    "scalings_of",
    "start_from",
    "train",
    "zero_shot",
]
