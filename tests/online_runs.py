"""The words that train one small run on a log of the marketplace, for policies that go on learning."""

SMALL = [
    "backbone=tiny",
    "tuning=lora",
    "head=esmm",
    "objective=entire_space_bce",
    "data.source.impressions=1500",
    "data.source.items=150",
    "data.source.queries=30",
    "data.source.shoppers=60",
    "data.source.page=5",
    "data.source.ctr=0.3",
    "data.source.cvr=0.4",
    "data.source.taste_weight=6",
    "trainer.precision=32-true",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]
