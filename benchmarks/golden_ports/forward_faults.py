"""Planted faults in the forward pass: rules that replace an operation's own, as ports get it wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .torch_port import FORWARD, Call, Forward, batch_statistics, cross_entropy, per_channel, targets, total_weight


def conv(call: Call, x: Tensor, w: Tensor, padding: int | None = None) -> Tensor:
    return functional.conv2d(x, w, call.state.get("bias"), call.stride, call.padding if padding is None else padding)


# Convolutions.


def flipped_kernel(call: Call) -> Tensor:
    return conv(call, call.x, call.state["weight"].flip(2, 3))


def read_as_hwio(call: Call) -> Tensor:
    O, I, kh, kw = call.state["weight"].shape
    return conv(call, call.x, call.state["weight"].reshape(kh, kw, I, O).permute(3, 2, 0, 1))


def same_padding(call: Call) -> Tensor:
    """TensorFlow's "same" on sizes that the stride divides: the odd pixel of padding goes behind."""
    total = call.kernel_size - call.stride
    before, after = total // 2, total - total // 2
    return conv(call, functional.pad(call.x, (before, after, before, after)), call.state["weight"], padding=0)


def padding_behind(call: Call) -> Tensor:
    return conv(call, functional.pad(call.x, (0, 2 * call.padding) * 2), call.state["weight"], padding=0)


def odd_pixels(call: Call) -> Tensor:
    dense = functional.conv2d(call.x, call.state["weight"], None, 1, call.padding)
    return dense[:, :, call.stride - 1 :: call.stride, call.stride - 1 :: call.stride]


def no_padding(call: Call) -> Tensor:
    return conv(call, call.x, call.state["weight"], padding=0)


def no_bias(call: Call) -> Tensor:
    y = FORWARD[call.operation["kind"]](call)
    bias = call.state["bias"]
    return y - bias.reshape(-1, *[1] * (y.ndim - 2))


def bias_twice(call: Call) -> Tensor:
    y = FORWARD[call.operation["kind"]](call)
    return y + call.state["bias"].reshape(-1, *[1] * (y.ndim - 2))


def spread_taps(call: Call) -> Tensor:
    """Dilate the kernel, and pad so that the size stays."""
    return functional.conv2d(
        call.x, call.state["weight"], call.state.get("bias"), call.stride, 2 * call.padding, dilation=2
    )


def transposed_taps(call: Call) -> Tensor:
    return conv(call, call.x, call.state["weight"].transpose(2, 3))


def replicated_border(call: Call) -> Tensor:
    return conv(call, functional.pad(call.x, (call.padding,) * 4, mode="replicate"), call.state["weight"], padding=0)


def reversed_channels(call: Call) -> Tensor:
    return conv(call, call.x.flip(1), call.state["weight"])


def without_last_channel(call: Call) -> Tensor:
    return conv(call, call.x[:, :-1], call.state["weight"][:, :-1])


def without_last_column(call: Call) -> Tensor:
    return functional.pad(FORWARD["Conv2d"](call)[..., :-1], (0, 1))


# BatchNorm.


def standardized(call: Call, mean: Tensor, deviation: Tensor) -> Tensor:
    x_hat = (call.x - per_channel(mean)) / per_channel(deviation)
    return per_channel(call.state["weight"]) * x_hat + per_channel(call.state["bias"])


def eps_outside(call: Call) -> Tensor:
    mean, variance = batch_statistics(call)
    return standardized(call, mean, variance.sqrt() + call.eps)


def with_eps(eps: float) -> Forward:
    def rule(call: Call) -> Tensor:
        mean, variance = batch_statistics(call)
        return standardized(call, mean, torch.sqrt(variance + eps))

    return rule


eps_of_keras, eps_of_torch, no_eps = with_eps(1e-3), with_eps(1e-5), with_eps(0.0)


def normalized_by_unbiased(call: Call) -> Tensor:
    mean, variance = batch_statistics(call)
    if call.training:
        variance = call.x.var((0, 2, 3), unbiased=True)
    return standardized(call, mean, torch.sqrt(variance + call.eps))


def with_buffers(change: Callable[[Call, Tensor, Tensor], dict[str, Tensor]]) -> Forward:
    """Return a rule that normalizes well and makes its buffers of the batch's mean and biased variance."""

    def rule(call: Call) -> Tensor:
        y = FORWARD["BatchNorm2d"](call)
        if call.training:
            x = call.x.detach()
            call.buffers |= change(call, x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False))
        return y

    return rule


def moved(call: Call, name: str, value: Tensor, momentum: float) -> dict[str, Tensor]:
    return {name: call.state[name] + momentum * (value - call.state[name])}


