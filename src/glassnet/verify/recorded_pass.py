"""A pass of an engine in which every layer keeps what it read, returned, received and handed back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.data import make_rng
from glassnet.engines.numpy_engine import NumpyNetwork
from glassnet.verify.golden.cases import GoldenCase

if TYPE_CHECKING:
    from glassnet.engines.torch_engine import TorchNetwork

Array = NDArray[Any]


@dataclass
class LayerRecord:
    """The numbers of a layer: x and y, dy and dx; None where it was never called."""

    x: Array | None = None
    y: Array | None = None
    dy: Array | None = None
    dx: Array | None = None


@dataclass
class RecordedPass:
    """The records of leaf layers and residual blocks, with the gradients of parameters and the buffers afterwards."""

    layers: Mapping[str, LayerRecord]
    gradients: Mapping[str, Array] = field(default_factory=dict)  # none in evaluation mode
    buffers: Mapping[str, Array] = field(default_factory=dict)
    training: bool = True
    loss: float | None = None
    error: str = ""  # what ended the pass


def record_pass(network: Any, case: GoldenCase, *, training: bool) -> RecordedPass:
    """Record a pass of a case through a network of either engine, with the recipe's loss if it is in training mode."""
    network.load_state_dict(case.state())
    network.seed_dropout(make_rng(case.seed, "dropout"))
    with network._state_preserved():
        if isinstance(network, NumpyNetwork):
            return _record_numpy(network, case, training)
        return _record_torch(network, case, training)


def _record_numpy(network: NumpyNetwork, case: GoldenCase, training: bool) -> RecordedPass:
    images, labels = case.batch()
    layers = {name: LayerRecord() for name in network.activation_names}

    def keep_forward(name: str, x: Array, y: Array) -> None:
        layers[name].x, layers[name].y = np.array(x, order="C"), np.array(y, order="C")

    def keep_backward(name: str, dy: Array, dx: Array) -> None:
        layers[name].dy, layers[name].dx = np.array(dy, order="C"), np.array(dx, order="C")

    loss: Any = network.trainer(case.recipe, labels=labels)
    recorded = RecordedPass(layers, training=training)
    parameters = dict(network.module.named_parameters())
    for parameter in parameters.values():
        parameter.grad[...] = np.nan  # a gradient that backward does not fill shows
    hooks = nn.module_hooks(network.module, list(layers), forward=keep_forward, backward=keep_backward)
    with network.computing(), hooks, _kept_error(recorded):
        logits = network.module.train(training)(network._ready(images))
        if training:
            recorded.loss = float(loss.loss(logits, labels))
            network.module.backward(loss.loss.backward())
    recorded.gradients = {key: np.array(parameter.grad, order="C") for key, parameter in parameters.items()}
    recorded.buffers = {key: array for key, array in network.state_dict().items() if key not in parameters}
    return recorded


@contextmanager
def _kept_error(recorded: RecordedPass) -> Iterator[None]:
    """Keep the error that ends a pass, in one line; a wrong layer may raise anything."""
    try:
        yield
    except Exception as error:
        recorded.error = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def _record_torch(network: TorchNetwork, case: GoldenCase, training: bool) -> RecordedPass:
    import torch

    images, labels = case.batch()
    entering: dict[str, torch.Tensor] = {}
    leaving: dict[str, torch.Tensor] = {}

    def keep_input(name: str, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        entering[name] = inputs[0].view_as(inputs[0])  # its own tensor, whose gradient is what this layer hands back
        return (entering[name],)

    def keep_output(name: str, y: torch.Tensor) -> torch.Tensor:
        leaving[name] = y.view_as(y)
        return leaving[name]

    names, hooks = network.activation_names, []
    for name, module in network.module.named_modules():
        if name in names:
            hooks.append(module.register_forward_pre_hook(lambda _, inputs, name=name: keep_input(name, inputs)))
            hooks.append(module.register_forward_hook(lambda _, inputs, y, name=name: keep_output(name, y)))
    trainer: Any = network.trainer(case.recipe, labels=labels)
    recorded = RecordedPass({name: LayerRecord() for name in names}, training=training)
    loss: Any = None
    try:
        with _kept_error(recorded):
            network.module.train(training)
            logits = network.module(network._ready(images).requires_grad_())
            loss = trainer.loss(logits, torch.from_numpy(labels).to(logits.device)) if training else None
    finally:
        for hook in hooks:
            hook.remove()
    for name, record in recorded.layers.items():
        record.x, record.y = _to_array(entering.get(name)), _to_array(leaving.get(name))
    recorded.buffers = {key: np.array(buffer.cpu().numpy()) for key, buffer in network.module.named_buffers()}
    if loss is not None:
        recorded.loss = float(loss.detach())
        with _kept_error(recorded):
            recorded.gradients = _keep_gradients(network, loss, recorded.layers, entering, leaving)
    return recorded


def _keep_gradients(
    network: TorchNetwork, loss: Any, layers: Mapping[str, LayerRecord], *sides: Any
) -> dict[str, Array]:
    """Put the gradients wrt inputs and outputs into the records, and return those wrt parameters."""
    import torch

    parameters = dict(network.module.named_parameters())
    wrt = [tensor for side in (*sides, parameters) for tensor in side.values() if tensor.requires_grad]
    found = dict(zip(map(id, wrt), torch.autograd.grad(loss, wrt, allow_unused=True), strict=True))
    for name, record in layers.items():
        record.dx, record.dy = (_to_array(found.get(id(side.get(name)))) for side in sides)
    return {key: _to_array(found.get(id(parameter))) for key, parameter in parameters.items()}  # type: ignore[misc]


def _to_array(tensor: Any) -> Array | None:
    return None if tensor is None else np.array(tensor.detach().cpu().numpy(), order="C")
