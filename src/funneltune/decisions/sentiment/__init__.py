"""What reviews say: ratings and recommendation from the words, by review, item and department."""

from funneltune.decisions.sentiment.record import frame_of, record_of, write
from funneltune.decisions.sentiment.reviews import Reader, Said
from funneltune.decisions.sentiment.settings import Settings
from funneltune.decisions.sentiment.study import Studied, study
from funneltune.decisions.sentiment.words import Push, left_out

__all__ = ["Push", "Reader", "Said", "Settings", "Studied", "frame_of", "left_out", "record_of", "study", "write"]
