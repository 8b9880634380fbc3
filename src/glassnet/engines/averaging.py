"""The moving average of a network's weights over the steps of a training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import GlassnetError

Array = NDArray[Any]
SUFFIX = "/average"  # of the keys in a trainer's state
STEPS = f"steps{SUFFIX}"  # key of the number of steps


class WeightAverage(ABC):
    """Exponential moving averages a of parameters and running statistics w (Polyak & Juditsky 1992), after step t::

        a = d·a + (1 − d)·w        d = min(decay, (1 + t)/(10 + t))

    At first a = w. The smaller d of the first steps lets the initial weights fade in short trainings, too: the average
    is over about the last ninth of the steps until it reaches ``decay``. So does TensorFlow's ExponentialMovingAverage
    with ``num_updates``; that running statistics are averaged is as in timm's ModelEmaV2.
    """

    def __init__(self, decay: float, tensors: Mapping[str, Any]) -> None:
        """Start from the present values.

        :param tensors: the engine's own tensors by key, which training steps change in place.
        """
        self.decay, self.tensors = decay, dict(tensors)
        self.restart()

    def restart(self) -> None:
        """Start again from the present values."""
        self.steps = 0
        self.averages = self._copies()

    def update(self) -> None:
        """Take in the values after a step."""
        self.steps += 1
        self._move(1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in place of the network's own values while the context lasts."""
        own = self._copies()
        self._assign(self.tensors, self.averages)
        try:
            yield
        finally:
            self._assign(self.tensors, own)

    def state(self) -> dict[str, Array]:
        """Return copies of the averages under ``KEY/average``, and the number of steps under ``steps/average``."""
        averages = {f"{key}{SUFFIX}": self._to_array(average) for key, average in self.averages.items()}
        return averages | {STEPS: np.array(self.steps, np.int64)}

    def checked(self, state: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the state.

        :raises GlassnetError: if it is not one that ``state`` returned.
        """
        own = self.state()
        if missing := own.keys() ^ state.keys():
            raise GlassnetError(f"The averaged weights must be {', '.join(own)}. Got {min(missing)} in one alone.")
        for path, array in state.items():
            is_valid = array.shape == own[path].shape and array.dtype.kind in "fiu" and np.isfinite(array).all()
            if not (is_valid and (path != STEPS or array >= 0)):
                shape = own[path].shape
                raise GlassnetError(f"{path} must be finite numbers of shape {shape}. Got {array.dtype} {array.shape}.")
        return state

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copy in what ``checked`` returned; nothing at all restarts."""
        if state:
            self.steps = int(state[STEPS])
            self._assign(self.averages, {key: state[f"{key}{SUFFIX}"] for key in self.averages})
        else:
            self.restart()

    @abstractmethod
    def _move(self, rate: float) -> None:
        """Move each average by this fraction of its distance to the present value."""

    @abstractmethod
    def _copies(self) -> dict[str, Any]:
        """Return copies of the tensors."""

    @abstractmethod
    def _assign(self, tensors: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Copy values into tensors."""

    @abstractmethod
    def _to_array(self, average: Any) -> Array:
        """Return a copy in C order."""


class ArrayAverage(WeightAverage):
    """The average of NumPy arrays."""

    def _move(self, rate: float) -> None:
        for key, average in self.averages.items():
            average += rate * (self.tensors[key] - average)

    def _copies(self) -> dict[str, Array]:
        return {key: array.copy(order="K") for key, array in self.tensors.items()}

    def _assign(self, tensors: Mapping[str, Array], values: Mapping[str, Array]) -> None:
        for key, array in tensors.items():
            array[...] = values[key]

    def _to_array(self, average: Array) -> Array:
        return np.array(average, order="C")
