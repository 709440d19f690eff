"""Config faults found before anything is built, all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from funneltune.data.pseudonyms import Pseudonyms
from funneltune.errors import ConfigError
from funneltune.metrics import METHODS, RAW
from funneltune.runs.identity import as_plain
from funneltune.runs.roles import argument_faults, mappings_alone, role_faults
from funneltune.runs.targets import target_faults
from funneltune.secrets import secret_faults

COUNTED = {
    "skip_nonfinite": "of steps that may be left out; 0: none",
    "gradients_every": "of optimizer steps; 0: nothing is measured",
}
"""Numbers of steps of the top level."""
BASELINES = ("bm25", "cosine", "popularity", "trees")


def check_config(cfg: DictConfig) -> None:
    """Refuse a config that cannot run, names code it may not (`runs.targets`) or holds a secret (`secrets`).

    Interpolations are settled in place first, so that what was checked is what is built: one that reads the clock
    (`${now:%S}`) could otherwise name something else a moment later.

    Raises:
        ConfigError: with every fault found, one sentence each, joined by `; `.
    """
    _refuse_secrets(OmegaConf.to_container(cfg, resolve=False))
    OmegaConf.resolve(cfg)
    plain = as_plain(cfg)
    _refuse_secrets(plain)
    faults = list(target_faults(plain))
    faults += [] if faults else role_faults(plain)  # which imports what is named
    nodes = mappings_alone(plain)
    faults += [*_values(nodes), *_pseudonyms(nodes["data"]), *argument_faults(nodes)]
    if faults:
        first: dict[str, str] = {}  # of each field
        for fault in faults:
            first.setdefault(fault.partition("=")[0], fault)
        raise ConfigError("; ".join(first.values()))


def _refuse_secrets(plain: Any) -> None:
    """Alone and first: other faults would be told with the values."""
    if faults := list(secret_faults(plain)):
        raise ConfigError("; ".join(faults))


def _values(plain: dict[str, Any]) -> Iterator[str]:
    seed = plain.get("seed")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        yield f"seed={seed!r} must be a whole number in [0, 2**32); set seed=0"
    yield from _counted(plain)
    if not isinstance(plain.get("test", True), bool):
        yield f"test={plain['test']!r} must be true or false"
    yield from _resume(plain.get("resume"))
    if plain.get("select") not in {"last", "best"}:
        yield f"select={plain.get('select')!r} must be last or best"
    monitor = str(plain.get("monitor"))
    if not monitor.startswith("validation/"):
        yield f"monitor={monitor!r} must be a validation metric (validation/...): the test split never selects a model"
    for name in plain.get("baselines") or []:
        if name not in BASELINES:
            yield f"baselines: {name!r} is not one of {', '.join(BASELINES)}"
    yield from _calibration(plain.get("calibration") or {})
    yield from _metrics(plain["metrics"])
    optimizer, tuning = plain.get("optimizer") or {}, plain.get("tuning") or {}
    for field, rate in (("optimizer.lr", optimizer.get("lr")), ("tuning.learning_rate", tuning.get("learning_rate"))):
        if rate is not None and (not isinstance(rate, (int, float)) or not rate > 0):
            yield f"{field}={rate!r} must be a number above 0"
    least_of = {"rows_per_batch": 1, "tokens_per_batch": 1, "eval_rows_per_batch": 1, "max_tokens": 4, "workers": 0}
    for field, least in least_of.items():
        value = (plain.get("data") or {}).get(field)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            yield f"data.{field}={value!r} must be a whole number >= {least}"
    yield from _limits(plain)
    yield from _without_texts(plain)


def _counted(plain: dict[str, Any]) -> Iterator[str]:
    for key, means in COUNTED.items():
        value = plain.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"{key}={value!r} must be a whole number >= 0, {means}"


def _pseudonyms(data: dict[str, Any]) -> Iterator[str]:
    """What is wrong with `data.pseudonyms`, its key included: a study finds out before its first run."""
    try:
        Pseudonyms.parse(data.get("pseudonyms"))
    except ConfigError as error:
        yield str(error).rstrip(".")


def _metrics(node: dict[str, Any]) -> Iterator[str]:
    """Depths, thresholds and bins that an evaluation would refuse, when the training is over."""
    for key, values in (("ks", node.get("ks")), ("bins", [node.get("bins", 1)])):
        if isinstance(values, list) and any(isinstance(one, int) and one < 1 for one in values):
            yield f"metrics.{key}={node[key]!r} must be >= 1"
    thresholds = node.get("threshold", 0.5)
    for one in thresholds.values() if isinstance(thresholds, dict) else [thresholds]:
        if isinstance(one, (int, float)) and not 0 <= one <= 1:
            yield f"metrics.threshold={thresholds!r} must lie in [0, 1]"


def _calibration(node: dict[str, Any]) -> Iterator[str]:
    """Scalings that there are; the one in use is fitted."""
    methods, use = node.get("methods") or [], node.get("use", RAW)
    for method in methods:
        if method not in METHODS:
            yield f"calibration.methods: {method!r} is not one of {', '.join(METHODS)}"
    if use not in (RAW, *methods):
        yield f"calibration.use={use} must be none or one of calibration.methods ({', '.join(methods) or 'none'})"


def _limits(plain: dict[str, Any]) -> Iterator[str]:
    """How long one process waits for another."""
    for group, name, none in (("data", "worker_timeout", True), ("trainer", "rank_timeout", False)):
        node = plain.get(group) or {}
        limit = node.get(name)
        if name not in node or (limit is None and none):
            continue
        if not isinstance(limit, (int, float)) or isinstance(limit, bool) or not 0 < limit < float("inf"):
            yield f"{group}.{name}={limit!r} must be a number of seconds above 0" + ("; null: no limit" if none else "")


def _without_texts(plain: dict[str, Any]) -> Iterator[str]:
    """What needs texts where backbone=none reads none."""
    if not str((plain.get("backbone") or {}).get("_target_")).endswith(".NoBackbone"):
        return
    if "cosine" in (plain.get("baselines") or []):
        yield "baselines: cosine needs a backbone, and backbone=none; leave it out"
    if (plain.get("data") or {}).get("tokens_per_batch"):
        yield "data.tokens_per_batch sizes batches by their texts, and backbone=none reads none; set rows_per_batch"


def _resume(asked: Any) -> Iterator[str]:
    if asked == "":
        yield "resume='' must be auto, the folder of a run, or null"
    elif ":/" in str(asked):
        yield f"resume={asked} is an address; only runs on this machine are taken up, copy it first"
