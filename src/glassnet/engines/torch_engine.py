"""The PyTorch engine: the same architecture from torch.nn's layers, gradients by autograd, where it scales.

Device, mixed precision and processes are torch's own (torch_device.py). Weights, batches, augmentation and
dropout masks come from the same NumPy generators as in the NumPy engine: in float64 the two engines' trainings agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from glassnet.architecture import ResNetSpec, assemble
from glassnet.data import Augmentation, Normalization, Split
from glassnet.engines import torch_layers
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
from glassnet.engines.processes import ALONE, Processes
from glassnet.engines.threads import usable_cores
from glassnet.engines.torch_device import autocast, check_precision, choose_device, join_processes
from glassnet.errors import GlassnetError
from glassnet.nn.checks import check_int
from glassnet.nn.module import match_state_dict
from glassnet.recipe import Recipe

Array = NDArray[Any]


@dataclass(frozen=True)
class Placed:
    """A split on the device: images uint8 (N, H, W, C), labels int64 (N,), mean and std in the network's dtype."""

    images: Tensor
    labels: Tensor
    scale: float
    mean: Tensor
    std: Tensor


class TorchNetwork(Network):
    """``module`` is the bare network; ``compiled`` is what torch.compile makes of it, where that was asked for."""

    engine = "torch"
    engine_title = "PyTorch"

    def __init__(
        self,
        spec: ResNetSpec,
        dtype: np.dtype[Any],
        device: str = "auto",
        precision: str | None = None,
        compile: bool = False,
        threads: int | None = None,
        channels_last: bool | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(spec, dtype)
        if threads is not None:
            torch.set_num_threads(check_int("threads", threads))
        elif processes.count > 1:  # they share the cores
            torch.set_num_threads(max(1, usable_cores() // processes.count))
        self.torch_device = choose_device(device, processes)
        check_precision(precision, dtype, self.torch_device)
        self.device, self.precision, self.threads = str(self.torch_device), precision, torch.get_num_threads()
        self.compile, self.processes = compile, processes
        self.torch_dtype = getattr(torch, dtype.name)
        self.module: torch.nn.Module = assemble(spec, torch_layers)
        # Channels-last is what tensor cores want. On CPUs PyTorch 2.13 can corrupt memory in float32 convolutions of
        # few channels in that order; torch_layers.Conv2d avoids the case we know, and the default all cases.
        on_gpu = self.torch_device.type == "cuda"
        self.channels_last = on_gpu if channels_last is None else channels_last
        self.memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        self.module.to(self.torch_device, self.torch_dtype, memory_format=self.memory_format)
        self.compiled: Any = torch.compile(self.module) if compile else self.module

    @property
    def activation_names(self) -> list[str]:
        return names_in_forward_order(self.module, torch_layers.Residual)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    def state_dict(self) -> dict[str, Array]:
        return {key: _array(tensor) for key, tensor in self.module.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        own = self.module.state_dict()
        counter = np.dtype(np.int64)
        expected = {key: (tuple(t.shape), self.dtype if t.is_floating_point() else counter) for key, t in own.items()}
        with torch.no_grad():
            for key, array in match_state_dict(expected, state).items():
                own[key].copy_(torch.from_numpy(np.array(array)))

    def _trainer(self, recipe: Recipe, freeze: str | None) -> TorchTrainer:
        return TorchTrainer(self, recipe, freeze)

    def place(self, split: Split, normalization: Normalization) -> Placed:
        device = self.torch_device
        return Placed(
            torch.from_numpy(split.images).to(device),
            torch.from_numpy(split.labels).to(device),
            normalization.scale,
            torch.tensor(normalization.mean, dtype=self.torch_dtype, device=device),
            torch.tensor(normalization.std, dtype=self.torch_dtype, device=device),
        )

    def seed_dropout(self, generator: np.random.Generator) -> None:
        for module in self._dropouts():
            module.generator = generator

    def _dropouts(self) -> list[torch_layers.Dropout]:
        return [module for module in self.module.modules() if isinstance(module, torch_layers.Dropout)]

    def _ready(self, images: Array | Tensor) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
        return tensor.to(self.torch_device, self.torch_dtype).contiguous(memory_format=self.memory_format)

    def _logits(self, images: Array | Tensor) -> Array:
        self.module.eval()
        with torch.inference_mode(), _stated():
            return _array(self._computed(self.compiled, images))

    def _bare_logits(self, images: Array) -> Tensor:
        """For looking: compiled code has no place to look."""
        return self._computed(self.module, images)

    def _computed(self, module: Any, images: Array | Tensor) -> Tensor:
        with autocast(self.precision, self.torch_device):
            logits: Tensor = module(self._ready(images)).to(self.torch_dtype)
        return logits

    @contextmanager
    def _watched(self, names: Collection[str]) -> Iterator[dict[str, Tensor]]:
        """What ``names`` say, as tensors of the graph, once the network has run inside the context."""
        seen: dict[str, Tensor] = {}

        def look(name: str, x: Tensor, y: Tensor) -> Tensor:
            own = y.view_as(y)  # Identity hands on x itself, and the gradient of x has more than this one's part
            seen.update(shown(name, x, own, names))
            return own

        layers = self.activation_names
        hooks = [
            module.register_forward_hook(lambda _module, inputs, y, name=name: look(name, inputs[0], y))
            for name, module in self.module.named_modules()
            if name in layers
        ]
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()

    def _activations(self, images: Array, names: Collection[str]) -> dict[str, Array]:
        self.module.eval()
        with torch.inference_mode(), _stated(), self._watched(names) as seen:
            self._bare_logits(images)
        return self._arrays(seen, seen.values())

    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace:
        before = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        drawn = [dropout.generator.bit_generator.state for dropout in self._dropouts()]
        parameters = dict(self.module.named_parameters())
        frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
        self.module.train().requires_grad_(True)
        try:
            with _stated(), self._watched(names) as seen:
                logits = self._bare_logits(images)
                targets = torch.from_numpy(labels).to(logits.device, torch.int64)
                loss = torch.nn.functional.cross_entropy(logits, targets)
                tensors = [*seen.values(), *parameters.values()]
                gradients = torch.autograd.grad(loss, tensors, materialize_grads=True)
            buffers = {key: _array(buffer) for key, buffer in self.module.named_buffers()}
        finally:
            self.module.eval()  # the next step sets anew who trains
            for parameter in frozen:
                parameter.requires_grad_(False)
            for buffer, value in before:
                buffer.copy_(value)
            for dropout, state in zip(self._dropouts(), drawn, strict=True):
                dropout.generator.bit_generator.state = state
        return Trace(
            self._arrays(seen, seen.values()),
            loss.item(),
            self._arrays(seen, gradients[: len(seen)]),
            self._arrays(parameters, gradients[len(seen) :]),
            buffers,
        )

    def _arrays(self, names: Iterable[str], tensors: Iterable[Tensor]) -> dict[str, Array]:
        return {name: _array(tensor.to(self.torch_dtype)) for name, tensor in zip(names, tensors, strict=True)}

    def _gather(self, batch: Batch) -> tuple[Tensor, Tensor]:
        placed: Placed = batch.placed
        indices = torch.from_numpy(batch.indices).to(placed.labels.device)
        images = placed.images[indices]
        if batch.augmentation is not None:
            images = _augmented(images, batch.augmentation)
        x = (images.to(self.torch_dtype) / placed.scale - placed.mean) / placed.std
        return x.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format), placed.labels[indices]

    def _placed_labels(self, placed: Placed) -> Array:
        return _array(placed.labels)


class TorchTrainer(Trainer):
    def __init__(self, network: TorchNetwork, recipe: Recipe, freeze: str | None = None) -> None:
        self.network, self.recipe = network, recipe
        children = dict(network.module.named_children())
        self.frozen = [layer for name, layer in children.items() if freeze is not None and name not in HEAD]
        for name, layer in children.items():
            layer.requires_grad_(freeze is None or name in HEAD)
        self.parameters = {key: p for key, p in network.module.named_parameters() if p.requires_grad}
        network.module.eval()  # the first step, as the first after an evaluation, sets who trains
        self.scaler = torch.amp.GradScaler(network.torch_device.type, enabled=network.precision == "16-mixed")
        with _stated():
            self.module = self._distributed() if network.processes.count > 1 else network.compiled
        self.dropouts = network._dropouts()
        self.loss = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.optimizer = _optimizer(recipe, list(self.parameters.values()))
        self._clear()

    def _distributed(self) -> Any:
        """Return the network as one of several that add up their gradients; the processes meet here."""
        network = self.network
        join_processes(network.processes, network.torch_device)
        module = DistributedDataParallel(network.module)
        return torch.compile(module) if network.compile else module

    def _clear(self) -> None:
        # Sums stay on the device: nothing waits for it between two readings. Apple's GPU has no float64.
        device = self.network.torch_device
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=precise, device=device)
        self._right = torch.zeros((), dtype=torch.int64, device=device)
        self._count = 0

    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> Tensor:
        network = self.network
        if not isinstance(batch, Batch):
            batch = network._checked(batch)
            labels = network._checked_labels(np.asarray(labels), len(batch))
        total = len(batch)
        share = network.processes.share(total)
        count = share.stop - share.start
        # With fewer images than processes some have none; they compute all of them, and it counts nothing.
        rows = share if count else slice(total)
        images, targets = self._taken(batch, labels, rows)
        if not network.module.training:
            network.module.train()
            for layer in self.frozen:
                layer.eval()
        with _stated(), self._share_of_dropout(total, rows):
            logits = network._computed(self.module, images)
            loss: Tensor = self.loss(logits, targets)
            self.optimizer.zero_grad()
            # The mean over processes of their gradients is that of the whole batch when each counts by its images.
            weight = count * network.processes.count / max(1, total)
            self._backward(loss if weight == 1 else loss * weight)
        if self.recipe.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr if lr is None else lr
        self.scaler.step(self.optimizer)
        self.scaler.update()
        loss = loss.detach()
        if count:
            self._loss_sum += loss * count
            self._right += (logits.argmax(dim=1) == targets).sum()
            self._count += count
        return loss

    def _backward(self, loss: Tensor) -> None:
        with warnings.catch_warnings():
            if self.network.processes.count > 1:  # said of kernels of one channel, whose memory orders are the same
                warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    @contextmanager
    def _share_of_dropout(self, total: int, rows: slice) -> Iterator[None]:
        """Draw masks for ``total`` images and use these rows of them: what one process would use there."""
        for dropout in self.dropouts:
            dropout.share = total, rows
        try:
            yield
        finally:
            for dropout in self.dropouts:
                dropout.share = None

    def _taken(self, batch: Any, labels: Array | None, rows: slice) -> tuple[Tensor, Tensor]:
        """Images and labels of these rows of a batch, where and as the network computes."""
        if labels is None:
            return self.network._gather(batch.take(rows))
        images = self.network._ready(batch[rows])
        return images, torch.from_numpy(labels[rows]).to(images.device, torch.int64)

    def totals(self) -> TrainStats:
        norms = {
            key: 0.0 if p.grad is None else float(torch.linalg.vector_norm(p.grad))
            for key, p in self.parameters.items()
        }
        sums = torch.stack([self._loss_sum, self._right.to(self._loss_sum), self._loss_sum.new_tensor(self._count)])
        with _stated():
            if self.network.processes.count > 1:
                torch.distributed.all_reduce(sums)
            loss, right, count = sums.tolist()
        self._clear()
        return TrainStats(loss / max(1, count), right / max(1, count), int(count), norms)

    def state(self) -> dict[str, Array]:
        return {
            f"{key}/{name}": _array(tensor)
            for key, parameter in self.parameters.items()
            for name, tensor in self.optimizer.state[parameter].items()
            if tensor is not None
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        shapes = {key: tuple(parameter.shape) for key, parameter in self.parameters.items()}
        loaded = check_optimizer_state(self.recipe, shapes, self.network.dtype, state)
        self.optimizer.state.clear()
        for key, arrays in loaded.items():
            parameter = self.parameters[key]
            for name, array in arrays.items():
                tensor = torch.from_numpy(array)
                # A step count stays on the CPU in float32, as torch.optim keeps it.
                own = torch.empty_like(parameter).copy_(tensor) if array.ndim else tensor.to(torch.float32)
                self.optimizer.state[parameter][name] = own.detach()


@contextmanager
def _stated() -> Iterator[None]:
    """What torch says of shapes that do not fit, and of processes that do not meet, as a stated failure."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise GlassnetError(str(error).strip().splitlines()[0]) from error


def _array(tensor: Tensor) -> Array:
    """A C-contiguous copy on the CPU."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _augmented(images: Tensor, augmentation: Augmentation) -> Tensor:
    """``Augmentation.apply`` on the device: pad, crop and flip images (N, H, W, C)."""
    N, H, W, _ = images.shape
    border = augmentation.padding
    padded = torch.nn.functional.pad(images, (0, 0, border, border, border, border))
    offsets = torch.from_numpy(augmentation.offsets).to(images.device)
    flips = torch.from_numpy(augmentation.flips).to(images.device)
    rows = offsets[:, :1] + torch.arange(H, device=images.device)
    columns = offsets[:, 1:] + torch.arange(W, device=images.device)
    columns = torch.where(flips[:, None], columns.flip(1), columns)
    index = torch.arange(N, device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]


def _optimizer(recipe: Recipe, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if recipe.decays(p.ndim)], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if not recipe.decays(p.ndim)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, recipe.lr)
    return torch.optim.AdamW(groups, recipe.lr)
