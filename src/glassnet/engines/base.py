"""What an engine promises: a network that trains, and shows what it computes, the same on every engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Augmentation, Normalization, Split
from glassnet.engines.processes import ALONE
from glassnet.errors import ConfigError, DataError, GlassnetError, choice_error
from glassnet.nn import CrossEntropyLoss
from glassnet.recipe import Recipe

Array = NDArray[Any]
HEAD = ("dropout", "fc")  # the layers that learn where the body is frozen
CHUNK = 256  # images that go through a network at once where no gradient is wanted


@dataclass(frozen=True)
class Batch:
    """A part of a placed split: which images, and what augmentation does to them."""

    placed: Any  # the engine's own handle, from Network.place
    indices: NDArray[np.int64]
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: slice) -> Batch:
        """These of its images."""
        changes = self.augmentation
        return Batch(self.placed, self.indices[rows], changes and changes.take(rows))


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and share of right answers over ``count`` images, in evaluation mode."""

    loss: float
    accuracy: float
    count: int

    @classmethod
    def of(cls, logits: Array, labels: Array) -> Evaluation:
        """From logits (N, classes) and labels (N,)."""
        loss = CrossEntropyLoss()(logits, labels)
        return cls(loss, float((logits.argmax(axis=1) == labels).mean()), len(labels))


@dataclass(frozen=True)
class TrainStats:
    """What the steps since the last reading add up to."""

    loss: float  # mean over the images
    accuracy: float  # share of right answers, each image judged by the network that was about to learn from it
    count: int
    gradient_norms: dict[str, float]  # L2 norm of each parameter's gradient at the last step


@dataclass(frozen=True)
class Trace:
    """All that one pass through a network in training mode computes, there and back."""

    activations: dict[str, Array]  # in forward order
    loss: float
    activation_gradients: dict[str, Array]  # of the loss, with respect to the activations, in the same order
    gradients: dict[str, Array]  # of the loss, with respect to the parameters
    buffers: dict[str, Array]  # as the pass leaves them


class Network(ABC):
    """A residual network on one engine. Every array that goes in or comes out is the caller's own."""

    engine: ClassVar[str]
    engine_title: ClassVar[str]  # as people write it
    module: Any  # the layers: the engine's own Sequential

    def __init__(self, spec: ResNetSpec, dtype: np.dtype[Any]) -> None:
        self.spec = spec
        self.dtype = dtype
        self.device = "cpu"
        self.threads = 1
        self.precision: str | None = None
        self.compile = False
        self.channels_last = True
        self.kernels = "fast"  # of the NumPy engine
        self.processes = ALONE

    @property
    def device_description(self) -> str:
        """Where it computes, for people: ``cpu, 2 processes, 1 thread each``."""
        several = self.processes.count > 1
        parts = [self.device.partition(":")[0] if several else self.device]
        if several:
            parts.append(f"{self.processes.count} processes")
        if self.device == "cpu":
            parts.append(f"{self.threads} thread{'s' * (self.threads > 1)}{' each' * several}")
        return ", ".join(parts)

    def logits(self, images: Array) -> Array:
        """Logits (N, classes) of float images (N, C, H, W), in evaluation mode, computed in chunks.

        :raises DataError: images that are not floats, or not finite in the network's dtype.
        :raises ShapeError: images that do not fit the network; names the layer.
        """
        images = self._checked(images)
        return self._joined(self._logits(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK))

    def activations(self, images: Array, names: Iterable[str] | None = None) -> dict[str, Array]:
        """The outputs of all leaf layers and residual blocks, or what of ``tensor_names`` is named, in forward order.

        Evaluation mode; images (N, C, H, W) float. Names are dotted, such as ``layer1.0.conv1``.

        :raises ConfigError: an unknown name, with the near ones.
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
        """The loss in training mode and its gradient with respect to every parameter, under torch's keys.

        Weights, running statistics and generators stay as they are. Images (N, C, H, W) float, labels (N,) integers.
        """
        traced = self._trace(self._checked(images), self._checked_labels(labels, len(images)), ())
        return traced.loss, traced.gradients

    def trace(self, images: Array, labels: Array) -> Trace:
        """What a training step computes before it moves the weights, every array under ``tensor_names`` included.

        Weights, running statistics and generators stay as they are. Images (N, C, H, W) float, labels (N,) integers.
        """
        names = self.tensor_names
        return self._trace(self._checked(images), self._checked_labels(labels, len(images)), names)

    def evaluate(self, placed: Any) -> Evaluation:
        """Loss and accuracy over a placed split."""
        labels = self._placed_labels(placed)
        batches = (
            Batch(placed, np.arange(start, min(start + CHUNK, len(labels)))) for start in range(0, len(labels), CHUNK)
        )
        return Evaluation.of(self._joined(self._logits(self._gather(batch)[0]) for batch in batches), labels)

    def __repr__(self) -> str:
        return repr(self.module)

    def _joined(self, chunks: Iterator[Array]) -> Array:
        return np.concatenate([np.empty((0, self.spec.classes), self.dtype), *chunks])

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
    @abstractmethod
    def activation_names(self) -> list[str]:
        """The dotted names of all leaf layers and residual blocks, in forward order."""

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
        """How many numbers are trained."""

    @abstractmethod
    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers under torch's keys, C-contiguous."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` in, cast to the network's dtype; every key but num_batches_tracked must be there.

        :raises GlassnetError: lists missing, unexpected and wrongly shaped keys; or names a key without real numbers;
            nothing has changed then.
        """

    def trainer(self, recipe: Recipe, freeze: str | None = None) -> Trainer:
        """What trains this network by the recipe's optimizer, one step at a time.

        With ``freeze="backbone"`` only the head learns (``fc``, behind its dropout); the layers before it stay as they
        are, running statistics included.

        :raises ConfigError: no Recipe, or something else to freeze.
        """
        if not isinstance(recipe, Recipe):
            raise ConfigError(f"A trainer needs a Recipe, as in glassnet.Recipe(lr=0.1). Got {recipe!r}.")
        if freeze not in (None, "backbone"):
            raise ConfigError(f"freeze must be None or 'backbone'. Got {freeze!r}.")
        return self._trainer(recipe, freeze)

    @abstractmethod
    def _trainer(self, recipe: Recipe, freeze: str | None) -> Trainer: ...

    @abstractmethod
    def place(self, split: Split, normalization: Normalization) -> Any:
        """The engine's own handle of a split: uint8 images and labels where the engine computes, once."""

    @abstractmethod
    def seed_dropout(self, generator: np.random.Generator) -> None:
        """Draw the dropout masks from ``generator`` from now on."""

    @abstractmethod
    def _logits(self, images: Any) -> Array: ...

    @abstractmethod
    def _activations(self, images: Array, names: Collection[str]) -> dict[str, Array]: ...

    @abstractmethod
    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace: ...

    @abstractmethod
    def _gather(self, batch: Batch) -> tuple[Any, Any]: ...

    @abstractmethod
    def _placed_labels(self, placed: Any) -> Array: ...


