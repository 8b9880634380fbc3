"""The optimizers of the PyTorch engine: torch.optim's update rules, with their state under parameter keys.

They are called as functions: the first use of torch.optim's classes imports torch._dynamo, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from glassnet.engines.torch_inputs import to_array
from glassnet.engines.trainer import check_optimizer_state, param_groups
from glassnet.recipe import Recipe

Array = NDArray[Any]


class TorchOptimizer:
    """SGD, Adam or AdamW with a recipe's hyperparameters and torch's other defaults.

    torch.amp.GradScaler needs ``param_groups`` and ``step`` of an optimizer.
    """

    def __init__(self, recipe: Recipe, parameters: Mapping[str, torch.nn.Parameter]) -> None:
        self.recipe, self.parameters, self.lr = recipe, dict(parameters), recipe.lr
        self.param_groups = param_groups(recipe, self.parameters)
        self.tensors: dict[Tensor, dict[str, Tensor]] = {parameter: {} for parameter in self.parameters.values()}

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [parameter.grad for parameter in parameters]
            update = self._sgd if self.recipe.optimizer == "sgd" else self._adam
            options = {"lr": self.lr * group["lr_factor"], "weight_decay": group["weight_decay"]}
            update(parameters, gradients, options)

    def _sgd(self, parameters: list[Tensor], gradients: list[Tensor], options: Any) -> None:
        buffers = [self.tensors[parameter].get("momentum_buffer") for parameter in parameters]
        momentum, nesterov = self.recipe.momentum, self.recipe.nesterov
        options |= {"momentum": momentum, "nesterov": nesterov}
        sgd(parameters, gradients, buffers, **options, dampening=0, maximize=False)
        for parameter, buffer in zip(parameters, buffers, strict=True):
            if buffer is not None:  # sgd creates the buffers in its list
                self.tensors[parameter]["momentum_buffer"] = buffer

    def _adam(self, parameters: list[Tensor], gradients: list[Tensor], options: Any) -> None:
        for parameter in parameters:
            if not self.tensors[parameter]:
                zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.tensors[parameter] = {"step": torch.zeros(()), **zeros}  # torch keeps the step on the CPU
        tensors: dict[str, Any] = {
            name: [self.tensors[parameter][key] for parameter in parameters]
            for name, key in (("exp_avgs", "exp_avg"), ("exp_avg_sqs", "exp_avg_sq"), ("state_steps", "step"))
        }
        options |= {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False, "maximize": False}
        update = adam if self.recipe.optimizer == "adam" else adamw
        update(parameters, gradients, max_exp_avg_sqs=[], **tensors, **options)

    def state(self) -> dict[str, Array]:
        """Return copies of the state, under ``Trainer.state``'s keys."""
        return {
            f"{key}/{name}": to_array(tensor)
            for key, parameter in self.parameters.items()
            for name, tensor in self.tensors[parameter].items()
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copy in a state.

        :raises GlassnetError: as ``Trainer.load_state``.
        """
        shapes = {key: tuple(parameter.shape) for key, parameter in self.parameters.items()}
        dtype = to_array(next(iter(self.parameters.values()))[:0]).dtype
        loaded = check_optimizer_state(self.recipe, shapes, dtype, state)
        for key, parameter in self.parameters.items():
            self.tensors[parameter] = {
                name: torch.zeros_like(parameter).copy_(torch.from_numpy(array)).detach()
                if array.ndim
                else torch.from_numpy(array).to(torch.float32)
                for name, array in loaded.get(key, {}).items()
            }
