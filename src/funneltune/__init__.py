"""Fine-tune pretrained language models to predict clicks and purchases, and compare the ways of doing it.

The names below are the command line's verbs as functions; `docs/python.md` shows them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funneltune.api import (
        Records,
        Run,
        abtest,
        ads,
        assist,
        compose,
        demand,
        describe,
        drift,
        embed,
        evaluate,
        explain,
        export,
        fairness,
        need,
        offpolicy,
        online,
        personas,
        predict,
        pretrain,
        price,
        rank,
        read_records,
        report,
        reproduce,
        search,
        sentiment,
        stock,
        study,
        train,
        transfer,
        uplift,
        validate,
    )
    from funneltune.errors import FunnelError

__all__ = [
    "FunnelError",
    "Records",
    "Run",
    "abtest",
    "ads",
    "assist",
    "compose",
    "demand",
    "describe",
    "drift",
    "embed",
    "evaluate",
    "explain",
    "export",
    "fairness",
    "need",
    "offpolicy",
    "online",
    "personas",
    "predict",
    "pretrain",
    "price",
    "rank",
    "sentiment",
    "read_records",
    "report",
    "reproduce",
    "search",
    "stock",
    "study",
    "train",
    "transfer",
    "uplift",
    "validate",
]


def __getattr__(name: str) -> Any:
    """A public name, looked up when it is first asked for: `import funneltune` alone brings nothing with it."""
    if name in __all__:
        return getattr(import_module("funneltune.errors" if name == "FunnelError" else "funneltune.api"), name)
    raise AttributeError(f"module 'funneltune' has no attribute {name!r}; public are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
