"""Every head with every tuning method, objective and balancing trains a step, or is refused with its reason."""

import logging
import math
import warnings
from itertools import product
from pathlib import Path

import lightning as L
import pytest
import torch
from omegaconf import OmegaConf

from funneltune.backbones import build_interaction
from funneltune.features import Features, feature_needs
from funneltune.funnel import TaskFunnel
from funneltune.heads import SideTowers
from funneltune.modules import constant, module_class
from funneltune.runs.pairs import readers, refusals
from funneltune.runs.targets import build
from matrices import sampled
from pairwise import covering

CONFIGS = Path(__file__).parents[2] / "configs"
FUNNEL = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click"]}})
SMALL = {
    "adalora": ["target_rank=1", "initial_rank=2"],
    "lora": ["rank=2"],
    "houlsby": ["bottleneck=4"],
    "pfeiffer": ["bottleneck=4"],
}
FACTORS = {
    "head": sorted(path.stem for path in (CONFIGS / "head").glob("*.yaml")),
    "tuning": [
        *("adalora", "bitfit", "frozen", "full", "houlsby", "lora", "pfeiffer"),
        *("houlsby per_task", "lora per_task", "bitfit mixture", "lora mixture"),
    ],
    "objective": sorted(path.stem for path in (CONFIGS / "objective").glob("*.yaml")),
    "balancing": sorted(path.stem for path in (CONFIGS / "balancing").glob("*.yaml")),
}
REFUSED = {("aitm", objective) for objective in ("dcmt", "escm2_dr", "escm2_ips")}
"""Heads and objectives that do not go together: AITM's logits are of p(task and its edges)."""
IDS = ["user", "item"]


def choice(group, named):
    name, _, sharing = named.partition(" ")
    changes = OmegaConf.from_dotlist([*SMALL.get(name, []), *([f"sharing={sharing}"] if sharing else [])])
    return build(OmegaConf.merge(OmegaConf.load(CONFIGS / group / f"{name}.yaml"), changes))


@pytest.fixture(scope="module")
def data_for(make_data):
    made = {}

    def find(columns):
        if columns not in made:
            needs = feature_needs(True, IDS, 50, None, (), 0)
            made[columns] = make_data(
                tasks=FUNNEL, columns=dict.fromkeys(columns, "a test"), features=needs, rows_per_batch=60
            )
        return made[columns]

    return find


def parts(row, backbone):
    torch.manual_seed(0)
    encoder = backbone.encoder()
    interaction = build_interaction("twin", encoder.width)
    width = interaction.width + 8
    head = choice("head", row["head"])(width=width, funnel=FUNNEL)
    objective = choice("objective", row["objective"])(funnel=FUNNEL)
    return encoder, interaction, width, head, objective, choice("tuning", row["tuning"])


def module_of(row, backbone):
    encoder, interaction, width, head, objective, tuning = parts(row, backbone)
    assert not list(refusals(head=head, objective=objective, tuning=tuning, features=True))
    tuning.apply(encoder.backbone)
    encoder.sets = tuning.share(readers(head, FUNNEL))
    asked = objective.needs.towers
    return module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=head,
        features={view: Features(encoder.width, {}, ids=IDS, buckets=50, id_width=4) for view in head.views},
        towers=SideTowers(width, asked) if asked else None,
        objective=objective,
        tuning=tuning,
        funnel=FUNNEL,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.01),
        scheduler=constant,
        balancing=choice("balancing", row["balancing"])(funnel=FUNNEL),
    )


def trains_a_step(row, backbone, data_for, folder):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = module_of(row, backbone)
    before = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=3 if row["tuning"] == "adalora" else 1,  # warm-up, allocation, final phase
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=data_for(module.objective.needs.columns))
    assert math.isfinite(float(trainer.callback_metrics["train/loss"])), row
    after = dict(module.named_parameters())
    moved = {name for name, old in before.items() if name in after and not torch.equal(old, after[name])}
    assert any(name.startswith("head.") for name in moved), row
    inside = [name for name in before if name.startswith("encoder.")]
    assert not inside or any(name.startswith("encoder.") for name in moved) or row["tuning"] == "adalora", row


def allowed(row):
    return (row["head"], row["objective"]) not in REFUSED


@pytest.mark.parametrize("row", covering(FACTORS, allowed), ids=lambda row: "-".join(row.values()))
def test_every_pair_of_choices_trains_a_step(row, tiny_backbone, data_for, tmp_path):
    trains_a_step(row, tiny_backbone, data_for, tmp_path)


ALIKE = {"aligned_mtl", "config", "dualproj", "graddrop", "mean", "random", "sum"}
"""Aggregators of the same matrix that the pairs have tried; the product has the others."""


@pytest.mark.slow
@pytest.mark.parametrize("pair", sampled(product(FACTORS["head"], FACTORS["tuning"])), ids="-".join)
def test_every_combination_trains_a_step(pair, tiny_backbone, data_for, tmp_path):
    head, tuning = pair
    for objective, balancing in product(FACTORS["objective"], sorted({*FACTORS["balancing"]} - ALIKE)):
        row = {"head": head, "tuning": tuning, "objective": objective, "balancing": balancing}
        if allowed(row):
            trains_a_step(row, tiny_backbone, data_for, tmp_path)


def test_what_does_not_go_together_says_why(tiny_backbone):
    for head, objective in product(FACTORS["head"], FACTORS["objective"]):
        row = {"head": head, "objective": objective, "tuning": "full"}
        _, _, _, built, asked, tuning = parts(row, tiny_backbone)
        reasons = list(refusals(head=built, objective=asked, tuning=tuning, features=True))
        assert bool(reasons) == ((head, objective) in REFUSED), (row, reasons)
        assert all(f"head={head} gives p(task and its edges)" in reason for reason in reasons)
