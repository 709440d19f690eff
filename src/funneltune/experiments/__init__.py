"""Studies: a grid of runs, kept in one folder, resumed by a second call."""

from funneltune.experiments.cell import CellTask, as_command, needs_own_process
from funneltune.experiments.faults import check, user_fault
from funneltune.experiments.plan import WITHOUT, Cell, Study, override_text
from funneltune.experiments.state import StudyState
from funneltune.experiments.sweep import plan, split_sweeps, sweep

__all__ = [
    "WITHOUT",
    "Cell",
    "CellTask",
    "Study",
    "StudyState",
    "as_command",
    "check",
    "needs_own_process",
    "override_text",
    "plan",
    "split_sweeps",
    "sweep",
    "user_fault",
]
