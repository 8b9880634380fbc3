"""The NumPy engine: glassnet's own layers, every gradient written by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.data import Normalization, Split
from glassnet.engines.base import (
    HEAD,
    Batch,
    Network,
    Trace,
    Trainer,
    TrainStats,
    check_optimizer_state,
    names_in_forward_order,
    shown,
)
from glassnet.engines.threads import limit_blas_threads, usable_cores
from glassnet.initialization import build_uninitialized
from glassnet.nn import functional
from glassnet.nn.checks import check_int
from glassnet.nn.kernels import Kernels
from glassnet.nn.kernels.array_pool import ArrayPool
from glassnet.nn.kernels.layout import channels_last
from glassnet.recipe import Recipe

Array = NDArray[Any]


@dataclass(frozen=True)
class Placed:
    """Memory is where this engine computes."""

    split: Split
    normalization: Normalization


class NumpyNetwork(Network):
    """``module``, the assembled layers, is the network; all else is the way in and out."""

    engine = "numpy"
    engine_title = "NumPy"

    def __init__(
        self, spec: ResNetSpec, dtype: np.dtype[Any], threads: int | None = None, kernels: str = "fast"
    ) -> None:
        super().__init__(spec, dtype)
        self.threads = usable_cores() if threads is None else check_int("threads", threads)
        self.kernels = kernels
        self.module: nn.Module = build_uninitialized(spec).to(dtype)
        self.array_pool = ArrayPool()  # shapes are the same at each step, so its arrays can be, too
        functions = Kernels(self.threads, self.array_pool) if kernels == "fast" else cast(Kernels, functional)
        self.module.use_kernels(functions)

    @property
    def activation_names(self) -> list[str]:
        return names_in_forward_order(self.module, nn.Residual)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.data.size for parameter in self.module.parameters())

    def state_dict(self) -> dict[str, Array]:
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        self.module.load_state_dict(state)

    def _trainer(self, recipe: Recipe, freeze: str | None) -> NumpyTrainer:
        return NumpyTrainer(self, recipe, freeze)

    def place(self, split: Split, normalization: Normalization) -> Placed:
        return Placed(split, normalization)

    def seed_dropout(self, generator: np.random.Generator) -> None:
        for module in self._dropouts():
            module.generator = generator

    def _dropouts(self) -> list[nn.Dropout]:
        return [module for module in self.module.modules() if isinstance(module, nn.Dropout)]

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute on this network's threads. A value that overflows or turns NaN shows in the loss, which is checked
        once an epoch."""
        # The fast kernels have threads of their own; the plain functions have those of BLAS.
        threads = 1 if self.kernels == "fast" else self.threads
        with limit_blas_threads(threads), np.errstate(over="ignore", invalid="ignore"):
            yield

    def _ready(self, images: Array) -> Array:
        """Return images in the network's dtype and memory order."""
        images = images.astype(self.dtype, copy=False)
        return channels_last(images) if self.kernels == "fast" else np.ascontiguousarray(images)

    def _logits(self, images: Array) -> Array:
        self.array_pool.start_task(("logits", images.shape))
        with self.computing():
            return self.module.eval()(self._ready(images))

    def _activations(self, images: Array, names: Collection[str]) -> dict[str, Array]:
        seen: dict[str, Array] = {}

        def look(name: str, x: Array, y: Array) -> None:
            seen.update(_copies(shown(name, x, y, names)))

        with nn.module_hooks(self.module, self.activation_names, forward=look):
            self._logits(images)
        return seen

    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace:
        seen: dict[str, Array] = {}
        seen_back: dict[str, Array] = {}

        def look(name: str, x: Array, y: Array) -> None:
            seen.update(_copies(shown(name, x, y, names)))

        def look_back(name: str, dy: Array, dx: Array) -> None:
            seen_back.update(_copies(shown(name, dx, dy, names)))

        self.array_pool.start_task(("trace", images.shape))
        before = self.module.state_dict()
        drawn = [dropout.generator.bit_generator.state for dropout in self._dropouts()]
        held = [(parameter, parameter.grad.copy(order="K")) for parameter in self.module.parameters()]
        loss = nn.CrossEntropyLoss()
        try:
            with (
                self.computing(),
                nn.module_hooks(self.module, self.activation_names, forward=look, backward=look_back),
            ):
                value = loss(self.module.train()(self._ready(images)), labels)
                self.module.backward(loss.backward())
            after = self.module.state_dict()
            gradients = _copies({key: parameter.grad for key, parameter in self.module.named_parameters()})
        finally:
            for parameter, gradient in held:
                parameter.grad[...] = gradient
            self.module.eval().load_state_dict(before)  # the next step sets anew who trains
            for dropout, state in zip(self._dropouts(), drawn, strict=True):
                dropout.generator.bit_generator.state = state
        buffers = {key: array for key, array in after.items() if key not in gradients}
        flow = {name: seen_back[name] for name in seen if name in seen_back}  # a wrong layer may call no backward
        return Trace(seen, value, flow, gradients, buffers)

    def _gather(self, batch: Batch) -> tuple[Array, Array]:
        split, normalization = batch.placed.split, batch.placed.normalization
        images = split.images[batch.indices]
        if batch.augmentation is not None:
            images = batch.augmentation.apply(images)
        return normalization.apply(images, self.dtype), split.labels[batch.indices]

    def _placed_labels(self, placed: Placed) -> Array:
        return placed.split.labels


