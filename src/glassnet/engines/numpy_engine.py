"""The NumPy engine: glassnet's own layers, every gradient written by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec
from glassnet.compute import Compute
from glassnet.engines.averaging import ArrayAverage
from glassnet.engines.base import Network, captured_outputs
from glassnet.engines.numpy_parts import PartSums
from glassnet.engines.records import Batch, Trace, TrainStats
from glassnet.engines.shards import TreeSum, dropout_of_batch, part_rows
from glassnet.engines.threads import limit_blas_threads
from glassnet.engines.trainer import (
    HEAD_LAYERS,
    Trainer,
    check_optimizer_state,
    join_stats,
    param_groups,
)
from glassnet.initialization import build_uninitialized
from glassnet.nn import functional
from glassnet.nn.kernels import Kernels
from glassnet.nn.kernels.array_pool import ArrayPool
from glassnet.nn.kernels.layout import channels_last
from glassnet.recipe import Recipe
from glassnet.resources import usable_cores

Array = NDArray[Any]


class NumpyNetwork(Network):
    """The network of the NumPy engine: ``module`` holds the layers, the methods convert inputs and outputs."""

    engine = "numpy"
    engine_title = "NumPy"
    layers: ClassVar[Any] = nn

    def __init__(self, spec: ResNetSpec, compute: Compute) -> None:
        threads = usable_cores() if compute.threads is None else compute.threads
        super().__init__(spec, compute.replace(device="cpu", threads=threads, channels_last=True))
        self.module: nn.Module = build_uninitialized(spec, self.dtype)
        self.array_pool = ArrayPool()  # shapes are the same at each step, so arrays are reused
        functions = Kernels(self.threads, self.array_pool) if self.kernels == "fast" else cast(Kernels, functional)
        self.module.use_kernels(functions)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.data.size for parameter in self.module.parameters())

    def state_dict(self) -> dict[str, Array]:
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        self.module.load_state_dict(state)

    def _trainer(self, recipe: Recipe, freeze: str | None, weights: Array | None) -> NumpyTrainer:
        return NumpyTrainer(self, recipe, freeze, weights)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute on this network's threads, without warnings of overflow: it shows in the loss, which is checked."""
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

    def _forward_in_training(self, images: Array) -> None:
        self.array_pool.start_task(("batch", images.shape))
        with self.computing():
            self.module.train()(self._ready(images))

    def _activations(self, images: Array, names: Collection[str]) -> dict[str, Array]:
        captured: dict[str, Array] = {}

        def save_output(name: str, x: Array, y: Array) -> None:
            captured.update(_copies(captured_outputs(name, x, y, names)))

        with nn.module_hooks(self.module, self.activation_names, forward=save_output):
            self._logits(images)
        return captured

    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace:
        captured: dict[str, Array] = {}
        captured_grads: dict[str, Array] = {}

        def save_output(name: str, x: Array, y: Array) -> None:
            captured.update(_copies(captured_outputs(name, x, y, names)))

        def save_gradient(name: str, dy: Array, dx: Array) -> None:
            captured_grads.update(_copies(captured_outputs(name, dx, dy, names)))

        self.array_pool.start_task(("trace", images.shape))
        saved_grads = [(parameter, parameter.grad.copy(order="K")) for parameter in self.module.parameters()]
        loss = nn.CrossEntropyLoss()
        with self._state_preserved():
            try:
                with (
                    self.computing(),
                    nn.module_hooks(self.module, self.activation_names, forward=save_output, backward=save_gradient),
                ):
                    value = loss(self.module.train()(self._ready(images)), labels)
                    self.module.backward(loss.backward())
                gradients = _copies({key: parameter.grad for key, parameter in self.module.named_parameters()})
                buffers = {key: array for key, array in self.state_dict().items() if key not in gradients}
            finally:
                for parameter, gradient in saved_grads:
                    parameter.grad[...] = gradient
        # A faulty container may skip a layer's backward.
        ordered_grads = {name: captured_grads[name] for name in captured if name in captured_grads}
        return Trace(captured, value, ordered_grads, gradients, buffers)

    def _load(self, batch: Batch) -> tuple[Array, Array]:
        return batch.normalization.apply(batch.images, self.dtype), batch.labels


