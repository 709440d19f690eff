"""What a log knows of its rows, for evaluations: identifiers, labels, truth, grades."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.store import LogStore

Integers = NDArray[np.int64]


def facts(store: LogStore, rows: Integers) -> dict[str, NDArray[Any]]:
    """Columns of some rows: identifiers, labels, oracle, grades."""
    known = [name for name in store.table("impressions").column_names if name.startswith("oracle_p_")]
    known += [name for name in ("time", "price", "grade", "propensity") if store.has(name)]
    found = {name: store.column(name)[rows] for name in ("request", "user", "query", "item", "position", *known)}
    return found | {name: store.column(name)[rows] for name in store.funnel.names}
