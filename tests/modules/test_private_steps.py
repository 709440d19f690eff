"""Clipped, noised, accounted for: by hand, against Opacus and published numbers, and bit for bit over a break."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from funneltune.errors import ConfigError, RunError, TuningError
from funneltune.heads import SharedBottom
from funneltune.modules import DPSGD, PrivateSteps
from funneltune.modules.private_steps import epsilon_of, noise_for, promised
from funneltune.tuning import Frozen, Full, Houlsby, LoRA
from modules.private import drawn, norms, private_data, private_module, unit_gradients
from modules.training import fit, module_of, weights_of


def small_head(width, funnel):
    return SharedBottom(width, funnel, bottom=[8], hidden=[6])


def stepped(backbone, funnel, data, folder, *, settings=None, steps=1, tuning=Frozen, **more):
    """A module after private steps of SGD with rate 0.1, and the weights that it began with."""
    module = private_module(backbone, funnel, settings=settings, tuning=tuning(), head=small_head, **more)
    before = weights_of(module)
    fit(module, data, folder, steps=steps, accumulate=data.accumulate)
    return module, before


# --- without noise and clipping ------------------------------------------------------------------------------------


def by_hand(backbone, funnel, data, tuning, steps, make_optimizer):
    """The same rows by plain steps: a mean over the rows that a step is expected to hold."""
    module = module_of(backbone, funnel, tuning=tuning(), head=small_head)
    module.train()
    optimizer = make_optimizer([p for p in module.parameters() if p.requires_grad])
    draws = data.plan().draws()
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(data.accumulate):
            batch = data.collator()(next(draws))
            if len(batch):
                module.objective(batch, module(batch)).total().backward()
        optimizer.step()
    return weights_of(module)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("unit", ["impression", "shopper"])
@pytest.mark.parametrize("tuning", [Frozen, lambda: LoRA(rank=2, learning_rate=0.1)], ids=["frozen", "lora"])
def test_without_noise_and_clipping_steps_are_plain_ones(
    tiny_backbone, funnel, make_data, tmp_path, tuning, unit, accumulate
):
    data = private_data(make_data, unit=unit, accumulate=accumulate, rows_per_batch=120 // accumulate)
    module, before = stepped(tiny_backbone, funnel, data, tmp_path, steps=3, tuning=tuning)
    wanted = by_hand(tiny_backbone, funnel, data, tuning, 3, lambda ps: torch.optim.SGD(ps, lr=0.1))
    for name, found in weights_of(module).items():
        torch.testing.assert_close(found, wanted[name], rtol=1e-4, atol=1e-6, msg=name)
    moved = [name for name in wanted if not torch.equal(before[name], wanted[name])]
    assert len(moved) >= 8
    assert module.privacy.steps_taken == module.steps_taken == 3


def test_any_optimizer_may_follow(tiny_backbone, funnel, make_data, tmp_path):
    data = private_data(make_data)
    module = private_module(tiny_backbone, funnel, tuning=Frozen(), head=small_head)
    module.make_optimizer = lambda groups: torch.optim.AdamW([p for g in groups for p in g["params"]], lr=0.01)
    fit(module, data, tmp_path, steps=3)
    wanted = by_hand(tiny_backbone, funnel, data, Frozen, 3, lambda ps: torch.optim.AdamW(ps, lr=0.01))
    for name, found in weights_of(module).items():
        torch.testing.assert_close(found, wanted[name], rtol=1e-4, atol=1e-5, msg=name)


# --- clipping ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("unit", ["impression", "shopper"])
def test_each_units_gradient_is_clipped_before_they_are_added(
    tiny_backbone, funnel, make_data, tmp_path, unit, accumulate
):
    data = private_data(make_data, unit=unit, accumulate=accumulate, rows_per_batch=100 // accumulate)
    reference = private_module(tiny_backbone, funnel, tuning=Houlsby(bottleneck=2, learning_rate=0.1), head=small_head)
    parts = [unit_gradients(reference, data, drawn(data, number)) for number in range(accumulate)]
    lengths = np.concatenate([norms(part) for part in parts])
    clip = float(np.median(lengths))  # half of the units are clipped, half are not
    module, before = stepped(
        tiny_backbone,
        funnel,
        data,
        tmp_path,
        settings={"clip": clip, "unit": unit},
        tuning=lambda: Houlsby(bottleneck=2, learning_rate=0.1),
    )
    factors = torch.split(torch.from_numpy(np.minimum(1, clip / lengths)).float(), [len(norms(p)) for p in parts])
    for name, after in weights_of(module).items():
        if name in parts[0]:
            total = sum(torch.einsum("u,u...->...", f, part[name]) for f, part in zip(factors, parts, strict=True))
            step = 0.1 * total / data.plan().expected_units
            torch.testing.assert_close(before[name] - after, step, rtol=2e-3, atol=2e-6, msg=name)


def test_no_unit_moves_the_sum_by_more_than_the_clip(tiny_backbone, funnel, make_data, tmp_path):
    """The bound that the noise is measured by, whatever the loss: a row whose gradient is enormous."""
    data = private_data(make_data, rows_per_batch=1000)  # nearly all rows, then all but nothing
    module, before = stepped(tiny_backbone, funnel, data, tmp_path, settings={"clip": 1e-3})
    moved = torch.cat([(before[n] - w).flatten() for n, w in weights_of(module).items()])
    plan = data.plan()
    held = len(next(iter(plan.draws())).rows)
    assert moved.norm() <= 0.1 * 1e-3 * held / plan.expected_units * (1 + 1e-4)


# --- noise ---------------------------------------------------------------------------------------------------------


def empty_first(make_data, **changes):
    """Data whose first draw holds nothing."""
    data = private_data(make_data, rows_per_batch=1, **changes)
    for seed in range(100):
        data._key = [seed]
        if not len(next(iter(data.plan().draws())).rows):
            return data
    raise AssertionError("no such seed")


def test_a_step_that_holds_nothing_is_taken_and_is_pure_noise(tiny_backbone, funnel, make_data, tmp_path):
    data = empty_first(make_data)
    settings = {"noise": 0.7, "clip": 0.5, "seed": 5}
    module, before = stepped(
        tiny_backbone, funnel, data, tmp_path, settings=settings, tuning=lambda: Full(learning_rate=0.1)
    )
    assert module.privacy.steps_taken == module.steps_taken == 1
    noise = torch.cat([(before[n] - w).flatten() for n, w in weights_of(module).items()]).double() / 0.1
    wanted = 0.7 * 0.5 / data.plan().expected_units
    assert len(noise) > 900_000
    assert float(noise.std()) == pytest.approx(wanted, rel=0.01)
    assert abs(float(noise.mean())) < 5 * wanted / math.sqrt(len(noise))
    assert stats.kstest(noise[:20_000].numpy() / wanted, "norm").pvalue > 1e-3


def test_noise_is_new_in_every_step_and_reaches_every_trained_weight(tiny_backbone, funnel, make_data, tmp_path):
    data = empty_first(make_data)
    seen = []
    module = private_module(
        tiny_backbone, funnel, settings={"noise": 1.0, "clip": 1.0}, tuning=LoRA(rank=2), head=small_head
    )
    release = module.privacy.release

    def noted(optimizer):
        release(optimizer)
        seen.append({name: p.grad.clone() for name, p in module.named_parameters() if p.requires_grad})

    module.privacy.release = noted
    fit(module, data, tmp_path, steps=3)
    assert len(seen) == 3
    assert all((grad != 0).float().mean() > 0.99 for step in seen for grad in step.values())
    assert all(not torch.equal(seen[0][name], seen[1][name]) for name in seen[0])


def test_noise_comes_from_the_system_unless_a_seed_is_given(tiny_backbone, funnel, make_data, tmp_path):
    data = private_data(make_data)
    after = {}
    for seed in (None, 7):
        noisy = {"noise": 1.0, "clip": 1.0, "seed": seed}
        after[seed] = [weights_of(stepped(tiny_backbone, funnel, data, tmp_path, settings=noisy)[0]) for _ in range(2)]
    name = "head.bottom.0.weight"
    assert not torch.equal(after[None][0][name], after[None][1][name])
    assert torch.equal(after[7][0][name], after[7][1][name])


# --- accounting ----------------------------------------------------------------------------------------------------


def gaussian_epsilon(noise, steps, delta):
    """The Gaussian mechanism's own epsilon (Balle and Wang 2018, theorem 8), composed: noise / sqrt(steps)."""
    s = noise / math.sqrt(steps)

    def off(epsilon):
        low, high = stats.norm.logcdf(1 / (2 * s) - epsilon * s), stats.norm.logcdf(-1 / (2 * s) - epsilon * s)
        return math.exp(low) - math.exp(epsilon + high) - delta

    return optimize.brentq(off, 0, 60)


