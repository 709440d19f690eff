"""What can go wrong, one row each: faults of machines and data, threats of strangers, and what is not tried."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["resume", "fault", "bad_input", "fuzz", "payload", "leak", "canary"]
KINDS = get_args(Kind)

FAULTS = {
    "kill_mid_epoch": "a run is killed in the middle of an epoch, and taken up again",
    "sigterm": "SIGTERM or SIGINT: saved, the shell's status, the command that goes on",
    "kill_during_save": "killed while a checkpoint is written, on the same disk and on another",
    "disk_full": "the disk is full, read-only, or a file may not grow",
    "truncated_checkpoint": "a checkpoint is cut short, empty or gone",
    "kept_file": "a run, study, search, log store, index, backbone or bundle is cut short, lost or another's",
    "bit_flip": "a bit of a checkpoint is flipped",
    "nan_loss": "a loss, gradient or weight is not finite",
    "one_class": "an evaluation holds one class, one shopper or nothing",
    "metric_input": "a metric is given NaN scores or labels that are none",
    "bad_table": "a log is ragged, mislabelled, empty, mistyped, or breaks its funnel",
    "parquet": "a Parquet file is cut short or a bit of it is flipped",
    "leakage": "an input tells the label, or the test split the training split",
    "loader_worker": "a loader's worker is killed, raises or hangs",
    "dead_rank": "one of two ranks is killed, raises or is asked to stop",
    "two_runs_one_folder": "two runs are given one folder",
    "out_of_memory": "a step does not fit into memory",
    "reproducibility": "the same seed twice; 0, 1 and 2 workers",
    "bad_config": "a config or a command line is wrong",
}
THREATS = {
    "foreign_checkpoint": "a stranger's checkpoint, weights or run folder holds a pickle",
    "own_random_state": "our own checkpoints need no pickle to be read",
    "hydra_target": "a config names code that is not to run",
    "hub_model": "a model or adapter brings code, pickles or further settings",
    "dataset_script": "a data set or log brings a script, a pickle or an address",
    "dependency": "a dependency is malicious, too old, or another than the pinned one",
    "secrets": "a secret gets into a config, log, record, checkpoint or W&B",
    "persons": "a shopper's identifier or a query gets out of the log",
    "card_or_notebook": "a page, card or notebook carries what a log put there",
    "hostile_request": "a request to the server is malformed, oversized, forged or never ends",
    "dp_sgd": "a trained weight remembers a single shopper",
}
ROWS = FAULTS | THREATS

NOT_TRIED = {
    "CUDA out of memory, NCCL ranks": "no GPU here: the same code is tried with CPU memory limits and two gloo ranks",
    "disks that lose what they acknowledged": "not to be injected from user space; files are fsynced before a rename",
    "checkpoints written asynchronously": "none are",
    "a real SLURM": "a stand-in for scontrol is",
}
"""What the tables name and this machine or this code has not, with the reason."""
