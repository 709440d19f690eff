"""Stands in for training: leaves a record with a metric, and fails where the config says so."""

from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.records import RunRecord


def train(cfg, run_dir):
    if cfg.tuning._target_.endswith("Houlsby"):
        raise DataError("data.path=gone.csv is missing;\ngive a file.")
    from funneltune.runs.identity import as_plain, config_hash

    run_dir.mkdir(parents=True)
    record = RunRecord(
        name=cfg.name,
        status="finished",
        run_dir=str(run_dir),
        config=as_plain(cfg),
        config_hash=config_hash(cfg),
        seed=cfg.seed,
        funnel=TaskFunnel.from_config(as_plain(cfg)["data"]["tasks"]).to_config(),
        metrics={"test": {"ctcvr/auc": {"value": 0.6 + 0.1 * cfg.tuning._target_.endswith("Full") + cfg.seed / 100}}},
    )
    record.write(run_dir / "record.json")
    return record


def train_elsewhere(cfg, run_dir):
    """The same without torch, which takes a worker process seconds to import; notes the process as the command."""
    import os

    if cfg.tuning._target_.endswith("Houlsby"):
        raise DataError("data.path=gone.csv is missing;\ngive a file.")
    RunRecord(name=cfg.name, status="finished", seed=cfg.seed, command=str(os.getpid())).write(run_dir / "record.json")


def statuses(state):
    return {(run["cell"], run["seed"]): run["status"] for run in state["runs"]}
