"""The learning rate of every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.recipe import Recipe


def learning_rates(recipe: Recipe, steps: int) -> NDArray[np.float64]:
    """Return the learning rate of each of ``steps`` steps, float64 (steps,). The recipe's ``lr`` is the peak.

    - constant: lr.
    - step: a tenth after half of the steps, a hundredth after three quarters (He et al. 2015, sec. 4.2).
    - cosine: from lr to 0 along half a cosine (Loshchilov & Hutter 2017, eq. 5), as torch's CosineAnnealingLR.
    - one-cycle: up from lr/25 over 30 % of the steps, then down to lr/250,000 (Smith & Topin 2018), as torch's
      OneCycleLR with its defaults, but without cycling the momentum.

    With ``warmup`` the first n = warmup/epochs · steps steps, rounded, have lr/(n+1), 2·lr/(n+1), ..., n·lr/(n+1)
    (Goyal et al. 2017, sec. 2.2, from 0), and the schedule extends over the others: torch's LinearLR and the schedule
    in a SequentialLR.
    """
    n_warmup = round(recipe.warmup / recipe.epochs * steps)
    ramp = recipe.lr * np.arange(1, n_warmup + 1) / (n_warmup + 1)
    return np.concatenate([ramp, _schedule(recipe, steps - n_warmup)])


def _schedule(recipe: Recipe, steps: int) -> NDArray[np.float64]:
    """Return the learning rates of the schedule alone."""
    step = np.arange(steps, dtype=np.float64)
    if recipe.schedule == "step":
        return recipe.lr * np.where(step < steps / 2, 1.0, np.where(step < steps * 3 / 4, 0.1, 0.01))
    if recipe.schedule == "cosine":
        return _cosine(recipe.lr, 0, step / steps)
    if recipe.schedule == "one-cycle":
        first, peak, last = recipe.lr / 25, recipe.lr, recipe.lr / 250_000
        top = 0.3 * steps - 1  # may be below 0, or lie between two steps
        up = _cosine(first, peak, step / max(top, 1))
        down = _cosine(peak, last, (step - top) / (steps - 1 - top))
        return np.where(step <= top, up, down)
    return np.full(steps, recipe.lr)


def _cosine(start: float, end: float, fraction: NDArray[Any]) -> NDArray[Any]:
    """Return values from start to end along half a cosine, as fraction goes from 0 to 1."""
    return end + (start - end) / 2 * (1 + np.cos(np.pi * fraction))
