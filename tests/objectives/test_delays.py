"""Labels that come late: Chapelle's likelihood, and what it recovers where counting them as negatives is too low."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives import EntireSpaceBCE, MaskedBCE, RowLoss
from funneltune.objectives.delays import delay_nll
from pages import batch_of, output_of, sigmoid

LATE = TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"], "window": 14.0}})


def both(p, rate, label, delay, elapsed, window):
    arguments = [torch.tensor(each, dtype=torch.float64) for each in (np.log(p), np.log(rate), label, delay, elapsed)]
    return delay_nll(*arguments, window).numpy()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    n = 60
    label = (rng.random(n) < 0.5).astype(float)
    delay = np.where(label == 1, rng.uniform(0.1, 9.0, n), np.nan)
    return rng.uniform(0.05, 0.95, n), rng.uniform(0.05, 2.0, n), label, delay, rng.uniform(0.1, 20.0, n)


def test_without_a_window_it_is_the_papers_likelihood(rows):
    p, rate, label, delay, elapsed = rows
    came = np.log(p) + np.log(rate) - rate * delay
    not_yet = np.log(1 - p + p * np.exp(-rate * elapsed))
    expected = -np.where(label == 1, came, not_yet)
    np.testing.assert_allclose(both(*rows, window=np.inf), expected, rtol=1e-5)


def test_with_a_window_the_delay_is_cut_off_there(rows):
    p, rate, label, delay, elapsed = rows
    within = 1 - np.exp(-rate * 10.0)
    came = np.log(p) + np.log(rate) - rate * delay - np.log(within)
    still = np.where(elapsed < 10.0, (np.exp(-rate * elapsed) - np.exp(-rate * 10.0)) / within, 0.0)
    expected = -np.where(label == 1, came, np.log(1 - p + p * still))
    np.testing.assert_allclose(both(*rows, window=10.0), expected, rtol=1e-4)


def test_a_long_window_is_no_window(rows):
    np.testing.assert_allclose(both(*rows, window=1e6), both(*rows, window=np.inf), rtol=1e-6)


def test_what_is_seen_by_a_time_has_probability_one_in_all(rows):
    p, rate, elapsed = 0.3, 0.4, 6.0
    delays = np.linspace(0, elapsed, 20_001)[1:] - elapsed / 40_000
    n = len(delays)
    density = np.exp(-both(np.full(n, p), np.full(n, rate), np.ones(n), delays, np.full(n, elapsed), 10.0))
    none = np.exp(-both([p], [rate], [0.0], [0.0], [elapsed], 10.0))[0]
    assert density.mean() * elapsed + none == pytest.approx(1.0, abs=1e-4)


def test_gradients_are_finite_at_the_edges():
    log_p = torch.full((4,), -0.5, requires_grad=True)
    log_rate = torch.tensor([0.0, 50.0, -50.0, 0.0], requires_grad=True)
    elapsed = torch.tensor([0.0, 14.0, 3.0, 30.0])
    label, delay = torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([torch.nan, torch.nan, 0.0, torch.nan])
    delay_nll(log_p, log_rate, label, delay, elapsed, 14.0).sum().backward()
    assert log_p.grad.isfinite().all()
    assert log_rate.grad.isfinite().all()


# --- objectives ------------------------------------------------------------------------------------------------


def log_with_delays(n=30_000, seed=0):
    """Clicks of two groups at all ages up to 20 days; purchases after an exponential delay cut off at 14 days."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    click = (rng.random(n) < np.where(group == 1, 0.6, 0.4)).astype(float)
    p, rate = np.where(group == 1, 0.5, 0.2), np.where(group == 1, 0.1, 0.3)
    will = click * (rng.random(n) < p)
    delay = -np.log1p(-rng.random(n) * (1 - np.exp(-rate * 14.0))) / rate
    elapsed = rng.uniform(0, 20, n)
    came = will * (delay <= elapsed)
    columns = {"elapsed_purchase": elapsed, "delay_purchase": np.where(came == 1, delay, np.nan)}
    return batch_of(LATE, {"click": click, "purchase": came}, columns=columns), group, will


def fitted(objective, batch, group, steps=200):
    """Logits and log-rates by group, fitted to the whole log; returns p(purchase | click) of each group."""
    logits = torch.zeros(2, 2, requires_grad=True)
    log_rate = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([logits, log_rate], lr=0.1)
    group = torch.tensor(group)
    for _ in range(steps):
        optimizer.zero_grad()
        found = output_of(
            {"click": logits[0][group], "purchase": logits[1][group]}, {"delay/purchase": log_rate[group]}
        )
        objective(batch, found).total().backward()
        optimizer.step()
    return sigmoid(logits[1].detach()), np.exp(log_rate.detach().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("objective", [MaskedBCE, EntireSpaceBCE])
def test_the_model_recovers_the_rates_that_negatives_underestimate(objective):
    batch, group, will = log_with_delays()
    clicked = batch.labels["click"].numpy() == 1
    truth = [will[clicked & (group == g)].mean() for g in (0, 1)]
    modelled, rate = fitted(objective(LATE, delayed="model"), batch, group)
    negative, _ = fitted(objective(LATE, delayed="negative"), batch, group)
    np.testing.assert_allclose(modelled, truth, atol=0.03)
    np.testing.assert_allclose(rate, [0.3, 0.1], rtol=0.25)
    assert (negative < 0.85 * np.array(truth)).all()


def test_tasks_with_a_window_ask_for_a_tower_of_delays():
    assert MaskedBCE(LATE, delayed="model").needs.towers == ("delay/purchase",)
    assert MaskedBCE(LATE, delayed="model").needs.delayed == "model"
    assert MaskedBCE(LATE).needs.towers == ()


def test_tasks_without_a_window_keep_their_cross_entropy(funnel):
    batch, _, _ = log_with_delays(200)
    output = output_of({"click": torch.randn(200), "purchase": torch.randn(200)})
    assert MaskedBCE(funnel, delayed="model")(batch, output).total() == MaskedBCE(funnel)(batch, output).total()


def test_a_model_of_delays_is_no_likelihood_of_rows_drawn_by_their_labels():
    assert MaskedBCE(LATE).resamples
    assert not MaskedBCE(LATE, delayed="model").resamples


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delayed": "wait"}, "objective.delayed='wait' must be one of drop, negative, model"),
        ({"delayed": "model", "rows": RowLoss(focal_gamma=1.0)}, "leave objective.rows as it is"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MaskedBCE(LATE, **options)


def test_a_task_behind_a_late_one_is_refused():
    funnel = TaskFunnel.from_config(
        {"click": {}, "purchase": {"given": ["click"], "window": 7.0}, "return": {"given": ["purchase"]}}
    )
    with pytest.raises(ConfigError, match="delayed=model cannot reach tasks.return: purchase, on the way to it"):
        MaskedBCE(funnel, delayed="model")
