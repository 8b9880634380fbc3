"""Checks of the arguments that layers are constructed with and called on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn.functional import Pair


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_int(subject: str, value: Any, minimum: int = 1) -> int:
    """Return ``value`` as an int.

    :raises ConfigError: if it is not an integer of at least ``minimum``.
    """
    if not _is_int(value) or value < minimum:
        raise ConfigError(f"{subject} must be an integer of at least {minimum}. Got {value!r}.")
    return int(value)


def check_pair(subject: str, value: Any, minimum: int = 1) -> Pair:
    """Return ``value``, an int or a (vertical, horizontal) pair of ints, as a pair.

    :raises ConfigError: if it is neither, or an integer is below ``minimum``.
    """
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2 or not all(_is_int(v) and v >= minimum for v in values):
        raise ConfigError(f"{subject} must be an integer or a pair of integers of at least {minimum}. Got {value!r}.")
    return int(values[0]), int(values[1])


def check_probability(subject: str, value: Any) -> float:
    """Return ``value`` as a float.

    :raises ConfigError: if it is not a number between 0 and 1.
    """
    if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ConfigError(f"{subject} must be a number between 0 and 1. Got {value!r}.")
    return float(value)


def check_images(layer: str, x: NDArray[Any], channels: int | None = None) -> None:
    """Check the shape of the input x of a layer.

    :raises ShapeError: if it is not (N, C, H, W), if C is not ``channels`` (None allows any), or if C, H or W is 0.
    """
    if x.ndim != 4 or (channels is not None and x.shape[1] != channels) or 0 in x.shape[1:]:
        shape = f"(N, {channels if channels is not None else 'C'}, H, W)"
        empty = ", of which only N may be 0" if x.ndim == 4 and 0 in x.shape[1:] else ""
        raise ShapeError(f"input of {layer} must have shape {shape}{empty}. Got {x.shape}.")


def check_gradient_shape(layer: str, dy: NDArray[Any], output: tuple[int, ...]) -> None:
    """Check that dy has the output's shape. A shape that broadcasts would silently give wrong gradients.

    :raises ShapeError: if it has another shape.
    """
    if dy.shape != output:
        raise ShapeError(f"dy of {layer}.backward must have the output's shape {output}. Got {dy.shape}.")
