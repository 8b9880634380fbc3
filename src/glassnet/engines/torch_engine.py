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
from glassnet.engines.records import Batch, Trace
from glassnet.engines.torch_device import as_glassnet_error, autocast, choose_device
from glassnet.engines.torch_inputs import normalize, to_array, to_device
from glassnet.engines.torch_trainer import TorchTrainer
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
        with torch.inference_mode(), as_glassnet_error():
            return to_array(self._forward(self.compiled, images))

    def _forward_in_training(self, images: Array) -> None:
        self.module.train()
        with torch.no_grad(), as_glassnet_error():
            self._uncompiled_logits(images)

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
        with torch.inference_mode(), as_glassnet_error(), self._forward_hooks(names) as captured:
            self._uncompiled_logits(images)
        return self._arrays(captured, captured.values())

    def _trace(self, images: Array, labels: Array, names: Collection[str]) -> Trace:
        parameters = dict(self.module.named_parameters())
        frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
        with self._state_preserved():
            self.module.train().requires_grad_(True)
            try:
                with as_glassnet_error(), self._forward_hooks(names) as captured:
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