@pytest.mark.parametrize(("noise", "steps", "delta"), [(5.0, 20, 1e-5), (1.0, 1, 1e-6), (30.0, 900, 1e-4)])
def test_where_every_unit_is_in_every_step_epsilon_is_the_gaussian_mechanisms(noise, steps, delta):
    exact = gaussian_epsilon(noise, steps, delta)
    assert exact <= epsilon_of("prv", noise, 1.0, steps, delta) <= exact + 0.03
    assert exact < epsilon_of("rdp", noise, 1.0, steps, delta) < 1.2 * exact + 0.1


ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))


@pytest.mark.parametrize(
    ("noise", "epochs", "orders", "published"),
    [
        (1.3, 20, ORDERS, 1.34),  # Bu et al. (2020), figure 4: the moments accountant on MNIST
        (0.7, 70, ORDERS, 8.68),
        (1.12, 60, [10, 20, 100], 2.95),  # Opacus's documentation, compute_dp_sgd_privacy, with its three orders
    ],
)
def test_epsilon_agrees_with_published_runs_on_mnist(noise, epochs, orders, published):
    """60,000 digits in batches of 256, delta 1e-5. The publications turn Renyi DP into epsilon by Mironov's (2017)
    bound, proposition 3; Opacus now by a tighter one, and PRVs need none.
    """
    from opacus.accountants.analysis.rdp import compute_rdp

    q, delta = 256 / 60_000, 1e-5
    steps = int(epochs / q)
    renyi = compute_rdp(q=q, noise_multiplier=noise, steps=steps, orders=orders)
    assert min(renyi + math.log(1 / delta) / (np.array(orders) - 1)) == pytest.approx(published, abs=0.015)
    prv, rdp = (epsilon_of(word, noise, q, steps, delta) for word in ("prv", "rdp"))
    assert 0.7 * published < prv < rdp < published