def names_in_forward_order(module: Any, residual: type, prefix: str = "") -> list[str]:
    """The dotted names of leaves and ``residual`` blocks below a module, a block after what it is made of."""
    names = [
        name
        for child_name, child in module.named_children()
        for name in names_in_forward_order(child, residual, f"{prefix}.{child_name}" if prefix else child_name)
    ]
    return names if names and not isinstance(module, residual) else [*names, prefix]


def shown(layer: str, entering: Any, leaving: Any, names: Collection[str]) -> dict[str, Any]:
    """What of ``names`` a layer lets see: its output, and a block's last ReLU its input too, which is the sum."""
    seen = {f"{layer.removesuffix('relu')}sum": entering, layer: leaving}
    return {name: value for name, value in seen.items() if name in names}


class Trainer(ABC):
    """An optimizer at work on one network."""

    @abstractmethod
    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> Any:
        """One optimizer step on a batch, or on float images (N, C, H, W) with labels (N,).

        Returns the loss before the step, as the engine's own scalar: ``float`` of it waits for the device.
        ``lr`` overrides the recipe's for this step.
        """

    @abstractmethod
    def totals(self) -> TrainStats:
        """What the steps since the last call add up to."""

    @abstractmethod
    def state(self) -> dict[str, Array]:
        """Copies of the optimizer's arrays under parameter keys: ``conv1.weight/momentum_buffer``, ..."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from what ``state`` gave, on this engine or another; the arrays are copied.

        :raises GlassnetError: a key of no parameter, an array of another shape than its parameter, another optimizer's
            arrays or a part of them, or numbers that this one never has; nothing has changed then.
        """


def check_optimizer_state(
    recipe: Recipe, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], state: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """A trainer's ``state`` by parameter and name, cast, for parameters of these ``shapes``.

    :raises GlassnetError: as ``Trainer.load_state``.
    """
    names = {"momentum_buffer"} if recipe.optimizer == "sgd" else {"step", "exp_avg", "exp_avg_sq"}
    loaded: dict[str, dict[str, Array]] = {}
    for path, array in state.items():
        key, _, name = path.rpartition("/")
        if key not in shapes or array.shape != (() if name == "step" else shapes[key]):
            raise GlassnetError(f"The optimizer's state {path} of shape {array.shape} fits no parameter.")
        if array.dtype.kind not in "fiu":
            raise GlassnetError(f"The optimizer's state {path} must hold real numbers. Got an array of {array.dtype}.")
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        least = 0 if name in ("step", "exp_avg_sq") else -np.inf
        fine = np.isfinite(cast) & (cast >= least)
        if not fine.all():
            allowed = "finite" if least else "finite and at least 0"
            raise GlassnetError(f"The optimizer's state {path} must be {allowed}. Got {array[~fine].flat[0]}.")
        loaded.setdefault(key, {})[name] = cast
    for key, arrays in loaded.items():
        if set(arrays) != names:
            raise GlassnetError(
                f"The optimizer {recipe.optimizer} keeps {', '.join(sorted(names))} of a parameter. "
                f"The state has {', '.join(sorted(arrays))} of {key}."
            )
    return loaded
