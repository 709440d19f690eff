"""What a config's objective asks of the data, and which of its options asks for it."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from funneltune.data import RowSampling
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives import Objective
from funneltune.runs.targets import made


def objective_needs(cfg: DictConfig, funnel: TaskFunnel) -> dict[str, Any]:
    """`columns` and `delayed`, as `LogDataModule` takes them.

    Raises:
        ConfigError: if rows are drawn in a way that the objective cannot make up for.
    """
    objective: Objective = made(cfg.objective, funnel=funnel)
    _check_sampling(objective, RowSampling.parse(_plain(cfg.data).get("sampling"), funnel))
    needs = objective.needs
    return {"columns": {name: _asker(cfg.objective, funnel, name) for name in needs.columns}, "delayed": needs.delayed}


def _asker(node: DictConfig, funnel: TaskFunnel, column: str) -> str:
    """The first option without which the objective would not ask for a column: `objective.examination=log`."""
    for key, value in _plain(node).items():
        if key.startswith("_") or value is None:
            continue
        rest = OmegaConf.create({k: v for k, v in _plain(node).items() if k != key})
        try:
            without: Objective = made(rest, funnel=funnel)
        except (ConfigError, TypeError):  # the rest alone is none, or the option has no default
            continue
        if column not in without.needs.columns:
            return f"objective.{key}={value}"
    return f"objective={made(node, funnel=funnel).name}"


def _check_sampling(objective: Objective, sampling: RowSampling | None) -> None:
    if sampling is not None and sampling.correction == "likelihood" and not objective.resamples:
        raise ConfigError(
            f"data.sampling.correction=likelihood: objective={objective.name}, with these options, is no likelihood of "
            "rows that are drawn by their labels; use correction=weights, or objective=masked_bce or entire_space_bce."
        )


def _plain(node: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(node, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
