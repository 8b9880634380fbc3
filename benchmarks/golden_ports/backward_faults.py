"""Planted faults in the backward pass: rules that replace an operation's own, as ports get it wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .torch_port import Backward, Call, differentiate, per_channel

Gradients = tuple[list[Tensor], dict[str, Tensor]]


def input_gradient(change: Callable[[Call, Tensor, Tensor], Tensor]) -> Backward:
    """Return a rule whose dx is made of the call, dy and the right dx."""

    def rule(call: Call, dy: Tensor) -> Gradients:
        (dx, *others), parameters = differentiate(call, dy)
        return [change(call, dy, dx), *others], parameters

    return rule


def parameter_gradient(name: str, change: Callable[[Call, Tensor, Tensor], Tensor]) -> Backward:
    """Return a rule whose gradient of one parameter is made of the call, dy and the right one."""

    def rule(call: Call, dy: Tensor) -> Gradients:
        inputs, parameters = differentiate(call, dy)
        return inputs, parameters | {name: change(call, dy, parameters[name])}

    return rule


# Convolutions and the last layer.


def _unturned(call: Call, dy: Tensor, dx: Tensor) -> Tensor:
    return torch.nn.grad.conv2d_input(call.x.shape, call.state["weight"].flip(2, 3), dy, call.stride, call.padding)


def _unturned_by_hand(call: Call, dy: Tensor, dx: Tensor) -> Tensor:
    """Slide the kernels over dy as in the forward pass, with zeros between its pixels."""
    border = call.kernel_size - 1 - call.padding
    rows, columns = (call.x.shape[axis] + call.kernel_size - 1 for axis in (2, 3))
    spread = dy.new_zeros(*dy.shape[:2], rows, columns)
    inner = spread[:, :, border:, border:]
    height, width = dy.shape[2:]
    inner[:, :, : height * call.stride : call.stride, : width * call.stride : call.stride] = dy
    return functional.conv2d(spread, call.state["weight"].detach().transpose(0, 1))


unturned_kernel = input_gradient(_unturned)
unturned_kernel_by_hand = input_gradient(_unturned_by_hand)
border_without_gradient = input_gradient(lambda call, dy, dx: functional.pad(dx[:, :, 1:-1, 1:-1], (1, 1, 1, 1)))
first_image_alone = parameter_gradient(
    "weight",
    lambda call, dy, dw: torch.nn.grad.conv2d_weight(call.x[:1].detach(), dw.shape, dy[:1], call.stride, call.padding),
)
kernel_gradient_flipped = parameter_gradient("weight", lambda call, dy, dw: dw.flip(2, 3))
mean_over_images = parameter_gradient("weight", lambda call, dy, dw: dw / len(call.x))
no_bias_gradient = parameter_gradient("bias", lambda call, dy, db: torch.zeros_like(db))
bias_gradient_averaged = parameter_gradient("bias", lambda call, dy, db: db / (dy.numel() / len(db)))
no_kernel_gradient = parameter_gradient("weight", lambda call, dy, dw: torch.zeros_like(dw))
negative_input_gradient = input_gradient(lambda call, dy, dx: -dx)
matrix_gradient_of_two_images = parameter_gradient("weight", lambda call, dy, dw: dy[:2].T @ call.x[:2].detach())


# BatchNorm.


def _factor(call: Call) -> Tensor:
    variance = call.x.detach().var((0, 2, 3), unbiased=False)
    return per_channel(call.state["weight"].detach() / torch.sqrt(variance + call.eps))


def _x_hat(call: Call) -> Tensor:
    x = call.x.detach()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    return (x - per_channel(mean)) / per_channel(torch.sqrt(variance + call.eps))


def _mean(tensor: Tensor) -> Tensor:
    return tensor.mean((0, 2, 3), keepdim=True)


constant_statistics = input_gradient(lambda call, dy, dx: _factor(call) * dy)
constant_mean = input_gradient(lambda call, dy, dx: _factor(call) * (dy - _x_hat(call) * _mean(dy * _x_hat(call))))
constant_variance = input_gradient(lambda call, dy, dx: _factor(call) * (dy - _mean(dy)))
without_scale = input_gradient(lambda call, dy, dx: dx / per_channel(call.state["weight"].detach()))
sums_not_means = input_gradient(
    lambda call, dy, dx: (
        _factor(call)
        * (dy - dy.sum((0, 2, 3), keepdim=True) - _x_hat(call) * (dy * _x_hat(call)).sum((0, 2, 3), keepdim=True))
    )
)
scale_gradient_averaged = parameter_gradient("weight", lambda call, dy, dw: dw / (dy.numel() / len(dw)))
scale_gradient_of_x = parameter_gradient("weight", lambda call, dy, dw: (dy * call.x.detach()).sum((0, 2, 3)))
scale_gradient_without_deviation = parameter_gradient(
    "weight", lambda call, dy, dw: (dy * (call.x.detach() - _mean(call.x.detach()))).sum((0, 2, 3))
)


# ReLU, sums, shortcuts, pooling.

no_mask = input_gradient(lambda call, dy, dx: dy.clone())
mask_of_gradient = input_gradient(lambda call, dy, dx: functional.relu(dy))
guided = input_gradient(lambda call, dy, dx: functional.relu(dx))
mask_reversed = input_gradient(lambda call, dy, dx: dy - dx)


def shortcut_without_gradient(call: Call, dy: Tensor) -> Gradients:
    return [torch.zeros_like(dy), dy.clone()], {}


def body_without_gradient(call: Call, dy: Tensor) -> Gradients:
    return [dy.clone(), torch.zeros_like(dy)], {}


def gradient_halved(call: Call, dy: Tensor) -> Gradients:
    return [dy / 2, dy / 2], {}


def _padded_back(call: Call, dy: Tensor, before: int, first: int) -> Tensor:
    dx = torch.zeros_like(call.x)
    dx[:, :, first :: call.stride, first :: call.stride] = dy[:, before : before + call.in_channels]
    return dx


last_channels_back = input_gradient(
    lambda call, dy, dx: _padded_back(call, dy, call.out_channels - call.in_channels, 0)
)
first_channels_back = input_gradient(lambda call, dy, dx: _padded_back(call, dy, 0, 0))
odd_pixels_back = input_gradient(
    lambda call, dy, dx: _padded_back(call, dy, (call.out_channels - call.in_channels) // 2, call.stride - 1)
)


def _to_all_maxima(call: Call, dy: Tensor, dx: Tensor) -> Tensor:
    x, k = call.x.detach(), call.kernel_size
    padded = functional.pad(x, (call.padding,) * 4, value=-torch.inf)
    total = torch.zeros_like(padded)
    y = call.output.detach()
    rows, columns = y.shape[2:]
    for u in range(k):
        for v in range(k):
            here = (
                ...,
                slice(u, u + rows * call.stride, call.stride),
                slice(v, v + columns * call.stride, call.stride),
            )
            window = padded[here][..., :rows, :columns]
            total[here][..., :rows, :columns] += dy * (window == y)
    height, width = x.shape[2:]
    return total[:, :, call.padding :, call.padding :][:, :, :height, :width]


gradient_to_all_maxima = input_gradient(_to_all_maxima)


def _overwritten(call: Call, dy: Tensor, dx: Tensor) -> Tensor:
    """Set dx at each window's maximum, window by window, where adding is due."""
    k, s, p = call.kernel_size, call.stride, call.padding
    padded = functional.pad(call.x.detach(), (p,) * 4, value=-torch.inf)
    total = torch.zeros_like(padded)
    n, c, rows, columns = dy.shape
    for i in range(rows):
        for j in range(columns):
            window = padded[:, :, i * s : i * s + k, j * s : j * s + k].flatten(2)
            place = window.argmax(2)
            row, column = i * s + place // k, j * s + place % k
            index = torch.arange(n)[:, None], torch.arange(c)[None, :], row, column
            total[index] = dy[:, :, i, j]
    height, width = call.x.shape[2:]
    return total[:, :, p : p + height, p : p + width]


