"""A step that is not finite moves nothing: it stops the run, naming task and rows, or is left out and counted."""

import lightning as L
import pytest
import torch

from funneltune.backbones import build_interaction
from funneltune.errors import FailedRunError
from funneltune.heads import ESMM, SharedBottom, Single
from funneltune.modules import constant, module_class
from funneltune.modules.finite import FiniteGuard
from funneltune.objectives import EntireSpaceBCE, MaskedBCE
from funneltune.schema import SHARED
from funneltune.tuning import AdaLoRA, Full

pytestmark = pytest.mark.tried("nan_loss", "fault")


class Spoiled(torch.nn.Module):
    """A head whose logits of one task are not finite in the chosen rows of one forward pass."""

    views = (SHARED,)

    def __init__(self, head, task, at):
        super().__init__()
        self.head, self.task, self.at, self.calls = head, task, at, 0

    def forward(self, inputs):
        output = self.head(inputs)
        if self.training:
            self.calls += 1
            if self.calls == self.at:
                output.logits[self.task].data[[1, 4]] = float("nan")
        return output


def trained(
    make_data, tiny_backbone, funnel, tmp_path, *, head=ESMM, objective=EntireSpaceBCE, task="click", at=3, **more
):
    data = make_data()
    torch.manual_seed(0)
    encoder = tiny_backbone.encoder()
    interaction = build_interaction("twin", encoder.width)
    tuning = more.pop("tuning", None) or Full(learning_rate=1e-3)
    tuning.apply(encoder.backbone)
    module = module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=Spoiled(head(interaction.width, funnel), task, at),
        objective=objective(funnel),
        tuning=tuning,
        funnel=funnel,
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1),
        scheduler=constant,
        **more,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=8,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=tmp_path,
        gradient_clip_val=1.0,
    )
    return module, trainer, data


@pytest.mark.parametrize("head", [Single, SharedBottom, ESMM])
@pytest.mark.parametrize("task", ["click", "purchase"])
def test_the_run_stops_before_anything_moves_and_names_task_and_rows(
    make_data, tiny_backbone, funnel, tmp_path, head, task
):
    objective = EntireSpaceBCE if head is ESMM else MaskedBCE
    module, trainer, data = trained(
        make_data, tiny_backbone, funnel, tmp_path, head=head, objective=objective, task=task
    )
    seen = {}
    step = module.training_step

    def noted(batch, batch_idx):
        seen["rows"] = sorted(batch.row[[1, 4]].tolist())
        seen["before"] = {name: p.detach().clone() for name, p in module.named_parameters()}
        return step(batch, batch_idx)

    module.training_step = noted
    with pytest.raises(FailedRunError) as caught:
        trainer.fit(module, datamodule=data)
    told = str(caught.value)
    assert "step 2 is not finite: " in told
    assert trainer.global_step == 2
    assert all(torch.equal(p, seen["before"][name]) for name, p in module.named_parameters())
    rows = f"(rows {seen['rows'][0]}, {seen['rows'][1]} of the log)"  # unclicked ones are masked in the purchase's loss
    assert f"the loss of {task} is nan {rows}" in told or f"the logit of {task} is not finite {rows}" in told


def test_a_gradient_that_overflows_behind_finite_losses_stops_the_run_too(make_data, tiny_backbone, funnel, tmp_path):
    module, trainer, data = trained(make_data, tiny_backbone, funnel, tmp_path, at=-1)
    next(module.interaction.parameters(), next(module.head.parameters())).register_hook(lambda g: g * float("inf"))
    with pytest.raises(
        FailedRunError, match="step 0 is not finite: the gradient's norm is (inf|nan), though every task's"
    ):
        trainer.fit(module, datamodule=data)


def test_a_step_that_is_left_out_moves_nothing_and_is_counted(make_data, tiny_backbone, funnel, tmp_path):
    module, trainer, data = trained(make_data, tiny_backbone, funnel, tmp_path, skip_nonfinite=1)
    states = []
    end = module.optimizer_step

    def noted(*arguments, **keywords):
        end(*arguments, **keywords)
        optimizer = trainer.optimizers[0]
        moments = [state["exp_avg"].clone() for state in optimizer.state.values()]
        states.append(([p.detach().clone() for p in module.parameters()], moments, module.steps_taken))

    module.optimizer_step = noted
    trainer.fit(module, datamodule=data)
    assert module.finite.taken_out == 1
    assert [taken for *_, taken in states] == [1, 2, 2, 3, 4, 5, 6, 7]
    for before, after in zip(states[1][:2], states[2][:2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(states[2][0], states[3][0], strict=True))
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_more_such_steps_than_allowed_stop_the_run(make_data, tiny_backbone, funnel, tmp_path):
    module, trainer, data = trained(make_data, tiny_backbone, funnel, tmp_path, skip_nonfinite=1)
    module.head.at = 3
    forward = module.head.forward

    def always(inputs):
        module.head.at = module.head.calls + 1
        return forward(inputs)

    module.head.forward = always
    with pytest.raises(FailedRunError, match=r"step 1 is not finite: .* \(1 steps were left out before\)"):
        trainer.fit(module, datamodule=data)


def test_a_model_that_predicts_what_is_not_finite_is_not_measured(make_data, tiny_backbone, funnel, tmp_path):
    module, trainer, data = trained(make_data, tiny_backbone, funnel, tmp_path, skip_nonfinite=1)
    trainer.fit(module, datamodule=data)
    with torch.no_grad():
        next(module.head.parameters()).fill_(float("nan"))
    rows = f"{len(data.rows('test')):,}"
    with pytest.raises(FailedRunError) as caught:
        trainer.test(module, datamodule=data, verbose=False)
    told = str(caught.value)
    assert told.startswith("test split: p_click")
    assert f"not finite in {rows} of {rows} rows: the model's weights predict such values, it has diverged" in told
    assert "(1 steps were left out of its training); lower optimizer.lr" in told


def test_adaloras_schedule_stands_still_at_a_step_left_out(make_data, tiny_backbone, funnel, tmp_path):
    tuning = AdaLoRA(target_rank=1, initial_rank=2, warmup_steps=1, final_steps=3, learning_rate=1e-2)
    module, trainer, data = trained(make_data, tiny_backbone, funnel, tmp_path, skip_nonfinite=1, tuning=tuning, at=2)
    trainer.fit(module, datamodule=data)
    assert tuning.state_dict()["steps_done"] == 7
    averages = tuning.state_dict()["exp_avg_ipt"]
    assert all(torch.isfinite(average).all() for average in averages.values())


def _alone(decision, **_):
    return decision


def _never(decision, **_):
    return False


def test_ranks_decide_together():
    guard = FiniteGuard(limit=1)
    assert not guard.passes(torch.tensor(1.0), 0, _never)  # another rank's loss was not finite
    assert guard.taken_out == 1
    assert guard.passes(torch.tensor(1.0), 1, _alone)
    assert not guard.took_out_last
