"""Golden numbers: all that a network computes on one batch, in the order of the dataflow, with tolerances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import make_rng
from glassnet.engines import Network
from glassnet.errors import ConfigError
from glassnet.initialization import initial_state_dict
from glassnet.nn.checks import check_int
from glassnet.recipe import Recipe

Array = NDArray[Any]

FLOOR = 1e-6  # fraction of the largest gradient: smaller gradients are only rounding
MIN_VALUES_PER_CHANNEL = 8  # minimum for each BatchNorm: with fewer values its division amplifies rounding
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}  # relative to a tensor's scale


@dataclass(frozen=True)
class GoldenCase:
    """A network, a batch and a number of steps; weights and batch follow from ``seed``.

    :raises ConfigError: if batch_size or steps is too small.
    """

    spec: ResNetSpec
    dtype: str = "float64"
    batch_size: int = 2
    steps: int = 2  # steps of the recipe's optimizer, all on the same batch
    recipe: Recipe = field(default_factory=Recipe)  # class weights, if it has any, are those of the batch's labels
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("batch_size", self.batch_size)
        check_int("steps", self.steps, minimum=0)

    def state(self) -> dict[str, Array]:
        """Return initial weights, with random numbers added to those that start as 0 or 1, which would hide errors.

        The last BatchNorm of a block is scaled down, so that the block adds little to its shortcut. Otherwise depth
        amplifies rounding: gradients of ResNet-152 agree to 3e-11 then, with it to 1e-13.
        """
        rng = make_rng(self.seed, "golden state")
        last = ".bn3.weight" if self.spec.block == "bottleneck" else ".bn2.weight"
        state = initial_state_dict(self.spec, self.seed)
        for key, array in state.items():
            if key.endswith("running_var"):
                array *= rng.uniform(0.5, 1.5, array.shape)
            elif array.ndim == 1:
                array += 0.1 * rng.standard_normal(array.shape)
            if key.endswith(last):
                array *= 0.1
        return state

    def batch(self) -> tuple[Array, Array]:
        """Return random images (N, C, H, W), at most 64×64 if the network takes any size, and labels (N,)."""
        rng = make_rng(self.seed, "golden batch")
        size = self.spec.size if self.spec.head == "flatten" else [min(64, length) for length in self.spec.size]
        images = rng.standard_normal((self.batch_size, self.spec.in_channels, *size)).astype(self.dtype)
        return images, rng.integers(self.spec.classes, size=self.batch_size, dtype=np.int64)


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of one kind, in the order of the dataflow."""

    name: str  # the beginning of their names
    meaning: str
    tensors: Mapping[str, Array]
    is_gradient: bool = False

    @cached_property
    def scales(self) -> dict[str, float]:
        """The unit of each tensor's differences: its largest number, of gradients at least FLOOR of the largest."""
        scales = {key: max_abs(array) for key, array in self.tensors.items()}
        floor = FLOOR * max(scales.values()) if self.is_gradient else 0.0
        return {key: max(scale, floor) for key, scale in scales.items()}

    def tolerance(self, dtype: str) -> float:
        """Return the largest difference allowed, in units of a tensor's scale; infinite if there is no tolerance.

        In float32 gradients, and what follows from them, have none: rounding flips a ReLU whose input is almost 0,
        which moves gradients by whole parts (ResNet-152: 3e-1). A tolerance as large as that would pass mistakes.
        """
        has_tolerance = dtype == "float64" or not (self.is_gradient or self.name.startswith("steps"))
        return TOLERANCES[dtype] if has_tolerance else inf


def max_abs(array: Array) -> float:
    """Return the largest absolute value; NaN if there is one."""
    return float(np.abs(array).max())


def compute_groups(network: Network, case: GoldenCase) -> Iterator[TensorGroup]:
    """Let a network compute the case, group by group.

    :raises ConfigError: if the batch is so small that BatchNorm gets fewer than 8 values per channel.
    """
    images, labels = case.batch()
    network.load_state_dict(case.state())
    network.seed_dropout(make_rng(case.seed, "dropout"))
    yield TensorGroup("inputs", "of the batch", {"images": images, "labels": labels})
    yield TensorGroup("inputs/state", "parameter or buffer, at first", network.state_dict())
    activations = network.activations(images, network.tensor_names)
    yield TensorGroup("eval/activations", "output in evaluation mode", activations)

    traced = network.trace(images, labels)
    _check_values_per_channel(traced.activations, traced.buffers)
    yield TensorGroup("train/activations", "output in training mode", traced.activations)
    yield TensorGroup("train/buffers", "buffer after one pass in training mode", traced.buffers)
    yield TensorGroup("train", "mean cross-entropy", {"loss": np.array(traced.loss, case.dtype)})
    for name, kind, gradients in (
        ("activation_gradients", "output", traced.activation_gradients),
        ("gradients", "parameter", traced.gradients),
    ):
        backwards = dict(reversed(list(gradients.items())))  # as gradients flow
        yield TensorGroup(f"train/{name}", f"gradient of the loss wrt the {kind}", backwards, is_gradient=True)
    if case.steps:
        yield from _train(network, case, images, labels)


def _train(network: Network, case: GoldenCase, images: Array, labels: Array) -> Iterator[TensorGroup]:
    """Take the case's steps."""
    trainer = network.trainer(case.recipe, labels=labels)
    for _ in range(case.steps):
        trainer.step(images, labels)
    yield TensorGroup("steps/state", "parameter or buffer after the last step", network.state_dict())
    buffers: dict[str, dict[str, Array]] = {}
    for path, array in trainer.state().items():
        key, _, name = path.rpartition("/")
        buffers.setdefault(name, {})[key] = array
    for name, arrays in buffers.items():
        yield TensorGroup(f"steps/{name}", f"the optimizer's {name} after the last step", arrays, is_gradient=True)


def _check_values_per_channel(activations: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
    for key, mean in buffers.items():
        layer, _, name = key.rpartition(".")
        if name == "running_mean" and (values := activations[layer].size // mean.size) < MIN_VALUES_PER_CHANNEL:
            raise ConfigError(
                f"Each BatchNorm2d of a parity check must get at least {MIN_VALUES_PER_CHANNEL} values per channel, or "
                f"it amplifies rounding. Got {values} at {layer}. Use a larger batch_size or image_size."
            )
