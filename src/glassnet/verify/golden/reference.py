"""One operation of a network, computed on any inputs by glassnet's own layers: what a port is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.data import Normalization
from glassnet.nn.kernels import Kernels
from glassnet.verify.golden.operations import Operation

Array = NDArray[Any]


@dataclass(frozen=True)
class Site:
    """An operation and all that it reads, in one float dtype, in which it is computed."""

    operation: Operation
    inputs: tuple[Array, ...]
    state: Mapping[str, Array] = field(default_factory=dict)  # parameters and buffers of the operation, by their keys
    training: bool = True
    mask: Array | None = None  # the factors of a dropout layer
    labels: Array | None = None  # those of the loss, (N,)
    label_smoothing: float = 0.0
    class_weights: Array | None = None
    port: Array | None = None  # the port's own output, by which an alternative solves for a constant
    port_buffers: Mapping[str, Array] = field(default_factory=dict)  # the port's own after the pass, by their keys
    earlier: Callable[[], Mapping[str, Array]] = dict  # the port's tensors before the operation's output, by name
    normalization: Normalization | None = None  # that made the images of pixels

    @property
    def kind(self) -> str:
        """The operation's kind."""
        return self.operation.kind

    @property
    def x(self) -> Array:
        """The first input."""
        return self.inputs[0]

    def parameter(self, name: str) -> Array | None:
        """Return a parameter or buffer of the operation by the last part of its key, None if it has no such."""
        return self.state.get(f"{self.operation.name}.{name}")

    def with_inputs(self, *inputs: Array) -> Self:
        """Return the same operation on other inputs."""
        return replace(self, inputs=inputs)

    def with_state(self, **arrays: Array) -> Self:
        """Return the operation with other parameters or buffers, named by the last part of their keys."""
        return replace(self, state={**self.state, **{f"{self.operation.name}.{key}": a for key, a in arrays.items()}})

    def with_attributes(self, **attributes: Any) -> Self:
        """Return the operation with other arguments, such as ``padding=0``."""
        operation = replace(self.operation, attributes={**self.operation.attributes, **attributes})
        return replace(self, operation=operation)


@dataclass(frozen=True)
class Gradients:
    """The backward pass of one operation: gradients of the loss with respect to its inputs and its parameters."""

    inputs: tuple[Array, ...]
    parameters: Mapping[str, Array] = field(default_factory=dict)  # by key


@dataclass(frozen=True)
class Computed:
    """The forward pass of one operation, and its backward pass as a function of the output's gradient."""

    output: Array
    backward: Callable[[Array], Gradients]
    buffers: Mapping[str, Array] = field(default_factory=dict)  # BatchNorm's, after this batch, by key


def compute(site: Site) -> Computed:
    """Compute an operation.

    :raises ShapeError: if the inputs do not fit.
    """
    if site.kind == "Sum":
        return Computed(site.inputs[0] + site.inputs[1], lambda dy: Gradients((dy, dy)))
    if site.kind == "Block":
        return Computed(site.x, lambda dy: Gradients((dy,)))
    if site.kind == "Dropout":
        mask = np.ones(1, site.x.dtype) if site.mask is None or not site.training else site.mask
        return Computed(site.x * mask, lambda dy: Gradients((dy * mask,)))
    if site.kind == "CrossEntropyLoss":
        return _compute_loss(site)
    return _compute_layer(site)


def _compute_loss(site: Site) -> Computed:
    assert site.labels is not None
    loss = nn.CrossEntropyLoss(site.label_smoothing, site.class_weights)
    value = loss(site.x, site.labels)
    gradient = loss.backward()
    return Computed(np.array(value, site.x.dtype), lambda dy: Gradients((dy * gradient,)))


def _compute_layer(site: Site) -> Computed:
    layer: nn.Module = getattr(nn, site.kind)(**arguments(site.operation)).to(site.x.dtype).train(site.training)
    if site.kind == "MaxPool2d":
        # The faster kernels hand a gradient to another pixel of a window than its NaN.
        layer.use_kernels(cast(Kernels, nn.functional))
    prefix = f"{site.operation.name}."
    layer.load_state_dict({key.removeprefix(prefix): array for key, array in site.state.items()})
    output = layer(site.x)
    buffers = {prefix + name: np.array(getattr(layer, name)) for name in layer.buffer_names}

    def backward(dy: Array) -> Gradients:
        dx = layer.backward(dy)
        return Gradients((dx,), {prefix + key: p.grad.copy() for key, p in layer.named_parameters()})

    return Computed(output, backward, buffers)


def arguments(operation: Operation) -> dict[str, Any]:
    """Return what the layer of an operation is made with."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in operation.attributes.items()}
