"""Differentially private runs: what they are refused with, what they read, and what their record says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from funneltune.data import LogDataModule, PrivateData
from funneltune.errors import ConfigError
from funneltune.modules import DPSGD, FunnelModule, PrivateSteps
from funneltune.records import NO_GUARANTEE
from funneltune.runs.precision import resolve_precision
from funneltune.runs.targets import build

OBJECTIVES = {"MaskedBCE": "masked_bce", "EntireSpaceBCE": "entire_space_bce", "NaiveBCE": "naive_bce"}
"""Sums over rows, each by itself; the others divide by what a batch holds, or set its rows against one another."""
TUNINGS = ("Full", "Frozen", "BitFit", "LoRA", "Houlsby", "Pfeiffer", "PfeifferHub")
"""Methods whose every parameter is read by its own layer, entry by entry."""
PRECISIONS = ("32-true", "bf16-mixed")


def settings_of(cfg: DictConfig) -> DPSGD | None:
    """What a config asks for; None where nothing is promised, or it is from before there was the key."""
    found = build(cfg.privacy) if cfg.get("privacy") else None
    return found if isinstance(found, DPSGD) else None


def private_steps(cfg: DictConfig) -> PrivateSteps | None:
    """What clips and noises a run's steps; None where nothing is promised.

    Raises:
        ConfigError: with everything in the config through which rows would mix, or be read past the noise.
    """
    settings = settings_of(cfg)
    if settings is None:
        return None
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    if found := [f"privacy=dp_sgd: {fault}" for fault in _refusals({str(key): value for key, value in plain.items()})]:
        raise ConfigError("; ".join(found) + ".")
    return PrivateSteps(settings)


def datamodule(cfg: DictConfig, **arguments: Any) -> LogDataModule:
    """The log as the run reads it: by Poisson draws of units where privacy is promised."""
    settings = settings_of(cfg)
    if settings is None:
        return LogDataModule(**arguments)
    return PrivateData(
        unit=settings.unit, rows_per_shopper=settings.rows_per_shopper, key_seed=settings.seed, **arguments
    )


def _refusals(plain: Mapping[str, Any]) -> Iterator[str]:
    data, trainer = plain.get("data") or {}, plain.get("trainer") or {}
    if data.get("unique", True):
        yield "data.unique=true lets rows share a text, and their gradients would mix; set data.unique=false"
    if data.get("rows_per_batch") is None or data.get("tokens_per_batch") is not None:
        yield (
            "data.tokens_per_batch sizes batches by their texts, and each row must come with the same chance; set "
            "data.rows_per_batch, the rows expected in a batch, and data.tokens_per_batch=null"
        )
    for key in ("sampling", "observed_until"):
        if data.get(key) is not None:
            yield f"data.{key} makes draws, labels or denominators of one row depend on others; set it to null"
    yield from _of_model(plain)
    yield from _of_features(plain.get("features") or {})
    for name, task in (data.get("tasks") or {}).items():
        if (task or {}).get("kind") == "regression":
            yield (
                f"data.tasks.{name} is a regression, which is scaled by the training labels' mean and spread, past the "
                "noise; leave it out, or make it ordinal"
            )
    ranks = (trainer.get("devices"), trainer.get("num_nodes", 1))
    if ranks not in ((1, 1), ("1", 1)):
        yield (
            f"trainer.devices={ranks[0]} trainer.num_nodes={ranks[1]}: draws and noise are one process's; set both to "
            "1 (trainer.accumulate_grad_batches makes steps larger)"
        )
    elif trainer.get("strategy", "auto") != "auto":
        yield f"trainer.strategy={trainer['strategy']} wraps the model for several ranks; use auto"
    precision = resolve_precision(str(trainer.get("precision", "auto")), str(trainer.get("accelerator", "cpu")))
    if precision not in PRECISIONS:
        yield f"trainer.precision={precision} clips and noises too coarsely; use {' or '.join(PRECISIONS)}"
    if (plain.get("backbone") or {}).get("compile"):
        yield "backbone.compile=true hides the layers whose gradients are taken row by row; set it to false"
    if plain.get("skip_nonfinite"):
        yield "skip_nonfinite leaves steps out by what their rows hold, which tells of them; set it to 0"


def _of_model(plain: Mapping[str, Any]) -> Iterator[str]:
    objective, tuning = plain.get("objective") or {}, plain.get("tuning") or {}
    if (word := _class(objective)) not in OBJECTIVES:
        yield (
            f"objective={word} divides by what a batch holds, or weighs its rows against one another; use one of "
            f"{', '.join(OBJECTIVES.values())}"
        )
    lists = objective.get("lists") or {}
    if lists and lists.get("kind", "none") != "none" and lists.get("weight", 1.0):
        yield f"objective.lists.kind={lists['kind']} sets the rows of a page against one another; set it to none"
    if objective.get("delayed", "drop") == "model":
        yield "objective.delayed=model needs data.observed_until, which is read off the training rows; use drop"
    if (word := _class(tuning)) not in TUNINGS:
        yield (
            f"tuning={word} uses parameters outside of their own layers, or allocates by what it trains on; use lora, "
            "houlsby, pfeiffer, bitfit, full or frozen"
        )
    if tuning.get("sharing", "shared") != "shared":
        yield f"tuning.sharing={tuning['sharing']} puts weights in place in turn; set it to shared"
    if (word := _class(plain.get("balancing") or {})) not in ("Fixed", ""):
        yield f"balancing={word} weighs tasks by losses or gradients as they are, before the noise; use fixed"
    adversary = plain.get("adversary") or {}
    if adversary.get("epsilon") and adversary.get("weight"):
        yield f"adversary={_class(adversary)} goes through a batch more than once, and is not noised; use none"
    if plain.get("gradients_every"):
        yield "gradients_every writes norms and cosines of gradients without noise down; set it to 0"


def _of_features(features: Mapping[str, Any]) -> Iterator[str]:
    if features.get("numbers"):
        yield (
            "features.numbers are scaled by the training rows' means and quantiles, past the noise; set "
            "features.numbers={} (ids and vectors may stay)"
        )
    if features.get("history"):
        yield "features.history puts other rows of the shopper into a row; set features.history=0"


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2]


def privacy_record(cfg: DictConfig, module: FunnelModule) -> dict[str, Any]:
    """What a finished run may claim, and of what it says nothing; `{"guarantee": "none"}` where privacy is no matter.

    Numbers of units and rows, the log's catalogue and the config are taken as public.
    """
    steps = module.privacy
    if steps is None or steps.promise is None:
        return dict(NO_GUARANTEE)
    asked, kept = steps.settings, steps.promise
    epsilon = steps.epsilon()
    mechanism: dict[str, Any] = {
        "unit": asked.unit,
        "units": kept.units,
        "delta": kept.delta,
        "noise_multiplier": kept.noise,
        "clip": asked.clip,
        "sample_rate": kept.sample_rate,
        "expected_units": kept.expected_units,
        "rows_per_shopper": asked.rows_per_shopper,
        "steps": steps.steps_taken,
        "planned_steps": kept.steps,
        "accountant": asked.accountant,
    }
    if epsilon is None:
        return {**NO_GUARANTEE, "reason": "privacy.noise=0: gradients are clipped, and nothing hides them"} | mechanism
    if asked.seed is not None:
        reason = f"privacy.seed={asked.seed} is in the config: whoever reads it can take the noise off"
        return {**NO_GUARANTEE, "reason": reason} | mechanism
    return {
        "guarantee": "(epsilon, delta)-differential privacy",
        "epsilon": epsilon,
        "neighbours": f"training splits that differ in one {asked.unit}, there or not",
        **mechanism,
        "not_covered": list(_not_covered(cfg, asked)),
    }


def _not_covered(cfg: DictConfig, asked: DPSGD) -> Iterator[str]:
    yield "all but weights/: losses in history.parquet and logs, predictions, and checkpoints, which hold the noise"
    yield "validation and test rows" + (", of which the former chose the weights (select=best)" if _best(cfg) else "")
    yield "which texts, items, queries and identifiers there are, and how many rows: taken as public"
    yield "other runs on the same rows (seeds, searches, studies): each spends a budget of its own, and they add up"
    if asked.unit == "impression":
        yield "that a shopper is in the log: of each only one row is hidden, given all others"
    if cfg.get("baselines"):
        yield f"baselines that are fitted to training rows: {', '.join(cfg.baselines)}"
    if cfg.get("start"):
        yield "the weights that start= begins with, if they were trained on these rows without a guarantee"
    for key in ("adapter", "start"):
        if cfg.tuning.get(key):
            yield f"the weights of tuning.{key}, if they were trained on these rows without a guarantee"
    yield "attacks on the random generator or on rounding: torch's noise is neither cryptographic nor made for them"


def _best(cfg: DictConfig) -> bool:
    return bool(cfg.get("select") == "best")