def test_steps_are_counted_as_opacus_counts_them(tiny_backbone, funnel, make_data, tmp_path):
    from opacus.accountants import PRVAccountant

    data = private_data(make_data)
    module, _ = stepped(tiny_backbone, funnel, data, tmp_path, settings={"noise": 1.1, "clip": 1.0}, steps=4)
    counted = PRVAccountant()
    for _ in range(4):
        counted.step(noise_multiplier=1.1, sample_rate=data.plan().sample_rate)
    told = module.privacy.promise
    assert told.delta == pytest.approx(1 / (10 * data.n_rows("train")))
    assert module.privacy.epsilon() == pytest.approx(counted.get_epsilon(told.delta))


def test_the_noise_is_the_least_that_keeps_epsilon():
    for accountant, tolerance in (("prv", 0.011), ("rdp", 0.011)):
        noise = noise_for(accountant, 3.0, 1e-6, 0.05, 100)
        assert 3.0 - tolerance <= epsilon_of(accountant, noise, 0.05, 100, 1e-6) <= 3.0


def test_an_early_end_is_charged_for_all_planned_steps(tiny_backbone, funnel, make_data, tmp_path):
    data = private_data(make_data)
    module = private_module(tiny_backbone, funnel, settings={"noise": 1.0, "clip": 1.0}, tuning=Frozen())

    class Stops:
        def __call__(self, optimizer):
            release(optimizer)
            module.trainer.should_stop = True

    release = module.privacy.release
    module.privacy.release = Stops()
    fit(module, data, tmp_path, steps=6)
    assert module.privacy.steps_taken < 6
    told = module.privacy.promise
    assert module.privacy.epsilon() == epsilon_of("prv", 1.0, told.sample_rate, 6, told.delta)


