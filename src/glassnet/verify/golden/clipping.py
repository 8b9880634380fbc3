"""Clipping of gradients by their common norm, as torch.nn.utils.clip_grad_norm_ does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
EPS = 1e-6  # torch adds it to the norm


def clipped(gradients: Mapping[str, Array], limit: float) -> Mapping[str, Array]:
    """Return gradients, scaled down together if their L2 norm is above a limit."""
    norm = total_norm(gradients)
    scale = type(norm)(limit) / (norm + type(norm)(EPS))
    return {key: gradient * scale for key, gradient in gradients.items()} if scale < 1 else gradients


def total_norm(gradients: Mapping[str, Array]) -> Any:
    """Return the L2 norm of all gradients together, added one after the other: the order that rounds most."""
    squares = [np.square(gradient).ravel() for gradient in gradients.values()]
    return np.sqrt(np.cumsum(np.concatenate(squares))[-1])
