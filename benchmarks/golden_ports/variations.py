"""Healthy variations: ports that compute the same in another way, or write less or otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .networks import NETWORKS
from .torch_port import (
    FORWARD,
    Arrays,
    Call,
    Forward,
    Port,
    Update,
    batch_statistics,
    differentiate,
    per_channel,
    targets,
)

Plant = Callable[[Port], None]


@dataclass(frozen=True)
class Variation:
    """A port without a fault."""

    name: str
    network: str
    dtype: str  # of the bundle
    plant: Plant
    port_dtype: str | None = None  # if another


# Sums in another order.


def by_columns(call: Call) -> Tensor:
    """Convolve by im2col and one matrix product."""
    w = call.state["weight"]
    columns = functional.unfold(call.x, w.shape[2:], padding=call.padding, stride=call.stride)
    y = (w.flatten(1) @ columns).reshape(len(call.x), len(w), *_size(call))
    return y if "bias" not in call.state else y + per_channel(call.state["bias"])


def _size(call: Call) -> tuple[int, ...]:
    return tuple((n + 2 * call.padding - call.kernel_size) // call.stride + 1 for n in call.x.shape[2:])


def by_taps(call: Call) -> Tensor:
    """Convolve tap by tap of the kernel, the last first."""
    w, s, k = call.state["weight"], call.stride, call.kernel_size
    padded, (rows, columns) = functional.pad(call.x, (call.padding,) * 4), _size(call)
    y = torch.zeros(len(call.x), len(w), rows, columns, dtype=call.x.dtype)
    for u in reversed(range(k)):
        for v in reversed(range(k)):
            window = padded[:, :, u : u + rows * s : s, v : v + columns * s : s][:, :, :rows, :columns]
            y = y + torch.einsum("nchw,oc->nohw", window, w[:, :, u, v])
    return y if "bias" not in call.state else y + per_channel(call.state["bias"])


def by_blocks(call: Call) -> Tensor:
    """Convolve the channels in blocks of three, and add the blocks."""
    w, parts = call.state["weight"], range(0, call.x.shape[1], 3)
    y = sum(functional.conv2d(call.x[:, c : c + 3], w[:, c : c + 3], None, call.stride, call.padding) for c in parts)
    return y if "bias" not in call.state else y + per_channel(call.state["bias"])


def by_fourier_transforms(call: Call) -> Tensor:
    w, (rows, columns) = call.state["weight"], _size(call)
    size = [n + 2 * call.padding + call.kernel_size - 1 for n in call.x.shape[2:]]
    padded = functional.pad(call.x, (call.padding,) * 4)
    spectrum = torch.einsum("nchw,ochw->nohw", torch.fft.rfft2(padded, size), torch.fft.rfft2(w.flip(2, 3), size))
    whole, first = torch.fft.irfft2(spectrum, size), call.kernel_size - 1
    y = whole[:, :, first :: call.stride, first :: call.stride][:, :, :rows, :columns]
    return y if "bias" not in call.state else y + per_channel(call.state["bias"])


def in_channels_last_memory(call: Call) -> Tensor:
    x = call.x.contiguous(memory_format=torch.channels_last)
    return functional.conv2d(x, call.state["weight"], call.state.get("bias"), call.stride, call.padding).contiguous()


def matrix_by_rows(call: Call) -> Tensor:
    return (call.x[:, None, :] * call.state["weight"]).flip(2).sum(2) + call.state["bias"]


def matrix_with_bias_first(call: Call) -> Tensor:
    return torch.addmm(call.state["bias"], call.x, call.state["weight"].T)


# BatchNorm.


def fused(call: Call) -> Tensor:
    mean, variance = batch_statistics(call)
    scale = call.state["weight"] * torch.rsqrt(variance + call.eps)
    return call.x * per_channel(scale) + per_channel(call.state["bias"] - mean * scale)


def _with_statistics(call: Call, mean: Tensor, variance: Tensor) -> Tensor:
    """Normalize by these; the buffers follow them."""
    FORWARD["BatchNorm2d"](call)
    n, m = call.x.numel() // call.x.shape[1], call.momentum
    if not call.training:
        mean, variance = call.state["running_mean"], call.state["running_var"]
    else:
        call.buffers["running_mean"] = call.state["running_mean"] + m * (mean.detach() - call.state["running_mean"])
        call.buffers["running_var"] = (1 - m) * call.state["running_var"] + m * variance.detach() * (n / (n - 1))
    x_hat = (call.x - per_channel(mean)) * per_channel(torch.rsqrt(variance + call.eps))
    return per_channel(call.state["weight"]) * x_hat + per_channel(call.state["bias"])


def in_one_pass(call: Call) -> Tensor:
    mean, square = call.x.mean((0, 2, 3)), (call.x * call.x).mean((0, 2, 3))
    return _with_statistics(call, mean, square - mean * mean)


def image_by_image(call: Call) -> Tensor:
    """Merge the moments of the images one after the other (Chan et al. 1979)."""
    mean, squares, seen = torch.zeros(call.x.shape[1], dtype=call.x.dtype), torch.zeros(call.x.shape[1]), 0
    for image in call.x:
        n = image[0].numel()
        own = image.mean((1, 2))
        delta = own - mean
        squares = squares + ((image - per_channel(own)) ** 2).sum((1, 2)) + delta * delta * seen * n / (seen + n)
        mean, seen = mean + delta * n / (seen + n), seen + n
    return _with_statistics(call, mean, squares / seen)


def of_torch(call: Call) -> Tensor:
    """Use torch's own kernel."""
    mean, variance = call.state["running_mean"].clone(), call.state["running_var"].clone()
    y = functional.batch_norm(
        call.x, mean, variance, call.state["weight"], call.state["bias"], call.training, call.momentum, call.eps
    )
    if call.training:
        tracked = call.state["num_batches_tracked"] + 1
        call.buffers = {"running_mean": mean, "running_var": variance, "num_batches_tracked": tracked}
    return y


