"""Parts of a batch in the NumPy engine: gradients and batch statistics of each in one vector, added along a tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn

Array = NDArray[Any]


class PartSums:
    """The gradients of a part, and the mean and unbiased variance of each BatchNorm layer, in one ``vector``.

    The parameters' ``grad`` are views of the vector and, within a step, so are the layers' running statistics. With a
    momentum of 1 a layer's running statistics are those of the part. The layers' own are updated once a step.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], norms: Iterable[nn.BatchNorm2d]) -> None:
        """Allocate the vector.

        :param norms: the layers that are in training mode.
        """
        parameters, self.norms = list(parameters), list(norms)
        self._momenta = [norm.momentum for norm in self.norms]
        self._buffers = [{name: getattr(norm, name) for name in norm.buffer_names} for norm in self.norms]
        statistics = [buffers[name] for buffers in self._buffers for name in ("running_mean", "running_var")]
        arrays = [*(parameter.data for parameter in parameters), *statistics]
        self.vector = np.zeros(sum(array.size for array in arrays), arrays[0].dtype)
        stops = np.cumsum([array.size for array in arrays]).tolist()
        views = [_view(self.vector[stop - array.size : stop], array) for array, stop in zip(arrays, stops, strict=True)]
        for parameter, view in zip(parameters, views, strict=False):
            parameter.grad = view
        moments = views[len(parameters) :]
        self.statistics = self.vector[stops[len(parameters) - 1] :]
        self._moments = list(zip(moments[::2], moments[1::2], strict=True))

    def start(self) -> None:
        """Let the next backward passes and BatchNorm layers fill the vector."""
        self.vector[...] = 0
        for norm, (mean, var) in zip(self.norms, self._moments, strict=True):
            norm.momentum = 1.0
            norm.running_mean, norm.running_var = mean, var
            norm.num_batches_tracked = np.array(0, np.int64)

    def pop(self, image_fraction: float) -> Array:
        """Return the gradients of a part, and its statistics by its fraction of the batch's images; zero the vector."""
        self.statistics *= image_fraction
        value = self.vector.copy()
        self.vector[...] = 0
        return value

    def stop(self) -> None:
        """Give the BatchNorm layers their own running statistics back."""
        for norm, momentum, buffers in zip(self.norms, self._momenta, self._buffers, strict=True):
            norm.momentum = momentum
            vars(norm).update(buffers)

    def apply(self, total: Array) -> None:
        """Take the sums of all parts: as gradients, and for one update of the running statistics."""
        self.vector[...] = total
        for norm, (mean, var) in zip(self.norms, self._moments, strict=True):
            norm.num_batches_tracked += 1
            momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            for running, new in ((norm.running_mean, mean), (norm.running_var, var)):
                running *= 1 - momentum
                running += momentum * new


def _view(flat: Array, like: Array) -> Array:
    """Return the numbers of a flat array as an array of the shape and memory order of another one."""
    axes = np.argsort([-stride for stride in like.strides], kind="stable")
    return flat.reshape([like.shape[axis] for axis in axes]).transpose(np.argsort(axes))
