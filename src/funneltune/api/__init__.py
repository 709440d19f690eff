"""funneltune from Python: the verbs as functions, and what they give back as tables."""

from funneltune.api.decided import abtest, embed, explain, export, offpolicy, online, rank
from funneltune.api.logs import describe, drift, validate
from funneltune.api.people import assist, need, personas, sentiment, uplift
from funneltune.api.results import Records, Run
from funneltune.api.shop import ads, demand, fairness, price, stock, transfer
from funneltune.api.verbs import (
    compose,
    evaluate,
    predict,
    pretrain,
    read_records,
    report,
    reproduce,
    search,
    study,
    train,
)

__all__ = [
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
