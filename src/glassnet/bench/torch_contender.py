"""PyTorch as a contender: bare modules, autograd and torch.optim on the CPU, without glassnet's engine around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glassnet.architecture import assemble
from glassnet.bench.clock import Clock, Passes
from glassnet.bench.contenders import RECIPE, Contender, Part, changes, logits_part
from glassnet.bench.tasks import Inference, Layer, Training
from glassnet.engines import torch_layers

Array = NDArray[Any]

LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}


class Torch(Contender):
    """Eager PyTorch in one of the ``LAYOUTS`` of memory, weights included, with so many threads."""

    engine = "PyTorch"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _ready(self, module: Any, state: Mapping[str, Array], dtype: str) -> Any:
        module.to("cpu", getattr(torch, dtype), memory_format=self._format)
        module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
        return module

    @property
    def _format(self) -> torch.memory_format:
        assert self.layout is not None
        return LAYOUTS[self.layout]

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).contiguous(memory_format=self._format)

    def training(self, task: Training, dtype: str) -> Part:
        network = self._ready(assemble(task.spec, torch_layers), task.state(), dtype)
        images, labels = task.batch(dtype)
        inputs, targets = self._tensor(images), torch.from_numpy(labels)
        decaying = [p for p in network.parameters() if RECIPE.decays(p.ndim)]
        others = [p for p in network.parameters() if not RECIPE.decays(p.ndim)]
        groups: list[dict[str, Any]] = [{"params": decaying, "weight_decay": RECIPE.weight_decay}, {"params": others}]
        optimizer = torch.optim.SGD(groups, RECIPE.lr, RECIPE.momentum)
        clock = Clock()
        losses: list[float] = []

        def once() -> Passes:
            clock.start()
            loss = torch.nn.functional.cross_entropy(network(inputs), targets)
            clock.lap("forward")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
            clock.lap("backward")
            optimizer.step()
            clock.lap("update")
            losses.append(loss.item())
            return clock.total("step")

        def results() -> dict[str, Array]:
            after = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
            return {"loss": np.array(losses[-1]), **changes(task.state(), after)}

        return Part(self.at_work, once, results)

    def inference(self, task: Inference, dtype: str) -> Part:
        network = self._ready(assemble(task.spec, torch_layers), task.state(), dtype).eval()
        inputs = self._tensor(task.batch(dtype)[0])

        def compute() -> Tensor:
            with torch.inference_mode():
                logits: Tensor = network(inputs)
            return logits

        return logits_part(self, compute)

    def layer(self, task: Layer, dtype: str) -> Part:
        layer = self._ready(task.make(torch_layers), task.state(), dtype)
        x, dy = map(self._tensor, task.arrays(dtype))
        x.requires_grad_(not task.first)
        wanted = {**({} if task.first else {"dx": x}), **dict(layer.named_parameters())}
        clock = Clock()
        seen: dict[str, Tensor] = {}

        def once() -> Passes:
            seen.clear()
            clock.start()
            y = layer(x)
            clock.lap("forward")
            gradients = torch.autograd.grad(y, list(wanted.values()), dy)
            clock.lap("backward")
            seen.update(zip(wanted, gradients, strict=True), y=y.detach())
            return clock.seconds

        return Part(self.at_work, once, lambda: {key: tensor.numpy() for key, tensor in seen.items()})
