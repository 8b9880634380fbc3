"""Single operations in torch's own functions, by which the layers of both engines are judged one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from glassnet.verify.golden.operations import Operation

Array = NDArray[Any]


@dataclass(frozen=True)
class Expected:
    """The right output of an operation, and the right gradients."""

    output: Array
    buffers: Mapping[str, Array]  # BatchNorm's, after this batch, by key
    input_gradient: Array | None = None
    gradients: Mapping[str, Array] | None = None  # by the parameter's key


def expect(
    operation: Operation,
    x: Array,
    state: Mapping[str, Array],
    *,
    training: bool,
    mask: Array | None = None,
    dy: Array | None = None,
) -> Expected:
    """Compute one layer in float64; its gradients only if dy is given."""
    prefix, leaf = f"{operation.name}.", torch.from_numpy(x.astype(np.float64)).requires_grad_()
    own = {
        key.removeprefix(prefix): torch.from_numpy(np.array(state[key], np.float64))
        for key in (*operation.parameters, *operation.buffers)
    }
    for key in operation.parameters:
        own[key.removeprefix(prefix)].requires_grad_()
    y = _forward(operation, leaf, own, training, mask)
    buffers = {key: own[key.removeprefix(prefix)].numpy() for key in operation.buffers}
    if dy is None:
        return Expected(y.detach().numpy(), buffers)
    wrt = [leaf, *(own[key.removeprefix(prefix)] for key in operation.parameters)]
    dx, *gradients = torch.autograd.grad(y, wrt, torch.from_numpy(dy.astype(np.float64)))
    arrays = {key: gradient.numpy() for key, gradient in zip(operation.parameters, gradients, strict=True)}
    return Expected(y.detach().numpy(), buffers, dx.numpy(), arrays)


def _forward(operation: Operation, x: Tensor, own: dict[str, Tensor], training: bool, mask: Array | None) -> Tensor:
    kind, of = operation.kind, {name: _as_pair(value) for name, value in operation.attributes.items()}
    if kind == "Conv2d":
        return functional.conv2d(x, own["weight"], own.get("bias"), of["stride"], of["padding"], of.get("dilation", 1))
    if kind == "BatchNorm2d":
        return _normalize(x, own, training, of["eps"], of["momentum"])
    if kind == "ReLU":
        return functional.relu(x)
    if kind == "MaxPool2d":
        return functional.max_pool2d(x, of["kernel_size"], of["stride"], of["padding"], of.get("dilation", 1))
    if kind == "AvgPool2d":
        included = of.get("count_include_pad", True)
        return functional.avg_pool2d(x, of["kernel_size"], of["stride"], of["padding"], count_include_pad=included)
    if kind == "AdaptiveAvgPool2d":
        return x.mean((2, 3), keepdim=True)
    if kind == "Flatten":
        return x.flatten(1)
    if kind == "Linear":
        return functional.linear(x, own["weight"], own.get("bias"))
    if kind == "Dropout":
        return x if mask is None or not training else x * torch.from_numpy(mask)
    if kind == "ZeroPadShortcut":
        stride, new = of["stride"], of["out_channels"] - x.shape[1]
        return functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new - new // 2))
    return x  # Identity, and blocks, whose output is their last layer's


def _normalize(x: Tensor, own: dict[str, Tensor], training: bool, eps: float, momentum: float | None) -> Tensor:
    if training:
        own["num_batches_tracked"] += 1
    rate = 1 / max(1.0, float(own["num_batches_tracked"])) if momentum is None else momentum
    mean, var, w, b = (own[name] for name in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, mean, var, w, b, training, rate, eps)


def _as_pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
