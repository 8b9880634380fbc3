"""Planted faults around the passes: in inputs and weights, in the optimizer, and in what the port writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .torch_port import Arrays, Port, Update, adam, moments, per_channel, sgd

Plant = Callable[[Port, str], None]  # the port, and the operation at which the fault is seen first


# Inputs.


def reading(read: Callable[[Port, Tensor], Tensor]) -> Plant:
    """Return a plant of images made of the pixels (N, C, H, W) in [0, 255]."""

    def plant(port: Port, operation: str) -> None:
        pixels = port.case.group("inputs/")["pixels"].permute(0, 3, 1, 2).to(torch.float64)
        port.read_images = lambda: port.cast(read(port, pixels))

    return plant


def standardize(port: Port, pixels: Tensor) -> Tensor:
    mean, std = (per_channel(torch.tensor(v, dtype=torch.float64)) for v in (port.case.mean, port.case.std))
    return (pixels - mean) / std


def _bytes_as_planes(port: Port, pixels: Tensor) -> Tensor:
    return standardize(port, pixels.permute(0, 2, 3, 1).contiguous().reshape(pixels.shape) / 255)


def _other_images(port: Port, pixels: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(pixels.shape, generator=generator, dtype=torch.float64)


not_normalized = reading(lambda port, pixels: pixels / 255)
only_centered = reading(lambda port, pixels: pixels / 255 - per_channel(torch.tensor(port.case.mean).double()))
in_signed_range = reading(lambda port, pixels: pixels / 127.5 - 1)
raw_pixels = reading(lambda port, pixels: pixels)
scaled_twice = reading(lambda port, pixels: standardize(port, pixels / 255 / 255))
bgr = reading(lambda port, pixels: standardize(port, pixels.flip(1) / 255))
bgr_after_normalization = reading(lambda port, pixels: standardize(port, pixels / 255).flip(1))
bytes_as_planes = reading(_bytes_as_planes)
other_images = reading(_other_images)
other_order = reading(lambda port, pixels: standardize(port, pixels.roll(1, 0) / 255))
mirrored = reading(lambda port, pixels: standardize(port, pixels.flip(3) / 255))
normalized_twice = reading(lambda port, pixels: standardize(port, standardize(port, pixels / 255)))


def other_labels(port: Port, operation: str) -> None:
    port.labels = port.labels.flip(0)


def labels_from_one(port: Port, operation: str) -> None:
    port.labels = (port.labels - 1) % port.operations["fc"]["attributes"]["out_features"]


def other_weights(port: Port, operation: str) -> None:
    w = port.state[f"{operation}.weight"]
    drawn = torch.randn(w.shape, generator=torch.Generator().manual_seed(3), dtype=w.dtype)
    port.state[f"{operation}.weight"] = drawn * w.std()


def initial_buffers(port: Port, operation: str) -> None:
    """Start the running statistics at 0 and 1, not at those of the bundle."""
    for key, tensor in port.state.items():
        if key.endswith("running_mean"):
            port.state[key] = torch.zeros_like(tensor)
        if key.endswith("running_var"):
            port.state[key] = torch.ones_like(tensor)


def scale_of_one(port: Port, operation: str) -> None:
    """Start a BatchNorm's weight at 1."""
    port.state[f"{operation}.weight"] = torch.ones_like(port.state[f"{operation}.weight"])


def reads_before_relu(port: Port, operation: str) -> None:
    """Let an operation read what the ReLU reads whose output it should read."""
    (source,) = port.operations[operation]["inputs"]
    entry = {**port.operations[operation], "inputs": port.operations[source]["inputs"]}
    port.operations = port.operations | {operation: entry}


def path_lost(port: Port, operation: str) -> None:
    """Leave out what an operation hands back, where the parts of its input's gradient are added."""
    add, source = port.add, port.operations[operation]["inputs"][0]
    port.add = lambda name, parts: add(
        name, {reader: dx for reader, dx in parts.items() if (name, reader) != (source, operation)}
    )


# Gradients of parameters that are not set to zero.


def two_passes(port: Port, operation: str) -> None:
    """Accumulate the gradients of a trial pass and the pass."""
    writing(lambda array: 2 * array, "train/gradients/")(port, operation)


def never_zeroed(port: Port, operation: str) -> None:
    port.zero_gradients = False


# The optimizer.


def updating(update: Callable[[Update], Tensor]) -> Plant:
    def plant(port: Port, operation: str) -> None:
        port.update = update

    return plant


def decaying(decay: Callable[[Port, str, Tensor], float]) -> Plant:
    def plant(port: Port, operation: str) -> None:
        port.decay_of = lambda key, w: decay(port, key, w)

    return plant


