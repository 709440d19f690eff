"""funneltune from Python: the verbs as functions, and what they give back as tables."""

from funneltune.api.decided import abtest, embed, explain, export, offpolicy, online, rank
from funneltune.api.results import Records, Run
from funneltune.api.shop import ads, transfer
from funneltune.api.verbs import (
    compose,
    describe,
    evaluate,
    predict,
    pretrain,
    read_records,
    report,
    reproduce,
    study,
    train,
    validate,
)

__all__ = [
    "Records",
    "Run",
    "abtest",
    "ads",
    "compose",
    "describe",
    "embed",
    "evaluate",
    "explain",
    "export",
    "offpolicy",
    "online",
    "predict",
    "pretrain",
    "rank",
    "read_records",
    "report",
    "reproduce",
    "study",
    "train",
    "transfer",
    "validate",
]
