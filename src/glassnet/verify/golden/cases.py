"""Golden cases: a network, a recipe and a batch, which follow from a seed; and what an engine computes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Normalization, make_rng
from glassnet.engines import Network
from glassnet.engines.class_weights import class_weights
from glassnet.errors import ConfigError
from glassnet.initialization import initial_state_dict
from glassnet.nn.checks import check_int
from glassnet.recipe import Recipe
from glassnet.training.schedule import learning_rates
from glassnet.verify.golden.operations import operations

Array = NDArray[Any]

FLOOR = 1e-6  # fraction of the largest gradient: smaller gradients are only rounding
MIN_VALUES_PER_CHANNEL = 8  # minimum for each BatchNorm: with fewer values its division amplifies rounding
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}  # relative to a tensor's scale


@dataclass(frozen=True)
class GoldenCase:
    """A network, a batch and a number of steps; weights and batch follow from ``seed`` and ``draw``.

    :raises ConfigError: if batch_size or steps is too small.
    """

    spec: ResNetSpec
    dtype: str = "float64"
    batch_size: int = 2
    steps: int = 2  # steps of the recipe's optimizer, all on the same batch
    recipe: Recipe = field(default_factory=Recipe)  # class weights, if it has any, are those of the batch's labels
    seed: int = 0
    draw: int = 0  # number of the drawing of pixels and weights

    def __post_init__(self) -> None:
        check_int("batch_size", self.batch_size)
        check_int("steps", self.steps, minimum=0)

    def redrawn(self, draw: int) -> Self:
        """Return the case with other pixels, weights and masks."""
        return replace(self, draw=draw)

    def _rng(self, stream: str) -> np.random.Generator:
        return make_rng(self.seed, f"golden {stream}", self.draw)

    def state(self) -> dict[str, Array]:
        """Return initial weights, with random numbers added to those that start as 0 or 1, which would hide errors.

        The last BatchNorm of a block is scaled down, so that the block adds little to its shortcut. Otherwise depth
        amplifies rounding: gradients of ResNet-152 agree to 3e-11 then, with it to 1e-13.
        """
        rng = self._rng("state")
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

    def pixels(self) -> NDArray[np.uint8]:
        """Return random pixels (N, H, W, C)."""
        shape = (self.batch_size, *self.spec.size, self.spec.in_channels)
        return self._rng("batch").integers(256, size=shape, dtype=np.uint8)

    def labels(self) -> NDArray[np.int64]:
        """Return random labels (N,); if classes have weights, these differ between three images or more."""
        labels = self._rng("labels").integers(self.spec.classes, size=self.batch_size, dtype=np.int64)
        if self.recipe.class_weights != "none":
            labels[1:2], labels[2:3] = labels[0], (labels[0] + 1) % self.spec.classes
        return labels

    def normalization(self) -> Normalization:
        """Return a normalization whose mean and standard deviation differ by channel, so that BGR images show."""
        rng, channels = self._rng("normalization"), self.spec.in_channels
        mean, std = (rng.uniform(low, high, channels).round(3).tolist() for low, high in ((0.35, 0.65), (0.2, 0.3)))
        return Normalization(255.0, tuple(mean), tuple(std))

    def batch(self) -> tuple[Array, Array]:
        """Return the images, normalized (N, C, H, W), and their labels (N,)."""
        return np.ascontiguousarray(self.normalization().apply(self.pixels(), self.dtype)), self.labels()

    def mask(self, step: int, p: float, shape: tuple[int, ...]) -> Array:
        """Return the factors of a dropout layer in a step: 0 with probability p, else 1 / (1 − p)."""
        kept = make_rng(self.seed, f"golden dropout {step}", self.draw).random(shape) >= p
        return (kept / (1 - p)).astype(self.dtype)

    def class_weights(self) -> Array | None:
        """Return the weight of each class (K,) in the loss, None if the recipe weighs none."""
        return class_weights(self.recipe, self.labels(), self.spec.classes)


def with_small_images(spec: ResNetSpec) -> ResNetSpec:
    """Return the spec for images of at most 64×64, if the network takes any size."""
    height, width = spec.size
    return spec if spec.head == "flatten" else spec.replace(image_size=(min(64, height), min(64, width)))


def check_values_per_channel(spec: ResNetSpec, batch_size: int) -> None:
    """Check that a batch is large enough for every BatchNorm.

    :raises ConfigError: if one gets fewer than 8 values per channel.
    """
    for operation in operations(spec):
        if operation.kind == "BatchNorm2d":
            _, height, width = operation.output_shape
            if (values := batch_size * height * width) < MIN_VALUES_PER_CHANNEL:
                raise ConfigError(
                    f"Each BatchNorm2d must get at least {MIN_VALUES_PER_CHANNEL} values per channel, or it amplifies "
                    f"rounding. Got {values} at {operation.name}. Use a larger batch_size or image_size."
                )


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of one kind, in the order of the dataflow."""

    name: str  # the beginning of their names
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


def compute_groups(
    network: Network, case: GoldenCase, state: Mapping[str, Array] | None = None
) -> Iterator[TensorGroup]:
    """Let a network compute the case, group by group.

    :param state: ``case.state()``, if it was drawn already, which takes seconds for large networks.
    :raises ConfigError: if the batch is so small that BatchNorm gets fewer than 8 values per channel.
    """
    check_values_per_channel(case.spec, case.batch_size)
    images, labels = case.batch()
    network.load_state_dict(case.state() if state is None else state)
    network.seed_dropout(make_rng(case.seed, "dropout"))
    yield TensorGroup("inputs", {"images": images, "labels": labels})
    yield TensorGroup("inputs/state", network.state_dict())
    activations = network.activations(images, network.tensor_names)
    yield TensorGroup("eval/activations", activations)

    traced = network.trace(images, labels)
    yield TensorGroup("train/activations", traced.activations)
    yield TensorGroup("train/buffers", traced.buffers)
    yield TensorGroup("train", {"loss": np.array(traced.loss, case.dtype)})
    for name, gradients in (("activation_gradients", traced.activation_gradients), ("gradients", traced.gradients)):
        backwards = dict(reversed(list(gradients.items())))  # as gradients flow
        yield TensorGroup(f"train/{name}", backwards, is_gradient=True)
    if case.steps:
        yield from _train(network, case, images, labels)


def _train(network: Network, case: GoldenCase, images: Array, labels: Array) -> Iterator[TensorGroup]:
    """Take the case's steps."""
    trainer: Any = network.trainer(case.recipe, labels=labels)
    for number, rate in enumerate(learning_rates(case.recipe, case.steps), start=1):
        loss = float(trainer.step(images, labels, float(rate)))
        if number == 1:
            yield TensorGroup("steps/1", {"loss": np.array(loss)})
            gradients = {key: _to_array(parameter.grad) for key, parameter in trainer.parameters.items()}
            yield TensorGroup("steps/1/gradients", gradients, is_gradient=True)
            yield TensorGroup("steps/1/state", network.state_dict())
    yield TensorGroup("steps/state", network.state_dict())
    buffers: dict[str, dict[str, Array]] = {}
    for path, array in trainer.state().items():
        key, _, name = path.rpartition("/")
        buffers.setdefault(name, {})[key] = array
    for name, arrays in buffers.items():
        yield TensorGroup(f"steps/{name}", arrays, is_gradient=True)


def _to_array(gradient: Any) -> Array:
    """Return a copy of an engine's gradient; NaN where there is none."""
    if gradient is None:
        return np.array(np.nan)
    return np.array(gradient if isinstance(gradient, np.ndarray) else gradient.detach().cpu().numpy(), order="C")
