"""Transfer: a run's weights on another log of the same tasks, with none or a few of its requests."""

from funneltune.experiments.transfer.curve import Transferred, transfer
from funneltune.experiments.transfer.draw import draw_curve
from funneltune.experiments.transfer.record import record_of
from funneltune.experiments.transfer.settings import Settings, Start, starts_in
from funneltune.experiments.transfer.target import onto

__all__ = ["Settings", "Start", "Transferred", "draw_curve", "onto", "record_of", "starts_in", "transfer"]