class NumpyTrainer(Trainer):
    def __init__(self, network: NumpyNetwork, recipe: Recipe, freeze: str | None = None) -> None:
        self.network = network
        self.recipe = recipe
        self.loss = nn.CrossEntropyLoss(recipe.label_smoothing)
        layers = dict(network.module.named_children())
        frozen = [name for name in layers if freeze is not None and name not in HEAD]
        self.frozen = nn.Sequential({name: layers.pop(name) for name in frozen})
        self.trained = nn.Sequential(layers)
        self.parameters = dict(self.trained.named_parameters())
        network.module.eval()  # the first step, as the first after an evaluation, sets who trains
        self.optimizer = _optimizer(recipe, list(self.parameters.values()))
        self._clear()

    def _clear(self) -> None:
        self._loss_sum, self._right, self._count = 0.0, 0, 0

    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> float:
        network = self.network
        if isinstance(batch, Batch):
            images, labels = network._gather(batch)
        else:
            images = network._ready(network._checked(batch))
            labels = network._checked_labels(np.asarray(labels), len(images))
        network.array_pool.start_task(("step", images.shape))
        with network.computing():
            if not network.module.training:
                network.module.train()
                self.frozen.eval()
            logits = self.trained(self.frozen(images))
            loss = self.loss(logits, labels)
            self.trained.backward_params(self.loss.backward())
            if self.recipe.clip_grad_norm is not None:
                self._clip(self.recipe.clip_grad_norm)
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr if lr is None else float(lr)  # np.float64 would compute in float64
            self.optimizer.step()
        self._loss_sum += loss * len(labels)
        self._right += int(np.count_nonzero(logits.argmax(axis=1) == labels))
        self._count += len(labels)
        return loss

    def _norms(self) -> dict[str, float]:
        return {key: float(np.linalg.norm(p.grad.ravel(order="K"))) for key, p in self.parameters.items()}

    def _clip(self, largest: float) -> None:
        """Shorten the whole gradient to ``largest`` where it is longer (torch.nn.utils.clip_grad_norm_)."""
        total = float(np.sqrt(sum(norm**2 for norm in self._norms().values())))
        if (scale := largest / (total + 1e-6)) < 1:
            for parameter in self.parameters.values():
                parameter.grad *= scale

    def totals(self) -> TrainStats:
        count = max(1, self._count)
        totals = TrainStats(self._loss_sum / count, self._right / count, self._count, self._norms())
        self._clear()
        return totals

    def state(self) -> dict[str, Array]:
        return {
            f"{key}/{name}": np.array(array, order="C")
            for key, parameter in self.parameters.items()
            for name, array in self.optimizer.state[parameter].items()
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        shapes = {key: parameter.data.shape for key, parameter in self.parameters.items()}
        loaded = check_optimizer_state(self.recipe, shapes, self.network.dtype, state)
        for key, parameter in self.parameters.items():
            self.optimizer.state[parameter] = held = {}
            for name, array in loaded.get(key, {}).items():
                held[name] = np.empty_like(parameter.data if array.ndim else array)
                held[name][...] = array


def _copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def _optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> nn.Optimizer:
    groups = [
        {"params": [p for p in parameters if recipe.decays(p.data.ndim)], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if not recipe.decays(p.data.ndim)], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return nn.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov)
    return {"adam": nn.Adam, "adamw": nn.AdamW}[recipe.optimizer](groups, recipe.lr)
