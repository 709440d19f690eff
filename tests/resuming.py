"""Small runs that are cut off and taken up again, for `test_resume.py`; by hand, all of them:

`python tests/resuming.py FOLDER` tries each of the 32 variants.
"""

import itertools
import json
import logging
import sys
import warnings
from pathlib import Path

import torch

from funneltune.callbacks import StopRequest, read_checkpoint
from funneltune.cli.compose import compose_config
from funneltune.runs import assemble
from funneltune.runs.assemble import make_trainer
from funneltune.runs.train import wanted_callbacks

SMALL = [
    "backbone=tiny",
    "data.source.impressions=300",
    "data.source.items=60",
    "data.source.queries=20",
    "data.source.shoppers=30",
    "data.source.page=5",
    "data.source.ctr=0.3",
    "data.source.cvr=0.4",
    "data.split.by=request",
    "data.split.validation=0.1",
    "data.split.test=0.1",
    "+data.leaks=ignore",
    "data.rows_per_batch=40",
    "backbone.dropout=0.1",
    "backbone.architecture.num_hidden_layers=1",
    "trainer.max_epochs=2",
    "trainer.val_check_interval=0.5",
    "trainer.enable_progress_bar=false",
    "logger=none",
    "select=best",
    "callbacks.checkpoint.every_minutes=null",
    "callbacks.checkpoint.every_n_steps=1",
    "callbacks.checkpoint.keep=1000",
    "~callbacks.efficiency",
]
METHODS = {
    "full": [],
    "houlsby": ["tuning.bottleneck=4"],
    "lora": ["tuning.rank=2", "tuning.dropout=0.1"],
    "adalora": ["tuning.target_rank=1", "tuning.initial_rank=3", "tuning.dropout=0.1", "tuning.interval=2"],
}
PRECISIONS = ("32-true", "bf16-mixed")
HEADS = {"single": "masked_bce", "esmm": "entire_space_bce"}
VARIANTS = list(itertools.product(METHODS, PRECISIONS, (1, 2), HEADS))


def config(cache, method, precision, accumulate, head, *more):
    return compose_config(
        [
            *SMALL,
            f"data.cache_dir={cache}",
            f"tuning={method}",
            *METHODS[method],
            f"trainer.precision={precision}",
            f"trainer.accumulate_grad_batches={accumulate}",
            f"head={head}",
            f"objective={HEADS[head]}",
            *more,
        ]
    )


def fit(cfg, folder, checkpoint=None):
    """Train, and return the module and the rows of each training batch, in their order."""
    torch.manual_seed(12345 if checkpoint else 0)  # whatever a new process happens to begin with
    made = assemble(cfg)
    made.data.prepare_data()
    made.data.setup()
    rows = []
    step = made.module.training_step

    def noted(batch, batch_idx):
        rows.append(batch.row.tolist())
        return step(batch, batch_idx)

    made.module.training_step = noted
    torch.manual_seed(54321 if checkpoint else cfg.seed)
    trainer = make_trainer(cfg, folder, wanted_callbacks(cfg, StopRequest()), [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(made.module, datamodule=made.data, ckpt_path=checkpoint, weights_only=True)
    return made.module, rows


def steps(folder):
    """Step -> checkpoint of a run."""
    return {int(path.stem.rpartition("-")[2]): path for path in (folder / "checkpoints").glob("step-*.ckpt")}


def unlike(one, other, path=""):
    """The places where two nested values differ in any bit."""
    if isinstance(one, dict):
        if set(one) != set(other):
            return [f"{path}: {sorted(map(str, set(one) ^ set(other)))}"]
        return [place for key in one for place in unlike(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{path}: {len(one)} and {len(other)} entries"]
        return [place for i, pair in enumerate(zip(one, other, strict=True)) for place in unlike(*pair, f"{path}/{i}")]
    if isinstance(one, torch.Tensor):
        same = one.shape == other.shape and torch.equal(
            one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)
        )
    else:
        same = one == other or (one != one and other != other)
    return [] if same else [f"{path}: {one} and {other}" if not isinstance(one, torch.Tensor) else path]


def sweep(cfg, folder, only=None):
    """Train once, then from each checkpoint of that run to the end: where each differs from the first, by step."""
    _, rows = fit(cfg, folder / "whole")
    found = steps(folder / "whole")
    last = max(found)
    wanted = read_checkpoint(found[last])
    differing = {}
    for step in sorted(found):
        if step == last or (only is not None and step not in only):
            continue
        again = folder / f"from-{step}"
        (again / "checkpoints").mkdir(parents=True)
        for path in (folder / "whole" / "checkpoints").glob("best-*"):  # as they lay there at the time
            if int(path.name.split(".")[0].rpartition("-")[2]) <= step:
                (again / "checkpoints" / path.name).write_bytes(path.read_bytes())
        _, rest = fit(cfg, again, found[step])
        places = unlike(wanted, read_checkpoint(steps(again)[last]))
        if rest != rows[len(rows) - len(rest) :] or not rest:
            places.append("rows")
        differing[step] = places
    return differing, rows, last


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    where = Path(sys.argv[1])
    found = {}
    for variant in VARIANTS:
        differing, _, last = sweep(config(where / "cache", *variant), where / "-".join(map(str, variant)))
        wrong = {step: places[:3] for step, places in differing.items() if places}
        found[" ".join(map(str, variant))] = {"steps": last, "taken up from": len(differing), "unlike": wrong}
        print(*variant, wrong or "bit for bit", file=sys.stderr, flush=True)  # noqa: T201
    exact = sum(not one["unlike"] for one in found.values())
    print(json.dumps({"variants": len(found), "bit for bit from every step": exact, "each": found}))  # noqa: T201
