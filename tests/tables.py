"""A small log as a table, and its column map."""

import pandas as pd

GOOD = pd.DataFrame(
    {
        "session": ["s1", "s1", "s2", "s2", "s2"],
        "shopper": ["u1", "u1", "u2", "u2", "u2"],
        "q": ["red couch", "red couch", "lamp", "lamp", "lamp"],
        "sku": ["a", "b", "c", "a", "d"],
        "name": ["Sofa", "Chair", "Lamp", "Sofa", "Shade"],
        "rank": [0, 1, 0, 1, 2],
        "at": ["2025-01-01T10:00:00", "2025-01-01T10:00:00", "2025-01-02", "2025-01-02", "2025-01-02"],
        "price": [10.5, 20, 5, 10.5, 2],
        "colour": ["red", "blue", "red", "red", "blue"],
        "clicked": [1, 0, 1, 1, 0],
        "bought": [1, 0, 0, 1, 0],
    }
)
ROLES = {
    "request": "session",
    "user": "shopper",
    "query_text": {"query": "q"},
    "item": "sku",
    "item_text": {"title": "name"},
    "position": "rank",
    "time": "at",
    "price": "price",
    "categorical": ["colour"],
    "labels": {"click": "clicked", "purchase": {"column": "bought"}},
}
