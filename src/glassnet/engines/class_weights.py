"""Weights of the classes in the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError
from glassnet.recipe import Recipe


def class_weights(recipe: Recipe, labels: NDArray[Any] | None, classes: int) -> NDArray[np.float64] | None:
    """Return the weight of each class, float64 (classes,), or None if the recipe weighs none.

    :param labels: the labels of the training images (N,), integers from 0 to classes − 1.
    :raises ConfigError: if the recipe's weights need labels, and there are none.
    """
    if recipe.class_weights == "none":
        return None
    if labels is None:
        raise ConfigError("labels must be those of the training images with class_weights balanced. Got None.")
    return balanced_weights(np.bincount(labels, minlength=classes))


def balanced_weights(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return N / (K · n_c) for each of K classes with n_c of N images, as scikit-learn's ``class_weight="balanced"``.

    The images of one class weigh as much together as those of another. A class without images has weight 0.

    :param counts: number of images of each class (K,).
    """
    weights = np.zeros(len(counts))
    np.divide(counts.sum(), len(counts) * counts, out=weights, where=counts > 0)
    return weights