def unbiased(call: Call) -> Tensor:
    return call.x.detach().var((0, 2, 3), unbiased=True)


biased_running_variance = with_buffers(lambda call, mean, var: moved(call, "running_var", var, call.momentum))
momentum_the_other_way = with_buffers(
    lambda call, mean, var: (
        moved(call, "running_mean", mean, 1 - call.momentum)
        | moved(call, "running_var", unbiased(call), 1 - call.momentum)
    )
)
momentum_of_keras = with_buffers(
    lambda call, mean, var: moved(call, "running_mean", mean, 0.01) | moved(call, "running_var", unbiased(call), 0.01)
)
running_deviation = with_buffers(
    lambda call, mean, var: moved(call, "running_var", unbiased(call).sqrt(), call.momentum)
)
frozen_buffers = with_buffers(
    lambda call, mean, var: {name: call.state[name] for name in ("running_mean", "running_var", "num_batches_tracked")}
)


def always_batch_statistics(call: Call) -> Tensor:
    call.training, training = True, call.training
    y = FORWARD["BatchNorm2d"](call)
    call.training = training
    return y


def always_running_statistics(call: Call) -> Tensor:
    return standardized(call, call.state["running_mean"], (call.state["running_var"] + call.eps).sqrt())


def no_shift(call: Call) -> Tensor:
    return FORWARD["BatchNorm2d"](call) - per_channel(call.state["bias"])


def scale_and_shift_exchanged(call: Call) -> Tensor:
    call.state["weight"], call.state["bias"] = call.state["bias"], call.state["weight"]
    y = FORWARD["BatchNorm2d"](call)
    call.state["weight"], call.state["bias"] = call.state["bias"], call.state["weight"]
    return y


def one_plus_scale(call: Call) -> Tensor:
    mean, variance = batch_statistics(call)
    x_hat = (call.x - per_channel(mean)) / per_channel(torch.sqrt(variance + call.eps))
    return per_channel(1 + call.state["weight"]) * x_hat + per_channel(call.state["bias"])


def statistics_of_each_image(call: Call) -> Tensor:
    y = FORWARD["BatchNorm2d"](call)
    x = call.x
    if not call.training:
        return y
    deviation = torch.sqrt(x.var((2, 3), unbiased=False, keepdim=True) + call.eps)
    x_hat = (x - x.mean((2, 3), keepdim=True)) / deviation
    return per_channel(call.state["weight"]) * x_hat + per_channel(call.state["bias"])


# ReLU and sums.


def through(call: Call) -> Tensor:
    return call.x.clone()


def leaky(call: Call) -> Tensor:
    return functional.leaky_relu(call.x, 0.01)


def gelu(call: Call) -> Tensor:
    return functional.gelu(call.x)


def clamped_at_one(call: Call) -> Tensor:
    return call.x.clamp(0, 1)


def body_alone(call: Call) -> Tensor:
    return call.inputs[1].clone()


def shortcut_alone(call: Call) -> Tensor:
    return call.inputs[0].clone()


def body_rectified(call: Call) -> Tensor:
    return call.inputs[0] + call.inputs[1].clamp(min=0)


def mean_of_both(call: Call) -> Tensor:
    return (call.inputs[0] + call.inputs[1]) / 2


def difference(call: Call) -> Tensor:
    return call.inputs[0] - call.inputs[1]


# Shortcuts without parameters.


def new_channels_behind(call: Call) -> Tensor:
    more = call.out_channels - call.in_channels
    return functional.pad(call.x[:, :, :: call.stride, :: call.stride], (0, 0, 0, 0, 0, more))


def new_channels_before(call: Call) -> Tensor:
    more = call.out_channels - call.in_channels
    return functional.pad(call.x[:, :, :: call.stride, :: call.stride], (0, 0, 0, 0, more, 0))


