"""Logs to batches: sources, the store, splits, sampling, collation."""

from funneltune.data.asked import Asked, AskedRows
from funneltune.data.baselines import bm25, boosted_trees, popularity, smoothed_rates
from funneltune.data.collate import Catalogue, Collator, Specials
from funneltune.data.datamodule import LogDataModule
from funneltune.data.describe import describe, validate
from funneltune.data.drift import Drift, drift
from funneltune.data.features import FeatureColumns
from funneltune.data.folders import built_folder
from funneltune.data.language import Pretraining, TextReader
from funneltune.data.lexical import LexicalIndex
from funneltune.data.loaders import ResumableLoader
from funneltune.data.private_module import PrivateData
from funneltune.data.row_sampling import RowSampling
from funneltune.data.sampling import RequestPlan
from funneltune.data.sources import AliCCP, Correlated, Judged, Simulated, Source, Table
from funneltune.data.sources.lateness import MOMENT, moments
from funneltune.data.splits import Split
from funneltune.data.store import LogStore
from funneltune.data.text_module import TextDataModule
from funneltune.data.write import prepare

__all__ = [
    "MOMENT",
    "AliCCP",
    "Asked",
    "AskedRows",
    "Catalogue",
    "Collator",
    "Correlated",
    "Drift",
    "FeatureColumns",
    "Judged",
    "LexicalIndex",
    "LogDataModule",
    "LogStore",
    "Pretraining",
    "PrivateData",
    "RequestPlan",
    "ResumableLoader",
    "RowSampling",
    "Simulated",
    "Source",
    "Specials",
    "Split",
    "Table",
    "TextDataModule",
    "TextReader",
    "bm25",
    "boosted_trees",
    "built_folder",
    "describe",
    "drift",
    "moments",
    "popularity",
    "prepare",
    "smoothed_rates",
    "validate",
]
