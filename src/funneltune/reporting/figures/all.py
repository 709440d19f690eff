"""A report's figures in the order in which they are read."""

from __future__ import annotations

from funneltune.reporting.figures.along_axis import along_axis
from funneltune.reporting.figures.drawing import Group
from funneltune.reporting.figures.over_time import gradient_curves, learning_curves
from funneltune.reporting.figures.quality_cost import quality_against_cost
from funneltune.reporting.figures.rank_maps import rank_maps
from funneltune.reporting.figures.reliability import reliability
from funneltune.reporting.figures.slices import slices
from funneltune.reporting.figures.spread import differences, seeds
from funneltune.reporting.findings import Findings

PARTS = (
    ("Differences", differences, "What a verdict rests on: each pair on the same seeds and the same test rows."),
    (
        "Quality against cost",
        quality_against_cost,
        "Up and to the left is better; the step line joins what nothing beats in both.",
    ),
    ("Along an axis", along_axis, "Where an axis of the study has numbers."),
    ("Run by run", seeds, ""),
    ("Learning curves", learning_curves, ""),
    ("Calibration", reliability, "Scaling is fitted on validation rows alone and saved with each run."),
    ("Slices", slices, ""),
    ("Ranks", rank_maps, ""),
    (
        "Gradients of the tasks",
        gradient_curves,
        "Where the cosine is negative, a step for one task is a step against the other.",
    ),
)


def groups(findings: Findings) -> list[Group]:
    """Every figure that the records hold the numbers of."""
    made = [Group(title, tuple(draw(findings)), lead) for title, draw, lead in PARTS]
    return [group for group in made if group.drawings]