def odd_pixels_padded(call: Call) -> Tensor:
    more, first = call.out_channels - call.in_channels, call.stride - 1
    return functional.pad(call.x[:, :, first :: call.stride, first :: call.stride], (0, 0, 0, 0, more // 2, more // 2))


def averaged_pixels_padded(call: Call) -> Tensor:
    more = call.out_channels - call.in_channels
    return functional.pad(functional.avg_pool2d(call.x, call.stride), (0, 0, 0, 0, more // 2, more // 2))


# Pooling and the head.


def padding_not_counted(call: Call) -> Tensor:
    return functional.avg_pool2d(call.x, call.kernel_size, call.stride, call.padding, count_include_pad=False)


def pool_padding_behind(call: Call) -> Tensor:
    pool, border = (
        (functional.max_pool2d, -torch.inf) if call.operation["kind"] == "MaxPool2d" else (functional.avg_pool2d, 0.0)
    )
    return pool(functional.pad(call.x, (0, 1, 0, 1), value=border), call.kernel_size, call.stride, 0)


def mean_in_place_of_maximum(call: Call) -> Tensor:
    return functional.avg_pool2d(call.x, call.kernel_size, call.stride, call.padding)


def total_of_pixels(call: Call) -> Tensor:
    return call.x.sum((2, 3), keepdim=True)


def largest_pixel(call: Call) -> Tensor:
    return call.x.amax((2, 3), keepdim=True)


def channels_last_row(call: Call) -> Tensor:
    return call.x.permute(0, 2, 3, 1).flatten(1)


def columns_first_row(call: Call) -> Tensor:
    return call.x.transpose(2, 3).flatten(1)


def matrix_transposed(call: Call) -> Tensor:
    w = call.state["weight"]
    return call.x @ w.reshape(w.shape[1], w.shape[0]) + call.state["bias"]


def dropped_unscaled(call: Call) -> Tensor:
    return call.x * (call.mask != 0) if call.training else call.x.clone()


def dropped_by_another_mask(call: Call) -> Tensor:
    return call.x * call.mask.flip(0) if call.training else call.x.clone()


def never_dropped(call: Call) -> Tensor:
    return call.x.clone()


def dropped_by_one_minus_p(call: Call) -> Tensor:
    """Scale by 1 − p where 1/(1 − p) is due."""
    return call.x * (call.mask != 0) * (1 - call.p) if call.training else call.x.clone()


# The loss.


def softmax_twice(call: Call) -> Tensor:
    return -(targets(call, call.x.shape[1]) * functional.log_softmax(call.x.softmax(1), 1)).sum() / len(call.x)


def summed(call: Call) -> Tensor:
    return cross_entropy(call) * len(call.x)


def divided_by_classes(call: Call) -> Tensor:
    return cross_entropy(call) * len(call.x) / call.x.numel()


def smoothed_by(epsilon: float) -> Forward:
    def rule(call: Call) -> Tensor:
        call.smoothing = epsilon
        return cross_entropy(call)

    return rule


not_smoothed, smoothed_by_a_tenth = smoothed_by(0.0), smoothed_by(0.1)


def smoothed_over_others(call: Call) -> Tensor:
    K = call.x.shape[1]
    one_hot = functional.one_hot(call.labels, K)
    q = torch.where(one_hot == 1, 1 - call.smoothing, call.smoothing / (K - 1)).to(call.x.dtype)
    return -(q * functional.log_softmax(call.x, 1)).mean(0).sum()


def logits_alone(call: Call) -> Tensor:
    return -(targets(call, call.x.shape[1]) * call.x).sum() / total_weight(call)


def probabilities_alone(call: Call) -> Tensor:
    return -(targets(call, call.x.shape[1]) * call.x.softmax(1)).sum() / total_weight(call)


def unweighted(call: Call) -> Tensor:
    call.class_weights = None
    return cross_entropy(call)


def weighted_and_divided_by_images(call: Call) -> Tensor:
    return cross_entropy(call) * total_weight(call) / len(call.x)


def logarithm_of_two(call: Call) -> Tensor:
    return cross_entropy(call) / torch.log(torch.tensor(2.0, dtype=call.x.dtype))


# Arithmetic: operands and result in another float.


def in_dtype(dtype: torch.dtype) -> Forward:
    """Return a rule that computes a layer on operands of another dtype, and stores its result in that dtype."""

    def rule(call: Call) -> Tensor:
        kind = call.operation["kind"]
        low = Call(**{**call.__dict__, "inputs": [x.to(dtype) for x in call.inputs]})
        low.state = {key: t.to(dtype) if t.is_floating_point() else t for key, t in call.state.items()}
        y = FORWARD[kind](low)
        call.buffers = {key: buffer.to(call.state[key].dtype) for key, buffer in low.buffers.items()}
        return y.to(call.x.dtype)

    return rule


in_float16, in_bfloat16, in_float32 = map(in_dtype, (torch.float16, torch.bfloat16, torch.float32))


def of_ten_bits(tensor: Tensor) -> Tensor:
    """Return float32 numbers rounded to the ten bits after the point that tensor cores keep in TF32."""
    bits = tensor.detach().float().view(torch.int32)
    rounded = ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)
    return tensor + (rounded.to(tensor.dtype) - tensor).detach()


def in_tf32(call: Call) -> Tensor:
    low = Call(**{**call.__dict__, "inputs": [of_ten_bits(call.x)]})
    low.state = {key: of_ten_bits(t) if key == "weight" else t for key, t in call.state.items()}
    return FORWARD[call.operation["kind"]](low)
