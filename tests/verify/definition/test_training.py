import numpy as np
import pytest
import torch

from glassnet.recipe import Recipe
from glassnet.verify.definition.training import class_weights, defined_rates


@pytest.mark.parametrize("steps", [7, 100])
def test_defined_rates_are_those_of_torch(steps: int) -> None:
    schedulers = torch.optim.lr_scheduler

    def rates(make: object) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        scheduler = make(optimizer)  # type: ignore[operator]
        taken = []
        for _ in range(steps):
            taken.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(taken) < steps:
                scheduler.step()
        return taken

    cosine = rates(lambda optimizer: schedulers.CosineAnnealingLR(optimizer, steps))
    one_cycle = rates(lambda optimizer: schedulers.OneCycleLR(optimizer, 0.3, steps, cycle_momentum=False))
    assert defined_rates(Recipe(lr=0.3, schedule="cosine"), steps) == pytest.approx(cosine)
    assert defined_rates(Recipe(lr=0.3, schedule="one-cycle"), steps) == pytest.approx(one_cycle)


def test_defined_rates_by_hand() -> None:
    assert defined_rates(Recipe(lr=1.0, schedule="step"), 8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    warm = defined_rates(Recipe(lr=1.0, schedule="step", warmup=2.0, epochs=10), 10)
    assert warm == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_class_weights_give_each_class_the_same_total() -> None:
    weights = class_weights(Recipe(class_weights="balanced"), torch.tensor([0, 0, 0, 1]), 3)
    assert weights is not None
    np.testing.assert_allclose(weights.numpy(), [4 / 9, 4 / 3, 0])
    assert class_weights(Recipe(), torch.tensor([0]), 3) is None
