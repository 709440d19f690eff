"""One small run on six weeks of the marketplace, for demand and stock: trained once for all tests of a process."""

from small_market import train

WORDS = [
    "backbone=none",
    "tuning=frozen",
    "features=ids",
    "+data.leaks=ignore",
    "data.source.impressions=12000",
    "data.source.items=60",
    "data.source.days=42",
    "data.source.ctr=0.25",
    "data.source.cvr=0.3",
    "data.split.validation=0.15",
    "data.split.test=0.26",
]


RUNS = []


def shop(factory):
    """Its run folder; `factory` is pytest's `tmp_path_factory`."""
    if not RUNS:
        RUNS.append(train(factory.mktemp("stocking"), *WORDS))
    return RUNS[0]
