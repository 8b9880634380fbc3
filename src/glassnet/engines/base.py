"""The interface of an engine: a network that computes, trains and shows its tensors, the same on every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.classification import Outcome
from glassnet.compute import Compute
from glassnet.data import Normalization, Split
from glassnet.engines.class_weights import class_weights
from glassnet.engines.process_group import SINGLE_PROCESS, ProcessGroup
from glassnet.engines.records import Batch, Trace
from glassnet.engines.trainer import Trainer
from glassnet.errors import ConfigError, DataError, choice_error
from glassnet.progress import track
from glassnet.recipe import Recipe

Array = NDArray[Any]
EVAL_BATCH_SIZE = 256


class Network(ABC):
    """A residual network on one engine. It keeps no reference to the arrays that it receives and returns.

    ``compute`` has the values in use: the device that ``auto`` stands for, the number of threads, the memory order.
    """

    engine: ClassVar[str]
    engine_title: ClassVar[str]  # name of the engine in texts
    layers: ClassVar[Any]  # the namespace of the engine's layers
    module: Any  # the assembled layers

    def __init__(self, spec: ResNetSpec, compute: Compute, processes: ProcessGroup = SINGLE_PROCESS) -> None:
        self.spec, self.compute, self.processes = spec, compute, processes

    def __repr__(self) -> str:
        return f"{self.module!r}\n{self.engine_title} engine, {self.dtype}, on {self.device_description}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of weights and logits: float32 or float64."""
        return np.dtype(self.compute.dtype)

    @property
    def device(self) -> str:
        """The device in use: ``cpu``, ``cuda:0`` or ``mps``."""
        return self.compute.device

    @property
    def threads(self) -> int:
        """The number of threads on the CPU."""
        return self.compute.threads or 1

    @property
    def precision(self) -> str | None:
        """The precision of the PyTorch engine, such as ``bf16-mixed``; None stands for ``32-true``."""
        return self.compute.precision

    @property
    def kernels(self) -> str:
        """The functions of the NumPy engine's layers: ``fast`` or ``plain``."""
        return self.compute.kernels

    @property
    def device_description(self) -> str:
        """Device, processes and threads as text: ``cpu, 2 processes, 1 thread each``."""
        several = self.processes.world_size > 1
        parts = [self.device.partition(":")[0] if several else self.device]
        if several:
            parts.append(f"{self.processes.world_size} processes")
        if self.device == "cpu":
            parts.append(f"{self.threads} thread{'s' * (self.threads > 1)}{' each' * several}")
        return ", ".join(parts)

    def logits(self, images: Array, batch_size: int = EVAL_BATCH_SIZE) -> Array:
        """Return the logits (N, classes) of float images (N, C, H, W), in evaluation mode.

        :param batch_size: number of images that are computed at once.

        :raises DataError: if the images are not floats, or not finite in the network's dtype.
        :raises ShapeError: if the images do not fit the network; the error names the layer.
        """
        images = self._checked(images)
        parts = (self._logits(images[rows]) for rows in _eval_slices(len(images), batch_size))
        return np.concatenate([np.empty((0, self.spec.classes), self.dtype), *parts])

    def activations(self, images: Array, names: Iterable[str] | None = None) -> dict[str, Array]:
        """Return the outputs of all leaf layers and residual blocks, or of some ``tensor_names``, in forward order.

        Evaluation mode; images (N, C, H, W) float. Names are dotted, such as ``layer1.0.conv1``.

        :raises ConfigError: if a name is unknown; the error names the closest one.
        :raises DataError: if the images are not finite floats of the network's channels.
        """
        known = self.tensor_names
        if isinstance(names, str) or not isinstance(names, Iterable | None):
            raise ConfigError(f"The names of activations must be several, as in ['conv1']. Got {names!r}.")
        wanted = self.activation_names if names is None else list(names)
        for name in wanted:
            if name not in known:
                raise choice_error(f"An activation of {self.spec.preset}", known, name)
        return self._activations(self._checked(images), wanted)

    def gradients(self, images: Array, labels: Array) -> tuple[float, dict[str, Array]]:
        """Return the loss in training mode and its gradient with respect to every parameter, under torch's keys.

        Weights, running statistics and generators stay as they are. Images (N, C, H, W) float, labels (N,) integers.

        :raises DataError: if there is no image, or images or labels are not of this kind.
        """
        traced = self._trace(self._checked(images), self._checked_labels(labels, len(images)), ())
        return traced.loss, traced.gradients

    def check_batch(self, images: Array) -> None:
        """Run images forward in training mode, which raises an error where they are too small or too few for a layer.

        Weights, running statistics and generators stay as they are. Images (N, C, H, W) float.

        :raises GlassnetError: if a layer cannot compute them.
        :raises DataError: if images are not of this kind.
        """
        checked = self._checked(images)
        with self._state_preserved():
            self._forward_in_training(checked)

    def trace(self, images: Array, labels: Array) -> Trace:
        """Return what a training step computes before it updates the weights, with every array of ``tensor_names``.

        Weights, running statistics and generators stay as they are. Images (N, C, H, W) float, labels (N,) integers.

        :raises DataError: if there is no image, or images or labels are not of this kind.
        """
        names = self.tensor_names
        return self._trace(self._checked(images), self._checked_labels(labels, len(images)), names)

    def evaluate(self, split: Split, normalization: Normalization) -> Outcome:
        """Classify the images of a split, in evaluation mode; EVAL_BATCH_SIZE of them at a time.

        Several processes share the slices, and all of them return the outcome of all images.
        """
        slices, group = _eval_slices(len(split)), self.processes
        own, parts = slices[group.rank :: group.world_size], []
        with track("evaluating", sum(rows.stop - rows.start for rows in own)) as advance:
            for rows in own:
                labels = split.labels[rows]
                batch = Batch(split.pixels(range(rows.start, rows.stop)), labels, normalization)
                parts.append(Outcome.from_logits(labels, self._logits(self._load(batch)[0])))
                advance(len(batch))
        gathered = group.gather(parts)
        return Outcome.join([gathered[i % group.world_size][i // group.world_size] for i in range(len(slices))])

    def _checked(self, images: Array) -> Array:
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[1] != self.spec.in_channels:
            raise DataError(f"The images must have shape (N, {self.spec.in_channels}, H, W). Got {images.shape}.")
        if images.dtype.kind != "f":
            raise DataError(
                f"The images must be floats, as Normalization.apply makes them of uint8 images. Got {images.dtype}."
            )
        cast = images
        if images.dtype != self.dtype:
            with np.errstate(over="ignore"):
                cast = images.astype(self.dtype)
        if not np.isfinite(cast).all():
            first = np.argwhere(~np.isfinite(cast))[0]
            raise DataError(
                f"The images must be finite in {self.dtype}. Got {images[tuple(first)]} in image {first[0]}, "
                f"channel {first[1]}, row {first[2]}, column {first[3]}."
            )
        return cast

    def _checked_labels(self, labels: Array, count: int) -> Array:
        """Return the labels of ``count`` images whose loss is wanted, checked; 0 images have none."""
        if count == 0:
            raise DataError("images must be at least 1 to compute a loss. Got 0.")
        labels = np.asarray(labels)
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise DataError(f"The labels must be {count} integers. Got {labels.dtype} of shape {labels.shape}.")
        if not (labels.min() >= 0 and labels.max() < self.spec.classes):
            wrong = labels[(labels < 0) | (labels >= self.spec.classes)][0]
            raise DataError(f"The labels must be from 0 to {self.spec.classes - 1}. Got {wrong}.")
        return labels

    @property
    def activation_names(self) -> list[str]:
        """The dotted names of all leaf layers and residual blocks, in forward order."""
        return names_in_forward_order(self.module, self.layers.Residual)

    @property
    def tensor_names(self) -> list[str]:
        """``activation_names``, and before each block's last ReLU the sum that it reads, such as ``layer1.0.sum``."""
        names: list[str] = []
        blocks = set(self.activation_names) if self.spec.skip else set()
        for name in self.activation_names:
            block = name.removesuffix(".relu")
            names += [f"{block}.sum", name] if block != name and block in blocks else [name]
        return names

    @property
    @abstractmethod
    def parameter_count(self) -> int:
        """The number of trained values."""

    @abstractmethod
    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers under torch's keys, C-contiguous.

        They have the network's dtype; num_batches_tracked is an int64 array of shape ().
        """

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` in, cast to the network's dtype. Only num_batches_tracked may be missing.

        :raises GlassnetError: if keys are missing, unexpected or wrongly shaped, or an array does not hold real
            numbers. The network is unchanged then.
        """

    def trainer(self, recipe: Recipe, freeze: str | None = None, labels: Array | None = None) -> Trainer:
        """Return an optimizer for this network that takes one step at a time.

        With ``freeze="backbone"`` only the head is trained (``fc``, behind its dropout); the layers before it stay as
        they are, running statistics included.

        :param labels: the labels of all training images (N,), which a recipe with ``class_weights`` needs.
        :raises ConfigError: if recipe or freeze is something else, or needed labels are missing.
        :raises DataError: if there is no label, or they are not integers from 0 to classes − 1.
        """
        if not isinstance(recipe, Recipe):
            raise ConfigError(f"recipe must be a Recipe, as in glassnet.Recipe(lr=0.1). Got {recipe!r}.")
        if freeze not in (None, "backbone"):
            raise ConfigError(f"freeze must be None or 'backbone'. Got {freeze!r}.")
        labels = None if labels is None else self._checked_labels(labels, len(labels))
        return self._trainer(recipe, freeze, class_weights(recipe, labels, self.spec.classes))

    @abstractmethod
    def _trainer(self, recipe: Recipe, freeze: str | None, weights: Array | None) -> Trainer: ...

    def seed_dropout(self, generator: np.random.Generator) -> None:
        """Draw the dropout masks from ``generator`` from now on."""
        for dropout in self._dropouts():
            dropout.generator = generator

    def _dropouts(self) -> list[Any]:
        return [layer for layer in self.module.modules() if isinstance(layer, self.layers.Dropout)]

    @contextmanager
    def _state_preserved(self) -> Iterator[None]:
        """Restore parameters, buffers and dropout generators at the end, and switch to evaluation mode.

        The next step of a training switches back.
        """
        state = self.state_dict()
        rng_states = [dropout.generator.bit_generator.state for dropout in self._dropouts()]
        try:
            yield
        finally:
            self.module.eval()
            self.load_state_dict(state)
            for dropout, rng_state in zip(self._dropouts(), rng_states, strict=True):
                dropout.generator.bit_generator.state = rng_state

    @abstractmethod
    def _logits(self, images: Any) -> Array: ...

    @abstractmethod
    def _forward_in_training(self, images: Array) -> None: ...

    @abstractmethod
    def _activations(self, images: Array, names: Collection[str]) -> dict[str, Array]: ...

    @abstractmethod
    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace: ...

    @abstractmethod
    def _load(self, batch: Batch) -> tuple[Any, Any]:
        """Return a batch's images, normalized (N, C, H, W), and its labels (N,), both on the device."""


def _eval_slices(count: int, batch_size: int = EVAL_BATCH_SIZE) -> list[slice]:
    return [slice(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


def names_in_forward_order(module: Any, residual: type, prefix: str = "") -> list[str]:
    """Return the dotted names of leaves and ``residual`` blocks below a module, a block after its layers."""
    names = [
        name
        for child_name, child in module.named_children()
        for name in names_in_forward_order(child, residual, f"{prefix}.{child_name}" if prefix else child_name)
    ]
    return names if names and not isinstance(module, residual) else [*names, prefix]


def captured_outputs(layer: str, entering: Any, leaving: Any, names: Collection[str]) -> dict[str, Any]:
    """Return what a layer computes of ``names``: its output, and a block's last ReLU also its input, the sum."""
    captured = {f"{layer.removesuffix('relu')}sum": entering, layer: leaving}
    return {name: value for name, value in captured.items() if name in names}
