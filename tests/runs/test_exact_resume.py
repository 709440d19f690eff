"""An interrupted run goes on bit for bit from every step, and its checkpoints hold what that takes."""

import itertools

import pytest
import torch

from funneltune.callbacks import read_checkpoint
from funneltune.errors import RunError
from matrices import sampled
from resuming import VARIANTS, config, fit, steps, sweep, unlike

FAST = [
    ("houlsby", "32-true", 2, "single"),
    ("adalora", "bf16-mixed", 2, "esmm"),
]


def exact(cache, tmp_path, variant, tally):
    differing, rows, last = sweep(config(cache, *variant), tmp_path)
    assert len(differing) == last - 1 >= 5  # every step but the last, from which nothing is left to do
    tally(len(differing))
    assert {step: places for step, places in differing.items() if places} == {}
    per_epoch = len(rows) // 2
    first, second = (list(itertools.chain.from_iterable(part)) for part in (rows[:per_epoch], rows[per_epoch:]))
    assert len(set(first)) == len(first)
    assert sorted(first) == sorted(second)  # every row once per epoch
    assert first != second
    module, rest = fit(config(cache, *variant), tmp_path / "whole", steps(tmp_path / "whole")[last])
    assert rest == []  # killed behind the last step: nothing is trained, nor validated, again
    assert module.validated_at == last
    assert module.measured["validation"]


@pytest.mark.parametrize("variant", FAST, ids=lambda v: "-".join(map(str, v)))
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_a_run_goes_on_bit_for_bit_from_every_step(cache, tmp_path, variant, tally):
    exact(cache, tmp_path, variant, tally)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", sampled([v for v in VARIANTS if v not in FAST]), ids=lambda v: "-".join(map(str, v))
)
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_so_does_every_other_method_precision_accumulation_and_head(cache, tmp_path, variant, tally):
    exact(cache, tmp_path, variant, tally)


def test_a_comparison_of_checkpoints_sees_a_single_bit(cache, tmp_path):
    fit(config(cache, *FAST[0]), tmp_path)
    found = steps(tmp_path)
    one, other = (read_checkpoint(found[max(found)]) for _ in range(2))
    assert unlike(one, other) == []
    name = next(iter(other["state_dict"]))
    other["state_dict"][name].view(-1)[0] += 1e-6
    assert unlike(one, other) == [f"/state_dict/{name}"]
    assert unlike(one, read_checkpoint(found[max(found) - 1]))


@pytest.mark.tried("foreign_checkpoint", "fault")
def test_frozen_weights_are_in_no_checkpoint_and_others_are_refused(cache, tmp_path):
    cfg = config(cache, "lora", "32-true", 1, "esmm")
    module, _ = fit(cfg, tmp_path)
    checkpoint = read_checkpoint(max(steps(tmp_path).items())[1])
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen
    assert not frozen & set(checkpoint["state_dict"])
    with torch.no_grad():
        next(p for p in module.parameters() if not p.requires_grad).view(-1)[0] += 1
    del module.frozen_sum  # what was summed before
    with pytest.raises(RunError, match="frozen weights are not those that the checkpoint was made with"):
        module.on_load_checkpoint(checkpoint)


@pytest.mark.tried("foreign_checkpoint", "fault")
def test_a_checkpoint_of_another_shape_is_refused(cache, tmp_path):
    fit(config(cache, *FAST[0]), tmp_path)
    first = steps(tmp_path)[1]
    with pytest.raises(RunError, match="the checkpoint does not fit the run's config: 'head"):
        fit(config(cache, *FAST[0], "head.hidden=[8]"), tmp_path / "other", first)


# --- whole runs ----------------------------------------------------------------------------------------------------
