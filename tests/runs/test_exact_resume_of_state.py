"""What keeps a state of its own goes on bit for bit from every step: heads, objectives, balancing, adversaries,
features, shared tuned weights, the boundary cache, shrinking ranks, private steps.
"""

import pytest

from funneltune.callbacks import read_checkpoint
from funneltune.cli.compose import compose_config
from matrices import sampled
from resuming import METHODS, SMALL, fit, steps, sweep

PLAIN = ["tuning=lora", *METHODS["lora"], "trainer.precision=32-true"]
SHRINKING = ["tuning=adalora", *METHODS["adalora"], "tuning.shrink=true", "trainer.precision=32-true"]
CACHED = ["tuning=houlsby", "tuning.bottleneck=4", "tuning.top=1", "backbone.architecture.num_hidden_layers=2"]
CACHED += ["backbone.cache=always", "trainer.precision=32-true"]
FEATURES = ["features=all", "features.buckets=200", "features.dropout=0.1"]
HEADS = {
    "shared_bottom": [],
    "cross_stitch": [],
    "omoe": [],
    "mmoe": [],
    "ple": ["head.levels=2"],
    "esm2": ["data=simulated_carts", "objective=entire_space_bce"],
    "aitm": ["objective=entire_space_bce"],
    "stem": FEATURES,
}
OBJECTIVES = {
    "escm2_ips": ["head=esmm"],
    "escm2_dr": ["head=esmm"],
    "dcmt": ["head=esmm"],
    "pal": [],
    "weighted_clicks": [],
    "naive_bce": [],
}
BALANCING = (
    *("uncertainty", "gradnorm", "dwa", "random", "graddrop", "pcgrad", "cagrad", "mgda", "imtl_g", "aligned_mtl"),
    *("config", "dualproj", "upgrad", "mean", "sum"),
)
OTHERS = {
    "dwa by steps": ["balancing=dwa", "balancing.every=2"],
    "gradients measured": ["gradients_every=2", "balancing=mean"],
    "fgm": ["adversary=fgm"],
    "pgd": ["adversary=pgd", "adversary.steps=2"],
    "features": FEATURES,
    "features fused by a gate": [*FEATURES, "features.fusion=gate"],
    "rows drawn": ["data.sampling={negatives: {click: 0.5}, positives: {purchase: 2}, correction: weights}"],
    "a set of weights per task": ["tuning.sharing=per_task"],
    "a mixture of sets": ["tuning.sharing=mixture", "tuning.adapters=3", "head=mmoe"],
    "workers": ["data.workers=2", *FEATURES],
    "private steps": [
        *("privacy=dp_sgd", "privacy.seed=1", "privacy.delta=1e-3"),
        *("data.unique=false", "data.rows_per_batch=64", "data.tokens_per_batch=null"),
    ],
}


def words_of(name):
    """The words of a variant, by its name."""
    kind, _, which = name.partition(" ")
    match kind:
        case "head":
            return [*PLAIN, f"head={which}", *HEADS[which]]
        case "objective":
            return [*PLAIN, f"objective={which}", *OBJECTIVES[which]]
        case "balancing":
            return [*PLAIN, "head=shared_bottom", f"balancing={which}"]
        case "cache":
            return CACHED
        case "shrinking":
            return SHRINKING
    return [*PLAIN, *OTHERS[which]]


FAST = ["balancing gradnorm", "cache of the boundary"]
SLOW = [
    "shrinking ranks",
    *(f"head {name}" for name in HEADS),
    *(f"objective {name}" for name in OBJECTIVES),
    *(f"balancing {name}" for name in BALANCING if f"balancing {name}" not in FAST),
    *(f"other {name}" for name in OTHERS),
]


def exact(cache, folder, name, tally):
    """Every step of a run goes on to the same end, in every bit of its checkpoint."""
    cfg = compose_config([*SMALL, f"data.cache_dir={cache}", *words_of(name)])
    differing, _, last = sweep(cfg, folder)
    assert len(differing) == last - 1 >= 5
    tally(len(differing))
    assert {step: places for step, places in differing.items() if places} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_a_run_with_a_state_of_its_own_goes_on_bit_for_bit_from_every_step(cache, tmp_path, name, tally):
    exact(cache, tmp_path, name, tally)


def test_the_boundary_cache_is_what_the_cached_run_reads(cache, tmp_path):
    module, _ = fit(compose_config([*SMALL, f"data.cache_dir={cache}", *CACHED]), tmp_path)
    assert module.kept is not None
    assert module.kept.layers == 1


@pytest.mark.slow
def test_ranks_shrink_within_the_run_that_is_taken_up(cache, tmp_path):
    fit(compose_config([*SMALL, f"data.cache_dir={cache}", *SHRINKING]), tmp_path)
    ranks = [
        {tensor.shape[0] for name, tensor in read_checkpoint(path)["state_dict"].items() if "lora_A" in name}
        for _, path in sorted(steps(tmp_path).items())
    ]
    assert ranks[0] == {3}
    assert ranks[-1] != {3}


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(SLOW))
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_so_does_every_other_part_that_may_keep_one(cache, tmp_path, name, tally):
    exact(cache, tmp_path, name, tally)