class NumpyTrainer(Trainer):
    """The trainer of the NumPy engine, with glassnet's own optimizers; ``step`` returns a float."""

    def __init__(self, network: NumpyNetwork, recipe: Recipe, freeze: str | None, weights: Array | None) -> None:
        self.network = network
        self.recipe = recipe
        self.class_weights = weights
        self.loss = nn.CrossEntropyLoss(recipe.label_smoothing, weights)
        layers = dict(network.module.named_children())
        frozen = [name for name in layers if freeze is not None and name not in HEAD_LAYERS]
        self.frozen = nn.Sequential({name: layers.pop(name) for name in frozen})
        self.trained = nn.Sequential(layers)
        self.parameters = dict(self.trained.named_parameters())
        network.module.eval()  # the first step, as the first after an evaluation, switches layers to training mode
        groups = param_groups(recipe, self.parameters)
        self.lr_factors = [group.pop("lr_factor") for group in groups]
        self.optimizer = _optimizer(recipe, groups)
        averaged = {key: array for key, array in self.trained.named_arrays() if array.dtype.kind == "f"}
        self.average = ArrayAverage(recipe.ema, averaged) if recipe.ema else None
        self.shards = recipe.shards or 1
        norms = [layer for layer in self.trained.modules() if isinstance(layer, nn.BatchNorm2d)]
        self.part_sums = PartSums(self.parameters.values(), norms) if self.shards > 1 else None
        self._reset_stats()

    def _reset_stats(self) -> None:
        self._sums = [[0.0, 0.0] for _ in range(self.shards)]  # losses by weight, and weights, of each part
        self._n_correct, self._count = 0, 0

    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> float:
        network = self.network
        if isinstance(batch, Batch):
            images, labels = network._load(batch)
        else:
            images = network._ready(network._checked(batch))
            labels = network._checked_labels(np.asarray(labels), len(images))
        network.array_pool.start_task(("step", images.shape))
        with network.computing():
            if not network.module.training:
                network.module.train()
                self.frozen.eval()
            if self.part_sums is None:
                loss = self._compute(0, images, labels)
            else:
                loss = self._compute_parts(self.part_sums, images, labels)
            self.update(self.recipe.lr if lr is None else lr)
        return loss

    def update(self, lr: float) -> None:
        """Update the weights, and their average, from the gradients of the parameters, which are clipped in place."""
        if self.recipe.clip_grad_norm is not None:
            self._clip(self.recipe.clip_grad_norm)
        for group, factor in zip(self.optimizer.param_groups, self.lr_factors, strict=True):
            group["lr"] = float(lr) * factor  # np.float64 would compute in float64
        self.optimizer.step()
        if self.average is not None:
            self.average.update()

    def _compute(self, part: int, images: Array, labels: Array, total_weight: float | None = None) -> float:
        """Compute the loss of a part and its gradients, by the part's weight in a batch of ``total_weight``."""
        logits = self.trained(self.frozen(images))
        loss, weight = self.loss(logits, labels), self._weight_of(labels)
        dlogits = self.loss.backward()
        self.trained.backward_params(dlogits if total_weight is None else dlogits * (weight / total_weight))
        self._sums[part][0] += loss * weight
        self._sums[part][1] += weight
        self._n_correct += int(np.count_nonzero(logits.argmax(axis=1) == labels))
        self._count += len(labels)
        return loss

    def _compute_parts(self, sums: PartSums, images: Array, labels: Array) -> float:
        """Compute the parts of a batch one after the other, and add their gradients; return the loss of all."""
        total, loss, total_weight = len(labels), 0.0, self._weight_of(labels) or 1.0
        tree = TreeSum(self.shards)
        shape = (total, self.parameters["fc.weight"].data.shape[1])
        sums.start()
        try:
            with dropout_of_batch(self.network._dropouts(), shape) as choose:
                for part, rows in enumerate(part_rows(total, self.shards)):
                    value = None
                    if rows.start < rows.stop:
                        choose(rows)
                        part_loss = self._compute(part, images[rows], labels[rows], total_weight)
                        loss += part_loss * self._weight_of(labels[rows]) / total_weight
                        value = sums.pop((rows.stop - rows.start) / total)
                    tree.add((part, 1), value)
        finally:
            sums.stop()
        sums.apply(tree.total)
        return loss

    def _weight_of(self, labels: Array) -> float:
        """Return the sum of the weights of these images' classes, or their number if classes have none."""
        return float(len(labels)) if self.class_weights is None else float(self.class_weights[labels].sum())

    def _norms(self) -> dict[str, float]:
        return {key: float(np.linalg.norm(p.grad.ravel(order="K"))) for key, p in self.parameters.items()}

    def _clip(self, max_norm: float) -> None:
        """Scale the whole gradient down to at most this L2 norm (torch.nn.utils.clip_grad_norm_)."""
        total = float(np.sqrt(sum(norm**2 for norm in self._norms().values())))
        if (scale := max_norm / (total + 1e-6)) < 1:
            for parameter in self.parameters.values():
                parameter.grad *= scale

    def pop_stats(self) -> TrainStats:
        stats = join_stats(self.network.processes, self._sums, self._n_correct, self._count, self._norms())
        self._reset_stats()
        return stats

    def _optimizer_state(self) -> dict[str, Array]:
        return {
            f"{key}/{name}": np.array(array, order="C")
            for key, parameter in self.parameters.items()
            for name, array in self.optimizer.state[parameter].items()
        }

    def _load_optimizer_state(self, state: Mapping[str, Array]) -> None:
        shapes = {key: parameter.data.shape for key, parameter in self.parameters.items()}
        loaded = check_optimizer_state(self.recipe, shapes, self.network.dtype, state)
        for key, parameter in self.parameters.items():
            self.optimizer.state[parameter] = held = {}
            for name, array in loaded.get(key, {}).items():
                held[name] = np.empty_like(parameter.data if array.ndim else array)
                held[name][...] = array


def _copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> nn.Optimizer:
    if recipe.optimizer == "sgd":
        return nn.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov)
    return {"adam": nn.Adam, "adamw": nn.AdamW}[recipe.optimizer](groups, recipe.lr)
