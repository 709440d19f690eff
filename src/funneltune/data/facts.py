"""What a log knows of its rows, for evaluations: identifiers, labels, truth, grades, slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.splits import Requests
from funneltune.data.store import LogStore

Integers = NDArray[np.int64]


def facts(store: LogStore, rows: Integers, slices: Sequence[str], train: Requests | None) -> dict[str, NDArray[Any]]:
    """Columns of some rows: identifiers, labels, oracle, grades, slices; `item_cold` where no row of the training
    requests shows the item (None: nothing is known of training).
    """
    known = [name for name in store.table("impressions").column_names if name.startswith("oracle_p_")]
    known += [name for name in ("time", "price", "grade", "propensity") if store.has(name)]
    found = {name: store.column(name)[rows] for name in ("request", "user", "query", "item", "position", *known)}
    found |= {name: store.column(name)[rows] for name in store.funnel.names}
    if train is not None:
        seen = np.zeros(store.table("items").num_rows, dtype=bool)
        for part in store.row_parts(train):
            seen[store.column("item")[part]] = True
        found["item_cold"] = (~seen[found["item"]]).astype(np.int8)
    categories = store.manifest["notes"].get("categories", {})
    for name in slices:
        values = store.column(name)[rows]
        found[name] = np.asarray(categories[name], dtype=object)[values] if name in categories else values
    return found
