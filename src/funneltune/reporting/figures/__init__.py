"""What a report draws: each figure from the records alone, with its numbers and its meaning in words."""

from funneltune.reporting.figures.all import groups
from funneltune.reporting.figures.along_axis import along_axis
from funneltune.reporting.figures.drawing import Drawing, Group
from funneltune.reporting.figures.over_time import gradient_curves, learning_curves
from funneltune.reporting.figures.quality_cost import quality_against_cost
from funneltune.reporting.figures.rank_maps import rank_maps
from funneltune.reporting.figures.reliability import reliability
from funneltune.reporting.figures.slices import slices
from funneltune.reporting.figures.spread import differences, seeds
from funneltune.reporting.figures.svg import FORMATS, overview, save, to_png, to_svg

__all__ = [
    "FORMATS",
    "Drawing",
    "Group",
    "along_axis",
    "differences",
    "gradient_curves",
    "groups",
    "learning_curves",
    "overview",
    "quality_against_cost",
    "rank_maps",
    "reliability",
    "save",
    "seeds",
    "slices",
    "to_png",
    "to_svg",
]
