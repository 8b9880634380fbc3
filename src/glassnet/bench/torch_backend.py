"""PyTorch as a backend: bare modules, autograd and torch.optim on the CPU, without glassnet's engine around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.architecture import assemble
from glassnet.bench.backends import PYTORCH, RECIPE, Backend
from glassnet.bench.timing import TimedTask
from glassnet.bench.workloads import Workload
from glassnet.engines import torch_layers

LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}


class TorchBackend(Backend):
    """Eager PyTorch; images and weights lie in memory in one of the ``LAYOUTS``."""

    implementation = PYTORCH

    @contextmanager
    def thread_limits(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def prepare(self, workload: Workload, dtype: str = "float32") -> TimedTask:
        layout = LAYOUTS[self.layout or "NCHW"]
        network = assemble(workload.spec, torch_layers)
        network.to("cpu", getattr(torch, dtype), memory_format=layout).train(workload.is_training)
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in workload.state().items()})
        images, labels = workload.batch(dtype)
        inputs, targets = torch.from_numpy(images).contiguous(memory_format=layout), torch.from_numpy(labels)
        optimizer = _optimizer(network)

        def step() -> float:
            loss = torch.nn.functional.cross_entropy(network(inputs), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
            optimizer.step()
            return loss.item()

        @torch.inference_mode()
        def logits() -> Tensor:
            result: Tensor = network(inputs)
            return result

        def state() -> dict[str, NDArray[np.float64]]:
            return {key: tensor.numpy() for key, tensor in network.state_dict().items()}

        return TimedTask(self.thread_limits, step if workload.is_training else logits, state)


def _optimizer(network: torch.nn.Module) -> torch.optim.SGD:
    """Return SGD as the recipe has it: normalization and biases do not decay."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if RECIPE.decays(p.ndim)], "weight_decay": RECIPE.weight_decay},
        {"params": [p for p in parameters if not RECIPE.decays(p.ndim)], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, RECIPE.lr, RECIPE.momentum)
