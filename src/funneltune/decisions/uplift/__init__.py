"""Who acts because of a treatment: a randomised log, learners of uplift, and whom it pays to treat."""

from funneltune.decisions.uplift.record import people_of, record_of, write
from funneltune.decisions.uplift.settings import Settings
from funneltune.decisions.uplift.study import Studied, study

__all__ = ["Settings", "Studied", "people_of", "record_of", "study", "write"]
