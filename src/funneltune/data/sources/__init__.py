"""Where logs come from."""

from funneltune.data.sources.ali_ccp import AliCCP
from funneltune.data.sources.correlated import Correlated
from funneltune.data.sources.judged import Judged
from funneltune.data.sources.protocol import Source
from funneltune.data.sources.simulated import Simulated
from funneltune.data.sources.table import Table

__all__ = ["AliCCP", "Correlated", "Judged", "Simulated", "Source", "Table"]