decay_on_all = decaying(lambda port, key, w: port.case.recipe["weight_decay"])
no_decay = decaying(lambda port, key, w: 0.0)
decay_on_weights_alone = decaying(lambda port, key, w: port.case.recipe["weight_decay"] * (w.ndim > 1))
decay_on_head_alone = decaying(lambda port, key, w: port.case.recipe["weight_decay"] * key.startswith("fc."))
decay_on_vectors_alone = decaying(lambda port, key, w: port.case.recipe["weight_decay"] * (w.ndim == 1))


def _coupled_adam(u: Update) -> Tensor:
    return adam(u)


def _decoupled(u: Update) -> Tensor:
    w = u.w * (1 - u.lr * u.decay)
    rule = sgd if u.recipe["optimizer"] == "sgd" else adam
    return rule(Update(w, u.g, u.carried, u.lr, u.t, 0.0, u.recipe))


def _velocity(u: Update, g: Tensor) -> Tensor:
    v = u.recipe["momentum"] * u.carried.get("momentum_buffer", torch.zeros_like(g)) + g
    u.carried["momentum_buffer"] = v
    return v


def _plain_momentum(u: Update) -> Tensor:
    return u.w - u.lr * _velocity(u, u.g + u.decay * u.w)


def _always_nesterov(u: Update) -> Tensor:
    g = u.g + u.decay * u.w
    return u.w - u.lr * (g + u.recipe["momentum"] * _velocity(u, g))


def _nesterov_twice(u: Update) -> Tensor:
    """Use g + μ·v as the buffer, too."""
    g = u.g + u.decay * u.w
    v = g + u.recipe["momentum"] * _velocity(u, g)
    u.carried["momentum_buffer"] = v
    return u.w - u.lr * v


def _damped(u: Update) -> Tensor:
    g, mu = u.g + u.decay * u.w, u.recipe["momentum"]
    v = mu * u.carried.get("momentum_buffer", torch.zeros_like(g)) + (1 - mu) * g
    u.carried["momentum_buffer"] = v
    return u.w - u.lr * (g + mu * v if u.recipe["nesterov"] else v)


def _damped_after_the_first(u: Update) -> Tensor:
    """Dampen as torch.optim.SGD(dampening=momentum) does: the first buffer is the gradient itself."""
    g, mu = u.g + u.decay * u.w, u.recipe["momentum"]
    v = mu * u.carried["momentum_buffer"] + (1 - mu) * g if u.carried else g
    u.carried["momentum_buffer"] = v
    return u.w - u.lr * (g + mu * v if u.recipe["nesterov"] else v)


def _rate_inside(u: Update) -> Tensor:
    """Put lr into the buffer: v = μ·v + lr·g, w = w − v, as Sutskever et al. and Caffe write it."""
    g, mu = u.lr * (u.g + u.decay * u.w), u.recipe["momentum"]
    v = mu * u.carried.get("momentum_buffer", torch.zeros_like(g)) + g
    u.carried["momentum_buffer"] = v
    return u.w - (g + mu * v if u.recipe["nesterov"] else v)


def _without_momentum(u: Update) -> Tensor:
    g = u.g + u.decay * u.w
    u.carried["momentum_buffer"] = g
    return u.w - u.lr * g


def _uncorrected(u: Update) -> Tensor:
    decoupled = u.recipe["optimizer"] == "adamw"
    w = u.w * (1 - u.lr * u.decay) if decoupled else u.w
    m, v = moments(u, u.g if decoupled else u.g + u.decay * u.w)
    return w - u.lr * m / (v.sqrt() + 1e-8)


def _second_moment_uncorrected(u: Update) -> Tensor:
    decoupled = u.recipe["optimizer"] == "adamw"
    w = u.w * (1 - u.lr * u.decay) if decoupled else u.w
    m, v = moments(u, u.g if decoupled else u.g + u.decay * u.w)
    return w - u.lr * (m / (1 - 0.9**u.t)) / (v.sqrt() + 1e-8)


def _second_beta_small(u: Update) -> Tensor:
    zero = torch.zeros_like(u.g)
    g = u.g if u.recipe["optimizer"] == "adamw" else u.g + u.decay * u.w
    w = u.w * (1 - u.lr * u.decay) if u.recipe["optimizer"] == "adamw" else u.w
    m = 0.9 * u.carried.get("exp_avg", zero) + 0.1 * g
    v = 0.99 * u.carried.get("exp_avg_sq", zero) + 0.01 * g * g
    u.carried.update(exp_avg=m, exp_avg_sq=v, step=torch.tensor(float(u.t), dtype=g.dtype))
    return w - u.lr * (m / (1 - 0.9**u.t)) / ((v / (1 - 0.99**u.t)).sqrt() + 1e-8)