def by_the_formula(call: Call, dy: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    x = call.x.detach()
    deviation = torch.sqrt(x.var((0, 2, 3), unbiased=False) + call.eps)
    x_hat = (x - per_channel(x.mean((0, 2, 3)))) / per_channel(deviation)
    db, dw = dy.sum((0, 2, 3)), (dy * x_hat).sum((0, 2, 3))
    n, scale = x.numel() // len(db), call.state["weight"].detach() / (deviation * (x.numel() // len(db)))
    dx = per_channel(scale) * (n * dy - per_channel(db) - x_hat * per_channel(dw))
    return [dx], {"weight": dw, "bias": db}


# Kinks, ties and the head.


def open_at_zero(call: Call, dy: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    return [dy * (call.x >= 0)], {}


def pool_of_windows(choose: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call, Tensor], Any]:
    """Return a backward rule that weights the pixels of each window (N, C, k², P) by a choice among the maxima."""

    def rule(call: Call, dy: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        x, k, p = call.x.detach(), call.kernel_size, call.padding
        n, c, height, width = x.shape
        padded = functional.pad(x, (p,) * 4, value=-1e30)
        windows = functional.unfold(padded, k, stride=call.stride).reshape(n, c, k * k, -1)
        is_largest = (windows == windows.amax(2, keepdim=True)).to(x.dtype)
        weights = choose(is_largest, windows) * dy.reshape(n, c, 1, -1)
        back = functional.fold(weights.reshape(n, c * k * k, -1), padded.shape[2:], k, stride=call.stride)
        return [back[:, :, p : p + height, p : p + width]], {}

    return rule


def _last(is_largest: Tensor, windows: Tensor) -> Tensor:
    return is_largest * (is_largest.flip(2).cumsum(2).flip(2) == 1)


last_maximum = pool_of_windows(_last)
maxima_share = pool_of_windows(lambda is_largest, windows: is_largest / is_largest.sum(2, keepdim=True))


def mean_by_product(call: Call) -> Tensor:
    return call.x.flatten(2).sum(2)[..., None, None] * (1 / call.x[0, 0].numel())


def logarithm_of_softmax(call: Call) -> Tensor:
    logarithms = call.x - torch.log(torch.exp(call.x).sum(1, keepdim=True))
    return -(targets(call, call.x.shape[1]) * logarithms).sum(1).mean()


def scaled_and_unscaled(call: Call, dy: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    inputs, parameters = differentiate(call, dy * 1024)
    return [dx / 1024 for dx in inputs], {key: g / 1024 for key, g in parameters.items()}


# The optimizers of torch.


def of_torch_optim(u: Update) -> Tensor:
    """Take one step of torch.optim from the carried arrays."""
    w = torch.nn.Parameter(u.w.clone())
    w.grad = u.g.clone()
    recipe = u.recipe
    if recipe["optimizer"] == "sgd":
        optimizer: Any = torch.optim.SGD([w], u.lr, recipe["momentum"], 0, u.decay, recipe["nesterov"])
    else:
        kind = torch.optim.Adam if recipe["optimizer"] == "adam" else torch.optim.AdamW
        optimizer = kind([w], u.lr, weight_decay=u.decay)
    optimizer.state[w] = {key: a.clone() for key, a in u.carried.items()}
    optimizer.step()
    u.carried.update({key: a for key, a in optimizer.state[w].items() if a is not None})
    return w.detach()


# How they are planted.


def forward(kind: str, rule: Forward) -> Plant:
    def plant(port: Port) -> None:
        port.forward_rules |= {name: rule for name, o in port.operations.items() if o["kind"] == kind}

    return plant


def backward(kind: str, rule: Any) -> Plant:
    def plant(port: Port) -> None:
        port.backward_rules |= {name: rule for name, o in port.operations.items() if kind in ("", o["kind"])}

    return plant


def optimizer(port: Port) -> None:
    port.update = of_torch_optim


def writing(edit: Callable[[Arrays], Arrays]) -> Plant:
    return lambda port: port.edits.append(edit)


def each(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    return writing(lambda arrays: {key: change(array) for key, array in arrays.items()})


def keeping(is_kept: Callable[[str], bool]) -> Plant:
    return writing(lambda arrays: {key: array for key, array in arrays.items() if is_kept(key)})


def _half(key: str) -> bool:
    return sum(key.encode()) % 2 == 0


def _is_layer_inside(key: str) -> bool:
    """Whether a tensor disappears where convolution, BatchNorm and ReLU are one kernel."""
    last = key.rpartition("/")[2].rpartition(".")[2]
    return "activation" in key and (last.startswith(("conv", "bn", "sum", "shortcut")) or last in ("0", "1"))


MISSING: dict[str, Callable[[str], bool]] = {
    "nothing but outputs": lambda key: "/activations/" in key,
    "nothing but gradients of parameters": lambda key: "/gradients/" in key,
    "nothing but the state after steps": lambda key: key.startswith("steps/") and "/state/" in key,
    "nothing but logits and loss": lambda key: key.endswith(("activations/fc", "train/loss")),
    "no gradients of tensors": lambda key: "activation_gradients" not in key,
    "no buffers of the optimizer": lambda key: not key.startswith("steps/") or "/state/" in key,
    "half of all": _half,
    "fused kernels": lambda key: not _is_layer_inside(key),
    "evaluation mode alone": lambda key: key.startswith("eval/"),
    "no counters": lambda key: not key.endswith(("num_batches_tracked", "/step")) and "/step/" not in key,
}


def _rows() -> Iterator[tuple[str, Plant, tuple[str, ...]]]:
    several, large = ("tiny-bn", "bottleneck"), ("option A", "bottleneck")
    for rule in (by_columns, by_taps, by_blocks, in_channels_last_memory):
        yield f"Conv2d {rule.__name__}", forward("Conv2d", rule), ("tiny-bn", "projection", "bottleneck")
    yield "Conv2d by_fourier_transforms", forward("Conv2d", by_fourier_transforms), ("tiny-bn", "bottleneck")
    for rule in (matrix_by_rows, matrix_with_bias_first):
        yield f"Linear {rule.__name__}", forward("Linear", rule), ("tiny-bn",)
    for rule in (fused, in_one_pass, image_by_image, of_torch):
        yield f"BatchNorm2d {rule.__name__}", forward("BatchNorm2d", rule), ("tiny-bn", "bottleneck", "pre-activation")
    yield "BatchNorm2d backward by the formula", backward("BatchNorm2d", by_the_formula), ("option A", "average stem")
    yield "ReLU open at 0", backward("ReLU", open_at_zero), ("tiny-bn", "bottleneck")
    yield "MaxPool2d to the last maximum", backward("MaxPool2d", last_maximum), several
    yield "MaxPool2d to all maxima, shared", backward("MaxPool2d", maxima_share), several
    yield "AdaptiveAvgPool2d by a product", forward("AdaptiveAvgPool2d", mean_by_product), ("projection",)
    yield "loss by exponentials", forward("CrossEntropyLoss", logarithm_of_softmax), ("projection", "tiny-bn")
    yield "gradients scaled by 1024 and back", backward("", scaled_and_unscaled), ("option A",)
    yield "torch.optim", optimizer, ("tiny-bn", "option A", "projection", "pre-activation", "bottleneck", "no norm")
    for name, is_kept in MISSING.items():
        yield name, keeping(is_kept), ("option A", "bottleneck") if name != "fused kernels" else tuple(NETWORKS)
    yield "flat tensors", each(np.ravel), large
    yield "Fortran order", each(np.asfortranarray), large
    yield "written in float32", each(lambda a: a.astype(np.float32) if a.dtype.kind == "f" else a), large


def variations() -> Iterator[Variation]:
    """Yield every healthy variation."""
    number = count()
    for network in NETWORKS:
        for dtype in ("float64", "float32"):
            yield Variation(f"{network} in {dtype}", network, dtype, lambda port: None)
    for network in ("tiny-bn", "projection", "bottleneck"):
        yield Variation(f"{network} in float32 by a float64 bundle", network, "float64", lambda port: None, "float32")
        yield Variation(f"{network} in float64 by a float32 bundle", network, "float32", lambda port: None, "float64")
    for name, plant, networks in _rows():
        for network in networks:
            dtype = ("float64", "float32")[next(number) % 2]
            yield Variation(f"{name}: {network} in {dtype}", network, dtype, plant)
