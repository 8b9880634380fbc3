"""The tensors of a parity check, computed by definition, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from glassnet.data import make_rng
from glassnet.errors import GlassnetError
from glassnet.verify.definition.network import DefinedPass
from glassnet.verify.definition.training import DefinedTraining, defined_rates
from glassnet.verify.golden.cases import GoldenCase

Array = NDArray[Any]
Group = tuple[str, Mapping[str, Array]]


def compute_defined_groups(case: GoldenCase, state: Mapping[str, Array]) -> Iterator[Group]:
    """Yield what ``compute_groups`` yields of an engine, group by group, under the same names.

    :param state: ``case.state()``.
    :raises GlassnetError: if the case's weights are not those of its spec.
    """
    yield from _Definition(case, state).groups()


class _Definition:
    def __init__(self, case: GoldenCase, state: Mapping[str, Array]) -> None:
        self.case, (self.images, self.labels) = case, case.batch()
        self.state = {
            key: array.astype(case.dtype) if array.dtype.kind == "f" else array for key, array in state.items()
        }
        self.x = torch.from_numpy(self.images.astype(np.float64))
        self.targets = torch.from_numpy(self.labels)
        self.rng = make_rng(case.seed, "dropout")

    def tensors(self) -> dict[str, Tensor]:
        """Return the state at first, as new tensors."""
        return {
            key: torch.from_numpy(array.astype(np.float64) if array.dtype.kind == "f" else array.copy())
            for key, array in self.state.items()
        }

    def groups(self) -> Iterator[Group]:
        yield "inputs", {"images": self.images, "labels": self.labels}
        yield "inputs/state", self.state
        with torch.no_grad():
            evaluated = DefinedPass(self.case.spec, self.tensors(), training=False)
            evaluated.logits(self.x)
        if extra := self.state.keys() - evaluated.keys:
            raise GlassnetError(
                f"The weights of {self.case.spec.preset} must be those of its definition. Got {min(extra)}."
            )
        yield "eval/activations", _arrays(evaluated.tensors)
        yield from self.trace()
        if self.case.steps:
            yield from self.train()

    def mask(self) -> Tensor | None:
        """Draw the factors of dropout for the whole batch, as float64 (N, features)."""
        p = self.case.spec.dropout
        if not p:
            return None
        shape = self.images.shape[0], self.state["fc.weight"].shape[1]
        return torch.from_numpy((self.rng.random(shape) >= p) / (1 - p))

    def trace(self) -> Iterator[Group]:
        """Yield a pass in training mode, forward and backward; dropout's generator stays as it is."""
        state, before = self.tensors(), self.rng.bit_generator.state
        weights = {key: tensor.requires_grad_() for key, tensor in state.items() if _is_weight(key)}
        passed = DefinedPass(self.case.spec, state, training=True, mask=self.mask())
        self.rng.bit_generator.state = before
        loss = functional.cross_entropy(passed.logits(self.x), self.targets)
        wrt = [*passed.tensors.values(), *weights.values()]
        gradients = torch.autograd.grad(loss, wrt)
        count = len(passed.tensors)
        yield "train/activations", _arrays(passed.tensors)
        yield "train/buffers", _arrays({key: tensor for key, tensor in state.items() if not _is_weight(key)})
        yield "train", {"loss": loss.detach().numpy()}
        yield "train/activation_gradients", _arrays(dict(zip(passed.tensors, gradients[:count], strict=True)))
        yield "train/gradients", _arrays(dict(zip(weights, gradients[count:], strict=True)))

    def train(self) -> Iterator[Group]:
        """Take the case's steps."""
        state = self.tensors()
        weights = {key: tensor for key, tensor in state.items() if _is_weight(key)}
        buffers = {key: tensor for key, tensor in state.items() if not _is_weight(key)}
        mask: Tensor | None = None

        def logits(tensors: Mapping[str, Tensor], rows: slice) -> Tensor:
            part = None if mask is None else mask[rows]
            return DefinedPass(self.case.spec, tensors, training=True, mask=part).logits(self.x[rows])

        training = DefinedTraining(self.case.recipe, weights, buffers, self.targets, self.case.spec.classes, logits)
        for number, rate in enumerate(defined_rates(self.case.recipe, self.case.steps)):
            mask = self.mask()
            loss, gradients = training.step(rate)
            if number == 0:
                yield "steps/1", {"loss": np.array(loss)}
                yield "steps/1/gradients", _arrays(gradients)
                yield "steps/1/state", _arrays({**training.weights, **training.buffers})
        yield "steps/state", _arrays({**training.weights, **training.buffers})
        yield from self.optimizer_arrays(training)

    def optimizer_arrays(self, training: DefinedTraining) -> Iterator[Group]:
        """Yield the optimizer's arrays and the moving averages."""
        names = {"sgd": ["momentum_buffer"] if self.case.recipe.momentum else []}
        for name in names.get(self.case.recipe.optimizer, ["step", "exp_avg", "exp_avg_sq"]):
            if name == "step":
                yield f"steps/{name}", {key: np.array(float(training.steps)) for key in training.weights}
            else:
                yield f"steps/{name}", _arrays(training.arrays[name])
        if training.averages:
            yield "steps/average", {**_arrays(training.averages), "steps": np.array(training.steps)}


def _is_weight(key: str) -> bool:
    return key.rpartition(".")[2] in ("weight", "bias")


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}
