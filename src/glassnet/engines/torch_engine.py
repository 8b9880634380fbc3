"""The PyTorch engine: the same architecture from torch.nn's layers, gradients by autograd.

Device, mixed precision and processes are torch's own (torch_device.py). Weights, batches, augmentation and
dropout masks come from the same NumPy generators as in the NumPy engine: in float64 the two engines' trainings agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.architecture import ResNetSpec, assemble
from glassnet.compute import Compute
from glassnet.engines import torch_layers
from glassnet.engines.base import Network, captured_outputs
from glassnet.engines.process_group import SINGLE_PROCESS, ProcessGroup
from glassnet.engines.records import Batch, Trace, TrainStats
from glassnet.engines.shards import TreeSum, dropout_of_batch, part_rows
from glassnet.engines.torch_averaging import TensorAverage
from glassnet.engines.torch_device import autocast, choose_device
from glassnet.engines.torch_inputs import normalize, to_array, to_device
from glassnet.engines.torch_optimizer import TorchOptimizer
from glassnet.engines.torch_parts import PartSums, sum_over_processes
from glassnet.engines.trainer import HEAD_LAYERS, Trainer, join_stats, split_state
from glassnet.errors import GlassnetError
from glassnet.nn.module import match_state_dict
from glassnet.recipe import Recipe

Array = NDArray[Any]


class TorchNetwork(Network):
    """The network of the PyTorch engine. ``compiled`` is ``module``, compiled if ``compute.compile`` is set."""

    engine = "torch"
    engine_title = "PyTorch"
    layers: ClassVar[Any] = torch_layers

    def __init__(self, spec: ResNetSpec, compute: Compute, processes: ProcessGroup = SINGLE_PROCESS) -> None:
        self.torch_device = choose_device(compute, processes)
        if compute.threads is not None:
            torch.set_num_threads(compute.threads)
        # Tensor cores are fastest on channels-last arrays. On CPUs PyTorch 2.13 can corrupt memory in float32
        # convolutions of few channels in that order; torch_layers.Conv2d avoids the known case, the default all cases.
        channels_last = compute.channels_last
        values = {
            "device": str(self.torch_device),
            "threads": torch.get_num_threads(),
            "channels_last": self.torch_device.type == "cuda" if channels_last is None else channels_last,
        }
        super().__init__(spec, compute.replace(**values), processes)
        self.torch_dtype = getattr(torch, compute.dtype)
        self.memory_format = torch.channels_last if self.compute.channels_last else torch.contiguous_format
        self.module: torch.nn.Module = assemble(spec, torch_layers)
        self.module.to(self.torch_device, self.torch_dtype, memory_format=self.memory_format)
        self.compiled: Any = torch.compile(self.module) if compute.compile else self.module

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    def state_dict(self) -> dict[str, Array]:
        return {key: to_array(tensor) for key, tensor in self.module.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        own = self.module.state_dict()
        counter = np.dtype(np.int64)
        expected = {key: (tuple(t.shape), self.dtype if t.is_floating_point() else counter) for key, t in own.items()}
        with torch.no_grad():
            for key, array in match_state_dict(expected, state).items():
                own[key].copy_(torch.from_numpy(np.array(array)))

    def _trainer(self, recipe: Recipe, freeze: str | None, weights: Array | None) -> TorchTrainer:
        return TorchTrainer(self, recipe, freeze, weights)

    def _ready(self, images: Array | Tensor) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
        return tensor.to(self.torch_device, self.torch_dtype).contiguous(memory_format=self.memory_format)

    def _logits(self, images: Array | Tensor) -> Array:
        self.module.eval()
        with torch.inference_mode(), _as_glassnet_error():
            return to_array(self._forward(self.compiled, images))

    def _uncompiled_logits(self, images: Array) -> Tensor:
        """Return the logits of the uncompiled network, in which forward hooks run."""
        return self._forward(self.module, images)

    def _forward(self, module: Any, images: Array | Tensor) -> Tensor:
        with autocast(self.precision, self.torch_device):
            logits: Tensor = module(self._ready(images)).to(self.torch_dtype)
        return logits

    @contextmanager
    def _forward_hooks(self, names: Collection[str]) -> Iterator[dict[str, Tensor]]:
        """Collect the tensors of ``names`` while the network runs inside the context."""
        captured: dict[str, Tensor] = {}

        def save_output(name: str, x: Tensor, y: Tensor) -> Tensor:
            own = y.view_as(y)  # Identity returns x itself, whose gradient has other parts as well
            captured.update(captured_outputs(name, x, own, names))
            return own

        layers = self.activation_names
        hooks = [
            module.register_forward_hook(lambda _module, inputs, y, name=name: save_output(name, inputs[0], y))
            for name, module in self.module.named_modules()
            if name in layers
        ]
        try:
            yield captured
        finally:
            for hook in hooks:
                hook.remove()

    def _activations(self, images: Array, names: Collection[str]) -> dict[str, Array]:
        self.module.eval()
        with torch.inference_mode(), _as_glassnet_error(), self._forward_hooks(names) as captured:
            self._uncompiled_logits(images)
        return self._arrays(captured, captured.values())

    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace:
        parameters = dict(self.module.named_parameters())
        frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
        with self._state_preserved():
            self.module.train().requires_grad_(True)
            try:
                with _as_glassnet_error(), self._forward_hooks(names) as captured:
                    logits = self._uncompiled_logits(images)
                    targets = torch.from_numpy(labels).to(logits.device, torch.int64)
                    loss = torch.nn.functional.cross_entropy(logits, targets)
                    tensors = [*captured.values(), *parameters.values()]
                    gradients = torch.autograd.grad(loss, tensors, materialize_grads=True)
                buffers = {key: to_array(buffer) for key, buffer in self.module.named_buffers()}
            finally:
                for parameter in frozen:
                    parameter.requires_grad_(False)
        return Trace(
            self._arrays(captured, captured.values()),
            loss.item(),
            self._arrays(captured, gradients[: len(captured)]),
            self._arrays(parameters, gradients[len(captured) :]),
            buffers,
        )

    def _arrays(self, names: Iterable[str], tensors: Iterable[Tensor]) -> dict[str, Array]:
        return {name: to_array(tensor.to(self.torch_dtype)) for name, tensor in zip(names, tensors, strict=True)}

    def _load(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = (to_device(array, self.torch_device) for array in (batch.images, batch.labels))
        images = normalize(images, batch.normalization, self.torch_dtype)
        return images.contiguous(memory_format=self.memory_format), labels


class TorchTrainer(Trainer):
    """The trainer of the PyTorch engine; ``step`` returns a tensor of shape () on the device."""

    def __init__(self, network: TorchNetwork, recipe: Recipe, freeze: str | None, weights: Array | None) -> None:
        self.network, self.recipe = network, recipe
        children = dict(network.module.named_children())
        self.frozen = [layer for name, layer in children.items() if freeze is not None and name not in HEAD_LAYERS]
        for name, layer in children.items():
            layer.requires_grad_(freeze is None or name in HEAD_LAYERS)
        self.parameters = {key: p for key, p in network.module.named_parameters() if p.requires_grad}
        network.module.eval()  # the first step, as the first after an evaluation, switches to training mode
        self.scaler = torch.amp.GradScaler(network.torch_device.type, enabled=network.precision == "16-mixed")
        self.shards = recipe.shards or network.processes.world_size
        self.parts = network.processes.parts(self.shards)
        layers = network.module.modules() if freeze is None else ()
        norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
        self.part_sums = PartSums(self.parameters.values(), norms) if self.shards > 1 else None
        place = network.torch_device, network.torch_dtype
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(*place)
        self.loss = torch.nn.CrossEntropyLoss(self.class_weights, label_smoothing=recipe.label_smoothing)
        self.optimizer = TorchOptimizer(recipe, self.parameters)
        self.average = TensorAverage(recipe.ema, self._averaged_tensors(freeze)) if recipe.ema else None
        self._reset_stats()

    def _averaged_tensors(self, freeze: str | None) -> dict[str, Tensor]:
        """Return the parameters and floating-point buffers of the layers that are trained."""
        tensors: dict[str, Tensor] = self.network.module.state_dict(keep_vars=True)
        return {
            key: tensor
            for key, tensor in tensors.items()
            if tensor.is_floating_point() and (freeze is None or key.partition(".")[0] in HEAD_LAYERS)
        }

    def _reset_stats(self) -> None:
        # Sums stay on the device, so that no step waits for it. Apple's GPU has no float64.
        device = self.network.torch_device
        precise = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(len(self.parts), 2, dtype=precise, device=device)  # losses by weight, and weights
        self._n_correct = torch.zeros((), dtype=torch.int64, device=device)
        self._count = 0

    def _weight_of(self, targets: Tensor) -> Any:
        """Return the sum of the weights of these images' classes, or their number if classes have none."""
        return len(targets) if self.class_weights is None else self.class_weights[targets].sum()

    def step(self, batch: Batch | Array, labels: Array | None = None, lr: float | None = None) -> Tensor:
        network = self.network
        if not isinstance(batch, Batch):
            batch = network._checked(batch)
            labels = network._checked_labels(np.asarray(labels), len(batch))
        if not network.module.training:
            network.module.train()
            for layer in self.frozen:
                layer.eval()
        with _as_glassnet_error():
            if self.part_sums is None:
                network.module.zero_grad()
                loss = self._compute(0, *self._load_rows(batch, labels, slice(0, len(batch))))
            else:
                loss = self._compute_parts(self.part_sums, batch, labels)
        optimizer: Any = self.optimizer
        if self.recipe.clip_grad_norm is not None:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.recipe.clip_grad_norm)
        self.optimizer.lr = self.recipe.lr if lr is None else lr
        self.scaler.step(optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return loss

    def _compute(self, index: int, images: Tensor, targets: Tensor, total_weight: Any = None) -> Tensor:
        """Compute the loss of a part and its gradients, by the part's weight in a batch of ``total_weight``.

        :param index: the index of the part among those of this process.
        """
        logits = self.network._forward(self.network.compiled, images)
        loss: Tensor = self.loss(logits, targets)
        weight = self._weight_of(targets)
        scaled = self.scaler.scale(loss if total_weight is None else loss * (weight / total_weight))
        scaled.backward()  # type: ignore[no-untyped-call]
        loss = loss.detach()
        self._sums[index, 0] += loss * weight
        self._sums[index, 1] += weight
        self._n_correct += (logits.argmax(dim=1) == targets).sum()
        self._count += len(targets)
        return loss

    def _compute_parts(self, sums: PartSums, batch: Any, labels: Array | None) -> Tensor:
        """Compute this process's parts one after the other, and add the gradients of all processes' parts.

        :returns: the loss of this process's images, or 0 if it has none.
        """
        all_labels = batch.all_labels if labels is None else labels
        total_weight = self._weight_of(torch.from_numpy(all_labels).to(self.network.torch_device))
        rows, total = part_rows(len(all_labels), self.shards), len(all_labels)
        sizes = [part.stop - part.start for part in rows]
        tree, before = TreeSum(self.shards), self._sums.sum(dim=0)
        shape = (total, self.network.module.fc.in_features)
        sums.start()
        try:
            with dropout_of_batch(self.network._dropouts(), shape) as choose:
                for index, part in enumerate(self.parts):
                    value = None
                    if sizes[part]:
                        choose(rows[part])
                        self._compute(index, *self._load_rows(batch, labels, rows[part]), total_weight)
                        value = sums.pop(sizes[part] / total)
                    tree.add((part, 1), value)
        finally:
            sums.stop()
        in_order = self.network.compute.all_reduce == "tree"
        sums.apply(sum_over_processes(tree, self.network.processes, sizes, sums.vector, in_order=in_order))
        loss, weight = self._sums.sum(dim=0) - before
        return loss / weight.clamp(min=1e-300)

    def _load_rows(self, batch: Any, labels: Array | None, rows: slice) -> tuple[Tensor, Tensor]:
        """Return images and labels of these rows of a batch, on the device and in the network's dtype."""
        if labels is None:
            return self.network._load(batch.take(rows))
        images = self.network._ready(batch[rows])
        return images, torch.from_numpy(labels[rows]).to(images.device, torch.int64)

    def pop_stats(self) -> TrainStats:
        norms = {
            key: 0.0 if p.grad is None else float(torch.linalg.vector_norm(p.grad))
            for key, p in self.parameters.items()
        }
        sums, n_correct = self._sums.tolist(), int(self._n_correct)
        stats = join_stats(self.network.processes, sums, n_correct, self._count, norms)
        self._reset_stats()
        return stats

    def state(self) -> dict[str, Array]:
        state = self.optimizer.state()
        return state if self.average is None else state | self.average.state()

    def load_state(self, state: Mapping[str, Array]) -> None:
        optimizer, averages = split_state(state, self.average)
        self.optimizer.load_state(optimizer)
        if self.average is not None:
            self.average.load_state(averages)


@contextmanager
def _as_glassnet_error() -> Iterator[None]:
    """Raise torch's errors, such as those of shapes that do not fit, as a GlassnetError."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise GlassnetError(str(error).strip().splitlines()[0]) from error
