from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from glassnet.recipe import Recipe
from glassnet.training.schedule import learning_rates

STEPS = [1, 2, 3, 4, 5, 7, 10, 11, 30, 220]


def torchs(kind: Callable[..., Any], steps: int, lr: float, **arguments: Any) -> NDArray[np.float64]:
    """The rate that each step is taken with."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule = kind(optimizer, **arguments)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < steps:  # OneCycleLR counts the steps that it was asked for
            schedule.step()
    return np.array(rates)


@pytest.mark.parametrize("steps", STEPS)
def test_cosine_is_torchs(steps: int) -> None:
    ours = learning_rates(Recipe(schedule="cosine", lr=0.3), steps)
    theirs = torchs(torch.optim.lr_scheduler.CosineAnnealingLR, steps, 0.3, T_max=steps)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", STEPS)
def test_one_cycle_is_torchs(steps: int) -> None:
    ours = learning_rates(Recipe(schedule="one-cycle", lr=0.3), steps)
    theirs = torchs(
        torch.optim.lr_scheduler.OneCycleLR, steps, 0.3, max_lr=0.3, total_steps=steps, cycle_momentum=False
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", STEPS)
def test_constant(steps: int) -> None:
    assert learning_rates(Recipe(lr=0.3), steps).tolist() == [0.3] * steps


def test_step_falls_after_half_and_three_quarters() -> None:
    assert learning_rates(Recipe(schedule="step", lr=1), 12).tolist() == [1] * 6 + [0.1] * 3 + [0.01] * 3
    assert learning_rates(Recipe(schedule="step", lr=1), 5).tolist() == [1, 1, 1, 0.1, 0.01]


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
@pytest.mark.parametrize("steps", STEPS)
def test_every_rate_lies_between_nothing_and_lr(schedule: str, steps: int) -> None:
    rates = learning_rates(Recipe(schedule=schedule, lr=0.3), steps)
    assert rates.shape == (steps,)
    assert rates.dtype == np.float64
    assert (rates > 0).all()
    assert (rates <= 0.3).all()


def test_one_cycle_rises_then_falls() -> None:
    rates = learning_rates(Recipe(schedule="one-cycle", lr=0.3), 220)
    assert rates.argmax() == 65  # 30 % of the steps
    assert (np.diff(rates[:66]) > 0).all()
    assert (np.diff(rates[65:]) < 0).all()
    assert rates[0] == pytest.approx(0.3 / 25)
    assert rates[-1] == pytest.approx(0.3 / 250_000)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("epochs", [0.25, 1, 3.9])
def test_learning_rates_with_warmup_are_torchs(epochs: float, steps: int) -> None:
    n_warmup = round(epochs / 4 * steps)
    ours = learning_rates(Recipe(schedule="cosine", lr=0.3, warmup=epochs, epochs=4), steps)
    scheduler = torch.optim.lr_scheduler

    def sequence(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        ramp = scheduler.LinearLR(optimizer, 1 / (n_warmup + 1), total_iters=n_warmup)
        cosine = scheduler.CosineAnnealingLR(optimizer, T_max=steps - n_warmup)
        return scheduler.SequentialLR(optimizer, [ramp, cosine], milestones=[n_warmup])

    if 0 < n_warmup < steps:  # torch has no sequence of one
        np.testing.assert_allclose(ours, torchs(sequence, steps, 0.3), rtol=1e-9, atol=1e-12)
    assert ours.shape == (steps,)


def test_warmup_rises_linearly_from_0_and_the_schedule_extends_over_the_other_steps() -> None:
    rates = learning_rates(Recipe(schedule="step", lr=1, warmup=2, epochs=6), 24)
    np.testing.assert_allclose(rates[:8], np.arange(1, 9) / 9, rtol=1e-15)
    assert rates[8:].tolist() == [1] * 8 + [0.1] * 4 + [0.01] * 4


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_warmup_of_less_than_half_a_step_changes_nothing(schedule: str) -> None:
    changed = learning_rates(Recipe(schedule=schedule, warmup=0.04), 100)
    np.testing.assert_array_equal(changed, learning_rates(Recipe(schedule=schedule), 100))
