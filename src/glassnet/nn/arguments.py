"""Checks of what layers are constructed with and called on; each says what is allowed and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError, ShapeError

Pair = tuple[int, int]


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integer(layer: str, name: str, value: Any, minimum: int = 1) -> int:
    """``value`` as an int of at least ``minimum``."""
    if not _is_int(value) or value < minimum:
        raise ConfigError(f"The {name} of {layer} must be an int of at least {minimum}. Got {value!r}.")
    return int(value)


def pair(layer: str, name: str, value: Any, minimum: int = 1) -> Pair:
    """``value``, an int or a (vertical, horizontal) pair of ints, as a pair."""
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2 or not all(_is_int(v) and v >= minimum for v in values):
        raise ConfigError(
            f"The {name} of {layer} must be an int or a pair of ints of at least {minimum}. Got {value!r}."
        )
    return int(values[0]), int(values[1])


def probability(layer: str, name: str, value: Any) -> float:
    if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ConfigError(f"The {name} of {layer} must be a number between 0 and 1. Got {value!r}.")
    return float(value)


def images(layer: str, x: NDArray[Any], channels: int | None = None) -> None:
    """x must be (N, C, H, W), with ``channels`` channels where that is given; only N may be 0."""
    if x.ndim != 4 or (channels is not None and x.shape[1] != channels) or 0 in x.shape[1:]:
        allowed = f"(N, {channels if channels is not None else 'C'}, H, W)"
        empty = ", of which only N may be 0" if x.ndim == 4 and 0 in x.shape[1:] else ""
        raise ShapeError(f"{layer} takes images of shape {allowed}{empty}. Got {x.shape}.")


def gradient(layer: str, dy: NDArray[Any], output: tuple[int, ...]) -> None:
    """dy must have the output's shape: another that NumPy can broadcast would give numbers, all wrong."""
    if dy.shape != output:
        raise ShapeError(f"{layer}.backward takes a gradient of the output's shape {output}. Got {dy.shape}.")