def _eps_inside(u: Update) -> Tensor:
    decoupled = u.recipe["optimizer"] == "adamw"
    w = u.w * (1 - u.lr * u.decay) if decoupled else u.w
    m, v = moments(u, u.g if decoupled else u.g + u.decay * u.w)
    return w - u.lr * (m / (1 - 0.9**u.t)) / torch.sqrt(v / (1 - 0.999**u.t) + 1e-8)


def _uphill(u: Update) -> Tensor:
    return 2 * u.w - sgd(u)


coupled_decay = updating(_coupled_adam)
decoupled_decay = updating(_decoupled)
plain_momentum = updating(_plain_momentum)
always_nesterov = updating(_always_nesterov)
nesterov_twice = updating(_nesterov_twice)
damped = updating(_damped)
damped_after_the_first = updating(_damped_after_the_first)
rate_inside = updating(_rate_inside)
without_momentum = updating(_without_momentum)
uncorrected = updating(_uncorrected)
second_moment_uncorrected = updating(_second_moment_uncorrected)
second_beta_small = updating(_second_beta_small)
eps_inside = updating(_eps_inside)
uphill = updating(_uphill)


def late_rate(port: Port, operation: str) -> None:
    rates = port.case.learning_rates
    port.rate = lambda step: rates[max(step - 2, 0)]


def early_rate(port: Port, operation: str) -> None:
    rates = port.case.learning_rates
    port.rate = lambda step: rates[min(step, len(rates) - 1)]


def constant_rate(port: Port, operation: str) -> None:
    port.rate = lambda step: port.case.recipe["lr"]


def one_rate_for_all(port: Port, operation: str) -> None:
    port.case = replace(port.case, recipe={**port.case.recipe, "body_lr": 1.0})


def decay_before_clipping(port: Port, operation: str) -> None:
    clip, decay_of = port.clip, port.decay_of
    port.decay_of = lambda key, w: 0.0
    port.clip = lambda gradients, limit: clip(
        {key: g + decay_of(key, g) * port.current[key] for key, g in gradients.items()}, limit
    )


def no_clipping(port: Port, operation: str) -> None:
    port.clip = lambda gradients, limit: gradients


def clipped_one_by_one(port: Port, operation: str) -> None:
    def clip(gradients: dict[str, Tensor], limit: float | None) -> dict[str, Tensor]:
        return {key: g * torch.clamp(limit / (g.norm() + 1e-6), max=1) for key, g in gradients.items()}

    port.clip = clip


def clipped_by_value(port: Port, operation: str) -> None:
    port.clip = lambda gradients, limit: {key: g.clamp(-limit, limit) for key, g in gradients.items()}


def frozen_biases(port: Port, operation: str) -> None:
    """Update nothing but kernels and matrices."""
    update = port.update
    port.update = lambda u: update(u) if u.w.ndim > 1 else u.w


# What the port writes.


def writing(change: Callable[[np.ndarray], np.ndarray], *names: str) -> Plant:
    """Change the written tensors whose names begin with one of these; {} stands for the operation."""

    def plant(port: Port, operation: str) -> None:
        chosen = tuple(name.format(operation) for name in names)
        port.edits.append(lambda arrays: {key: change(a) if key.startswith(chosen) else a for key, a in arrays.items()})

    return plant


def channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def channels_last_flat(array: np.ndarray) -> np.ndarray:
    return channels_last(array).reshape(array.shape) if array.ndim == 4 else array


def hwio(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if array.ndim == 4 else array


def transposed(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array


all_as_nhwc = writing(channels_last, "eval/", "train/a")
all_as_flat_nhwc = writing(channels_last_flat, "eval/", "train/a")
one_as_nhwc = writing(channels_last, "eval/activations/{}")
gradients_as_nhwc = writing(channels_last, "train/activation_gradients")
kernel_gradients_as_hwio = writing(hwio, "train/gradients", "steps/")
matrix_gradient_transposed = writing(transposed, "train/gradients", "steps/")


def overwritten_by_relu(port: Port, operation: str) -> None:
    """Write a tensor after a ReLU in place has changed it."""
    later = next(name for name, o in port.operations.items() if o["kind"] == "ReLU" and operation in o["inputs"])

    def edit(arrays: Arrays) -> Arrays:
        groups = [f"{mode}/activations" for mode in ("eval", "train")]
        return arrays | {f"{group}/{operation}": arrays[f"{group}/{later}"] for group in groups}

    port.edits.append(edit)
