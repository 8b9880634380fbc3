"""The interface of a trainer, and functions that the trainers of both engines share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.engines.averaging import SUFFIX, WeightAverage
from glassnet.engines.process_group import ProcessGroup
from glassnet.engines.records import Batch, TrainStats
from glassnet.errors import GlassnetError
from glassnet.recipe import Recipe

Array = NDArray[Any]
HEAD_LAYERS = ("dropout", "fc")  # the layers that are trained with freeze="backbone"


class Trainer(ABC):
    """An optimizer at work on one network.

    A step cuts its batch into the recipe's ``shards`` (default: the number of processes), computes ``parts``, those of
    this process, one after the other, and adds the gradients of all along one tree. BatchNorm normalizes each part by
    itself. So one process with several shards accumulates gradients, and several processes share the work.
    ``average`` is that of a recipe with ``ema``, otherwise None.
    """

    average: WeightAverage | None

    @abstractmethod
    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> Any:
        """Take an optimizer step on a batch, or on float images (N, C, H, W) with labels (N,).

        :param lr: the learning rate of this step, in place of the recipe's.
        :returns: the loss before the step of the images that this process computes, as the engine's own scalar;
            ``float(loss)`` waits for the device.
        :raises DataError: if images and labels are not finite floats and integers of these shapes.
        """

    @abstractmethod
    def pop_stats(self) -> TrainStats:
        """Return the statistics of the steps since the last call."""

    def state(self) -> dict[str, Array]:
        """Return copies of the optimizer's arrays under parameter keys: ``conv1.weight/momentum_buffer``, ...

        They have the shape and dtype of their parameter; ``step`` is an array of shape (). Averaged weights are under
        ``conv1.weight/average``, ..., and the number of their steps under ``steps/average``.
        """
        return self._optimizer_state() | ({} if self.average is None else self.average.state())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copy in what ``state`` returned, on this engine or another.

        :raises GlassnetError: if a key belongs to no parameter, an array has another shape than its parameter, arrays
            are missing or those of another optimizer, or a number is impossible for this one (NaN, a negative second
            moment). The trainer is unchanged then.
        """
        averages: Mapping[str, Array] = {}
        if self.average is not None and state:  # an empty state restarts
            averages = self.average.checked({path: array for path, array in state.items() if path.endswith(SUFFIX)})
        self._load_optimizer_state({path: array for path, array in state.items() if path not in averages})
        if self.average is not None:
            self.average.load_state(averages)

    @abstractmethod
    def _optimizer_state(self) -> dict[str, Array]: ...

    @abstractmethod
    def _load_optimizer_state(self, state: Mapping[str, Array]) -> None: ...

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the network the averages of its weights while the context lasts, if the recipe has ``ema``."""
        with nullcontext() if self.average is None else self.average.applied():
            yield


def join_stats(group: ProcessGroup, sums: Any, n_correct: int, count: int, norms: dict[str, float]) -> TrainStats:
    """Return the statistics of all processes.

    :param sums: for each part of this process the sum of its images' weighted losses, and that of their weights.
    """
    gathered = group.gather((sums, n_correct, count))
    loss, weight = (sum(pair[index] for parts, _, _ in gathered for pair in parts) for index in (0, 1))
    all_correct, all_count = (sum(values[index] for values in gathered) for index in (1, 2))
    return TrainStats(loss / (weight or 1), all_correct / max(1, all_count), all_count, norms)


def param_groups(recipe: Recipe, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of an optimizer: ``params`` of the same ``weight_decay`` and ``lr_factor``.

    A group's learning rate is the step's, times its factor: ``body_lr`` for the layers before the head, 1 for the head.

    :param parameters: the parameters to train by key.
    """
    groups: dict[tuple[float, float], list[Any]] = {}
    for key, parameter in parameters.items():
        weight_decay = recipe.weight_decay if recipe.decays(parameter.data.ndim) else 0.0
        lr_factor = 1.0 if key.partition(".")[0] in HEAD_LAYERS else recipe.body_lr
        groups.setdefault((weight_decay, lr_factor), []).append(parameter)
    return [
        {"params": group, "weight_decay": weight_decay, "lr_factor": lr_factor}
        for (weight_decay, lr_factor), group in groups.items()
    ]


def check_optimizer_state(
    recipe: Recipe, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], state: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Return a trainer's ``state`` by parameter and name, cast, for parameters of these ``shapes``.

    :raises GlassnetError: as ``Trainer.load_state``.
    """
    names = {"momentum_buffer"} if recipe.optimizer == "sgd" else {"step", "exp_avg", "exp_avg_sq"}
    loaded: dict[str, dict[str, Array]] = {}
    for path, array in state.items():
        key, _, name = path.rpartition("/")
        if key not in shapes or array.shape != (() if name == "step" else shapes[key]):
            raise GlassnetError(
                f"The optimizer's state {path} must belong to a parameter of its shape. Got shape {array.shape}."
            )
        if array.dtype.kind not in "fiu":
            raise GlassnetError(f"The optimizer's state {path} must hold real numbers. Got an array of {array.dtype}.")
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        minimum = 0 if name in ("step", "exp_avg_sq") else -np.inf
        is_valid = np.isfinite(cast) & (cast >= minimum)
        if not is_valid.all():
            allowed = "finite" if minimum else "finite and at least 0"
            raise GlassnetError(f"The optimizer's state {path} must be {allowed}. Got {array[~is_valid].flat[0]}.")
        loaded.setdefault(key, {})[name] = cast
    for key, arrays in loaded.items():
        if set(arrays) != names:
            raise GlassnetError(
                f"The {recipe.optimizer} optimizer's state of {key} must be {', '.join(sorted(names))}. "
                f"Got {', '.join(sorted(arrays))}."
            )
    return loaded
