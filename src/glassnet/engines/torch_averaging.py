"""The moving average of weights in the PyTorch engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.engines.averaging import WeightAverage
from glassnet.engines.torch_inputs import to_array


class TensorAverage(WeightAverage):
    """The average of torch tensors, on their device; all of them move in a few kernels."""

    @classmethod
    def of_module(cls, decay: float, module: torch.nn.Module, without: tuple[str, ...]) -> Self:
        """Return the average of a module's parameters and floating-point buffers.

        :param without: beginnings of the keys that are left out.
        """
        tensors = module.state_dict(keep_vars=True).items()
        averaged = {key: value for key, value in tensors if value.is_floating_point() and not key.startswith(without)}
        return cls(decay, averaged)

    def _move(self, rate: float) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averages.values()), list(self.tensors.values()), rate)

    def _copies(self) -> dict[str, Tensor]:
        return {key: tensor.detach().clone() for key, tensor in self.tensors.items()}

    def _assign(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for key, tensor in tensors.items():
                tensor.copy_(torch.as_tensor(values[key]))

    def _to_array(self, average: Tensor) -> NDArray[Any]:
        return to_array(average)
