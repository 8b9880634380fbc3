"""The tensors of a golden case, listed in the order of the dataflow before they are computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from glassnet.verify.golden.cases import GoldenCase
from glassnet.verify.golden.operations import LOSS, Operation, operations

Direction = Literal["input", "forward", "backward", "update"]
ADAM_ARRAYS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class GoldenTensor:
    """A tensor of a bundle: its name, form and place in the network."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    operation: str | None  # whose output, parameter or buffer it belongs to; None of the batch
    direction: Direction

    @property
    def size(self) -> int:
        """Size of the numbers in bytes."""
        return prod(self.shape) * self.dtype.itemsize


def listed_tensors(case: GoldenCase) -> list[GoldenTensor]:
    """Return all tensors of a case in the order of the dataflow."""
    listing = _Listing(case)
    parts = [listing.inputs(), listing.evaluation_pass(), listing.training_pass()]
    return [tensor for part in [*parts, *map(listing.step, range(1, case.steps + 1))] for tensor in part]


class _Listing:
    def __init__(self, case: GoldenCase) -> None:
        self.case, self.float = case, np.dtype(case.dtype)
        *self.layers, self.loss = operations(case.spec)

    def tensor(
        self, name: str, shape: tuple[int, ...], operation: Operation | None, direction: Direction
    ) -> GoldenTensor:
        is_integer = name == "inputs/labels" or name.endswith("num_batches_tracked")
        kind = np.dtype(np.uint8) if name == "inputs/pixels" else np.dtype(np.int64) if is_integer else self.float
        return GoldenTensor(name, shape, kind, operation.name if operation else None, direction)

    def batch_shape(self, layer: Operation) -> tuple[int, ...]:
        """Return the shape of a layer's output for the batch."""
        return (self.case.batch_size, *layer.output_shape)

    def inputs(self) -> Iterator[GoldenTensor]:
        count, spec = self.case.batch_size, self.case.spec
        yield self.tensor("inputs/pixels", (count, *spec.size, spec.in_channels), None, "input")
        yield self.tensor("inputs/images", (count, spec.in_channels, *spec.size), None, "input")
        yield self.tensor("inputs/labels", (count,), None, "input")
        if self.case.recipe.class_weights != "none":
            yield self.tensor("inputs/class_weights", (spec.classes,), self.loss, "input")
        for layer in self.layers:
            for key, shape in {**layer.parameters, **layer.buffers}.items():
                yield self.tensor(f"inputs/state/{key}", shape, layer, "input")
        for step in range(1, max(self.case.steps, 1) + 1):
            for layer in self.layers:
                if layer.kind == "Dropout":
                    yield self.tensor(mask_name(layer.name, step), self.batch_shape(layer), layer, "input")

    def evaluation_pass(self) -> Iterator[GoldenTensor]:
        for layer in self.layers:
            yield self.tensor(f"eval/activations/{layer.name}", self.batch_shape(layer), layer, "forward")

    def training_pass(self) -> Iterator[GoldenTensor]:
        for layer in self.layers:
            yield self.tensor(f"train/activations/{layer.name}", self.batch_shape(layer), layer, "forward")
            for key, shape in layer.buffers.items():
                yield self.tensor(f"train/buffers/{key}", shape, layer, "forward")
        yield self.tensor(f"train/{LOSS}", (), self.loss, "forward")
        for layer in reversed(self.layers):
            name = f"train/activation_gradients/{layer.name}"
            yield self.tensor(name, self.batch_shape(layer), layer, "backward")
            yield from self.gradients("train", layer)

    def gradients(self, prefix: str, layer: Operation) -> Iterator[GoldenTensor]:
        for key, shape in layer.parameters.items():
            yield self.tensor(f"{prefix}/gradients/{key}", shape, layer, "backward")

    def step(self, step: int) -> Iterator[GoldenTensor]:
        yield self.tensor(f"steps/{step}/{LOSS}", (), self.loss, "forward")
        for layer in reversed(self.layers):
            yield from self.gradients(f"steps/{step}", layer)
        for name in ("state", *self.optimizer_arrays()):
            for layer in self.layers:
                for key, shape in {**layer.parameters, **layer.buffers}.items():
                    form = () if name == "step" else shape
                    tensor = self.tensor(f"steps/{step}/{name}/{key}", form, layer, "update")
                    if name == "state" or key in layer.parameters or (name == "average" and tensor.dtype == self.float):
                        yield tensor

    def optimizer_arrays(self) -> list[str]:
        recipe = self.case.recipe
        names = list(ADAM_ARRAYS) if recipe.optimizer != "sgd" else ["momentum_buffer"] * (recipe.momentum > 0)
        return [*names, "average"] if recipe.ema else names


def mask_name(layer: str, step: int) -> str:
    """Return the name of a dropout layer's mask in a step; the first is also that of the training pass."""
    return f"inputs/dropout/{layer}" if step == 1 else f"inputs/dropout/{step}/{layer}"