def test_without_noise_there_is_no_epsilon(tiny_backbone, funnel, make_data, tmp_path):
    module, _ = stepped(tiny_backbone, funnel, private_data(make_data), tmp_path)
    assert module.privacy.epsilon() is None


@pytest.mark.tried("dp_sgd", "bad_input")
def test_a_delta_at_which_a_unit_could_be_given_away_is_refused():
    with pytest.raises(ConfigError, match=r"privacy.delta=0.001 must be below 1 / 1,000, .*\(shoppers\).* null takes"):
        promised(DPSGD(unit="shopper", delta=1e-3), 1000, 0.1, 100.0, 10)
    assert promised(DPSGD(delta=9e-4, epsilon=None, noise=1.0), 1000, 0.1, 100.0, 10).delta == 9e-4


@pytest.mark.tried("dp_sgd", "bad_input")
def test_an_epsilon_that_no_noise_keeps_is_refused():
    with pytest.raises(ConfigError, match=r"privacy.epsilon=1e-09 at delta=1e-06 cannot be kept over 100 steps"):
        noise_for("rdp", 1e-9, 1e-6, 0.05, 100)


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_a_noise_that_keeps_no_epsilon_worth_the_name_is_refused(accountant):
    with pytest.raises(ConfigError, match=r"privacy.noise=0.0001 keeps no epsilon below .* over 10 steps"):
        promised(DPSGD(epsilon=None, noise=1e-4, accountant=accountant), 1000, 0.1, 100.0, 10)
    assert promised(DPSGD(epsilon=None, noise=0.5, accountant=accountant), 1000, 0.1, 100.0, 10).noise == 0.5


@pytest.mark.slow
def test_opacus_leaves_everyones_logging_alone():
    words = "import logging, funneltune.modules.private_steps as p; p.require_opacus(); print(logging.root.handlers)"
    assert subprocess.check_output([sys.executable, "-c", words], text=True) == "[]\n"


@pytest.mark.tried("dp_sgd", "bad_input")
def test_rows_that_share_a_text_are_refused(tiny_backbone, funnel, make_data, tmp_path):
    data = private_data(make_data, unique=True)
    with pytest.raises(TuningError, match="privacy=dp_sgd needs a text of its own for each row.*data.unique=false"):
        stepped(tiny_backbone, funnel, data, tmp_path)


@pytest.mark.tried("dp_sgd", "bad_input")
def test_a_missing_opacus_is_told_with_the_extra_that_brings_it(
    tiny_backbone, funnel, make_data, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(ConfigError, match=r"privacy=dp_sgd needs Opacus; pip install 'funneltune\[privacy\]'"):
        stepped(tiny_backbone, funnel, private_data(make_data), tmp_path)


# --- what a checkpoint holds ---------------------------------------------------------------------------------------


def test_noise_and_count_go_on_where_they_were(tiny_backbone, funnel, make_data, tmp_path):
    data = private_data(make_data)
    module, _ = stepped(tiny_backbone, funnel, data, tmp_path, settings={"noise": 1.0, "clip": 1.0}, steps=3)
    kept = module.privacy.state_dict()
    torch.save(kept, tmp_path / "state")
    again = PrivateSteps(DPSGD(epsilon=None, noise=1.0, clip=1.0))
    again.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    again.begin(module)
    assert again.promise == module.privacy.promise
    assert again.steps_taken == 3
    assert torch.equal(torch.rand(4, generator=again._noise), torch.rand(4, generator=module.privacy._noise))
    again.end()


@pytest.mark.tried("dp_sgd", "fault")
def test_a_run_that_is_taken_up_for_more_steps_than_its_noise_was_made_for_is_refused(
    tiny_backbone, funnel, make_data, tmp_path
):
    data = private_data(make_data)
    module, _ = stepped(tiny_backbone, funnel, data, tmp_path, settings={"noise": 1.0, "clip": 1.0}, steps=3)
    longer = private_module(
        tiny_backbone, funnel, settings={"noise": 1.0, "clip": 1.0}, tuning=Frozen(), head=small_head
    )
    longer.privacy.load_state_dict(module.privacy.state_dict())
    with pytest.raises(RunError, match="privacy: the noise was chosen for 3 steps at a sampling rate of .* has 5 at"):
        fit(longer, data, tmp_path, steps=5)
