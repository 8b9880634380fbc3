import math

import numpy as np
import pytest

from glassnet.doctor.loss_range import loss_range
from glassnet.nn import CrossEntropyLoss

COUNTS, WEIGHTS = np.array([3, 1, 2]), np.array([0.5, 2.0, 1.0])


def test_loss_range_without_smoothing_is_0_and_the_logarithm_of_the_classes() -> None:
    assert loss_range(np.ones(10), np.ones(10), 0.0) == pytest.approx((0, math.log(10)))
    assert loss_range(COUNTS, WEIGHTS, 0.0) == pytest.approx((0, math.log(3)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("weights", [np.ones(3), WEIGHTS, np.array([1.0, 0.0, 2.0])])
def test_loss_range_is_the_loss_of_the_best_and_of_equal_logits(smoothing: float, weights: np.ndarray) -> None:
    counts = COUNTS * (weights > 0)
    labels = np.repeat(np.arange(3), counts)
    loss = CrossEntropyLoss(smoothing, weights)
    minimum, chance = loss_range(counts, weights, smoothing)
    assert chance == pytest.approx(loss(np.zeros((len(labels), 3)), labels))
    targets = weights * ((1 - smoothing) * np.eye(3) + smoothing / 3)
    best = np.log(np.maximum(targets / np.maximum(targets.sum(axis=1, keepdims=True), 1e-300), 1e-300))[labels]
    assert minimum == pytest.approx(loss(best, labels), abs=1e-12)
    rng = np.random.default_rng(0)
    assert minimum <= min(loss(best + 0.1 * rng.standard_normal(best.shape), labels) for _ in range(20))