gradient_overwritten = input_gradient(_overwritten)


def _spread(call: Call, dy: Tensor, dx: Tensor) -> Tensor:
    x = call.x.detach().requires_grad_()
    y = functional.avg_pool2d(x, call.kernel_size, call.stride, call.padding)
    return torch.autograd.grad(y, x, dy)[0]


gradient_spread = input_gradient(_spread)
not_divided_by_window = input_gradient(lambda call, dy, dx: dx * call.kernel_size**2)
not_divided_by_area = input_gradient(lambda call, dy, dx: dx * call.x[0, 0].numel())
without_dropout_mask = input_gradient(lambda call, dy, dx: dy.clone())
row_as_channels_last = input_gradient(
    lambda call, dy, dx: dy.reshape(len(dy), *call.x.shape[2:], call.x.shape[1]).permute(0, 3, 1, 2)
)


# The loss.

not_divided_by_images = input_gradient(lambda call, dy, dx: dx * len(call.x))
divided_by_images_twice = input_gradient(lambda call, dy, dx: dx / len(call.x))
probabilities_alone = input_gradient(lambda call, dy, dx: call.x.detach().softmax(1) / len(call.x))
opposite_sign = input_gradient(lambda call, dy, dx: -dx)


def _unsmoothed(call: Call, dy: Tensor, dx: Tensor) -> Tensor:
    return (call.x.detach().softmax(1) - functional.one_hot(call.labels, call.x.shape[1])) / len(call.x)


gradient_without_smoothing = input_gradient(_unsmoothed)


# Arithmetic.


def in_dtype(dtype: torch.dtype) -> Backward:
    """Return a rule that hands back gradients rounded to another dtype, made of a rounded dy."""

    def rule(call: Call, dy: Tensor) -> Gradients:
        inputs, parameters = differentiate(call, dy.to(dtype).to(dy.dtype))
        rounded = {key: g.to(dtype).to(g.dtype) for key, g in parameters.items()}
        return [dx.to(dtype).to(dx.dtype) for dx in inputs], rounded

    return rule


in_float16, in_bfloat16 = map(in_dtype, (torch.float16, torch.bfloat16))
