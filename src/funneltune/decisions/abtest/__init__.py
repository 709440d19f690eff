"""Simulated experiments between two rankings on the marketplace: shoppers split into arms, and interleaved pages."""

from funneltune.decisions.abtest.arms import METRICS, RIVALS, Arm, Bench, Pages
from funneltune.decisions.abtest.mixed import Mixed, interleave
from funneltune.decisions.abtest.study import Settings, abtest
from funneltune.decisions.abtest.trials import Looks, Pools, Trials, experiment, share_right, tried

__all__ = [
    "METRICS",
    "RIVALS",
    "Arm",
    "Bench",
    "Looks",
    "Mixed",
    "Pages",
    "Pools",
    "Settings",
    "Trials",
    "abtest",
    "experiment",
    "interleave",
    "share_right",
    "tried",
]
