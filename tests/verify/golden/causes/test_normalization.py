"""Planted faults of batch normalization, in torch's functions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import glassnet as gn
from tests.verify.golden.causes.torch_port import Port, batch_norm, with_dtypes

SPEC = gn.spec("tiny-bn")
BN = "layer1.0.bn1"
AXES = (0, 2, 3)


def column(array):
    return array.view(1, -1, 1, 1)


def statistics(call, x):
    """Track as torch does, and return the statistics by which the pass normalizes."""
    batch_norm(call, x.detach())
    if call.training:
        return x.mean(AXES, keepdim=True), x.var(AXES, unbiased=False, keepdim=True)
    return column(call.p["running_mean"]), column(call.p["running_var"])


def affine(call, normalized):
    return column(call.p["weight"]) * normalized + column(call.p["bias"])


def normalizing(deviation):
    """Return a BatchNorm that divides by ``deviation(variance, eps, count)``."""

    def function(call, x):
        mean, variance = statistics(call, x)
        return affine(call, (x - mean) / deviation(variance, call.eps, x.numel() // x.shape[1]))

    return function


def over(*axes):
    def function(call, x):
        batch_norm(call, x.detach())
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
        return affine(call, (x - mean) / torch.sqrt(variance + call.eps))

    return function


def tracking(update):
    """Return a BatchNorm whose running statistics are ``update(old, new, unbiased factor)``."""

    def function(call, x):
        p = call.p
        if call.training:
            M = x.numel() // x.shape[1]
            p["num_batches_tracked"] += 1
            mean, variance = x.detach().mean(AXES), x.detach().var(AXES, unbiased=False)
            p["running_mean"][...], p["running_var"][...] = update(
                (p["running_mean"].clone(), p["running_var"].clone()), (mean, variance), M / (M - 1)
            )
        return functional.batch_norm(x, None, None, p["weight"], p["bias"], True, 0.0, call.eps)

    return function


def mixed(old, new, momentum, factor):
    return ((1 - momentum) * old[0] + momentum * new[0], (1 - momentum) * old[1] + momentum * factor * new[1])


def with_parameters(change):
    def function(call, x):
        gamma, beta = change(call.p["weight"], call.p["bias"])
        p = call.p
        p["num_batches_tracked"] += call.training
        return functional.batch_norm(
            x, p["running_mean"], p["running_var"], gamma, beta, call.training, call.momentum, call.eps
        )

    return function


def untracked(call, x):
    p = call.p
    return functional.batch_norm(x, None, None, p["weight"], p["bias"], True, 0.0, call.eps)


def by_running(call, x):
    p = call.p
    return functional.batch_norm(x, p["running_mean"], p["running_var"], p["weight"], p["bias"], False, 0.0, call.eps)


FORWARD = {
    "eps outside": (normalizing(lambda variance, eps, count: torch.sqrt(variance) + eps), "float64"),
    "no eps": (normalizing(lambda variance, eps, count: torch.sqrt(variance)), "float64"),
    "eps value": (normalizing(lambda variance, eps, count: torch.sqrt(variance + 1e-3)), "both"),
    "eps value ": (normalizing(lambda variance, eps, count: torch.sqrt(variance + 1e-8)), "float64"),
    "eps value  ": (normalizing(lambda variance, eps, count: torch.sqrt(variance + 3e-4)), "both"),
    "unbiased variance": (
        normalizing(lambda variance, eps, count: torch.sqrt(variance * count / (count - 1) + eps)),
        "both",
    ),
    "statistics over other axes": (over(2, 3), "both"),
    "statistics over other axes ": (over(1, 2, 3), "both"),
    "statistics over other axes  ": (over(0), "both"),
    "biased variance": (tracking(lambda old, new, factor: mixed(old, new, 0.1, 1)), "both"),
    "momentum convention": (tracking(lambda old, new, factor: mixed(old, new, 0.9, factor)), "both"),
    "momentum value": (tracking(lambda old, new, factor: mixed(old, new, 0.01, factor)), "both"),
    "momentum value ": (tracking(lambda old, new, factor: mixed(old, new, 1.0, factor)), "both"),
    "running statistics not updated": (untracked, "both"),
    "evaluation mode": (by_running, "both"),
    "missing BatchNorm": (lambda call, x: x * 1, "both"),
    "missing gamma": (with_parameters(lambda gamma, beta: (torch.ones_like(gamma), beta)), "both"),
    "missing beta": (with_parameters(lambda gamma, beta: (gamma, torch.zeros_like(beta))), "both"),
    "missing gamma ": (
        with_parameters(lambda gamma, beta: (torch.ones_like(gamma), torch.zeros_like(beta))),
        "both",
    ),
    "swapped gamma and beta": (with_parameters(lambda gamma, beta: (beta, gamma)), "both"),
    "one plus gamma": (with_parameters(lambda gamma, beta: (1 + gamma, beta)), "both"),
}


def cases(table):
    return [
        pytest.param(name.rstrip(), function, dtype if dtypes == "both" else dtypes, id=name)
        for name, (function, dtypes), dtype in with_dtypes(table.items())
    ]


@pytest.mark.parametrize(("key", "function", "dtype"), cases(FORWARD))
def test_forward_fault_is_found_with_its_cause(key, function, dtype):
    assert Port(SPEC, dtype).diagnose({BN: function}) == (BN, key)


# The backward pass.


def right_input_gradient(gamma, inverse, xhat, dy, of_dy, of_product):
    return gamma * inverse * (dy - of_dy - xhat * of_product)


def right_parameter_gradients(dy, x, xhat, count):
    return (dy * xhat).sum(AXES), dy.sum(AXES)


def by_hand(input_gradient=right_input_gradient, parameter_gradients=right_parameter_gradients):
    """Return a BatchNorm with gradients of x, of means of dy and dy·x̂ among others, and of γ and β."""

    def function(call, x):
        class ByHand(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, weight, bias):
                ctx.save_for_backward(x, weight)
                return batch_norm(call, x)

            @staticmethod
            def backward(ctx, dy):
                x, weight = ctx.saved_tensors
                mean, variance = x.mean(AXES, keepdim=True), x.var(AXES, unbiased=False, keepdim=True)
                inverse = 1 / torch.sqrt(variance + call.eps)
                xhat = (x - mean) * inverse
                means = dy.mean(AXES, keepdim=True), (dy * xhat).mean(AXES, keepdim=True)
                dx = input_gradient(column(weight), inverse, xhat, dy, *means)
                return dx, *parameter_gradients(dy, x, xhat, x.numel() // x.shape[1])

        return ByHand.apply(x, call.p["weight"], call.p["bias"])

    return function


def count(dy):
    return dy.numel() // dy.shape[1]


INPUT = {
    "missing mean terms": lambda gamma, inverse, xhat, dy, of_dy, of_product: gamma * inverse * dy,
    "missing mean terms ": lambda gamma, inverse, xhat, dy, of_dy, of_product: gamma * inverse * (dy - of_dy),
    "sums for means": lambda gamma, inverse, xhat, dy, of_dy, of_product: (
        gamma * inverse * (dy - count(dy) * of_dy - xhat * count(dy) * of_product)
    ),
    "sums for means ": lambda gamma, inverse, xhat, dy, of_dy, of_product: (
        gamma * inverse * (dy - count(dy) * of_dy - xhat * of_product)
    ),
    "sums for means  ": lambda gamma, inverse, xhat, dy, of_dy, of_product: (
        gamma * inverse * (dy - of_dy - xhat * count(dy) * of_product)
    ),
    "missing mean terms  ": lambda gamma, inverse, xhat, dy, of_dy, of_product: (
        gamma * inverse * (dy - xhat * of_product)
    ),
    "missing gamma": lambda gamma, inverse, xhat, dy, of_dy, of_product: inverse * (dy - of_dy - xhat * of_product),
}
PARAMETERS = {
    "unnormalized dgamma": lambda dy, x, xhat, count: ((dy * x).sum(AXES), dy.sum(AXES)),
    "unnormalized dgamma ": lambda dy, x, xhat, count: (
        (dy * (x - x.mean(AXES, keepdim=True))).sum(AXES),
        dy.sum(AXES),
    ),
    "averaged dgamma": lambda dy, x, xhat, count: ((dy * xhat).sum(AXES) / count, dy.sum(AXES) / count),
    "swapped gamma and beta": lambda dy, x, xhat, count: (dy.sum(AXES), (dy * xhat).sum(AXES)),
}
BACKWARD = {
    **{key: (by_hand(input_gradient=change), "both") for key, change in INPUT.items()},
    **{key: (by_hand(parameter_gradients=change), "both") for key, change in PARAMETERS.items()},
}


@pytest.mark.parametrize(("key", "function", "dtype"), cases(BACKWARD))
def test_backward_fault_is_found_with_its_cause(key, function, dtype):
    assert Port(SPEC, dtype).diagnose({BN: function}) == (BN, key)


def test_batch_statistics_in_evaluation_mode_are_found():
    assert Port(SPEC, "float32", training=False).diagnose({BN: untracked}) == (BN, "training mode")


SPARSE = tuple(f"{group}/layer1.0.{name}" for group in ("outputs", "gradients") for name in ("conv", "bn", "relu"))


def test_fault_of_one_layer_is_found_where_the_dump_lacks_tensors():
    port = Port(SPEC, dropped=SPARSE)
    assert port.diagnose({BN: FORWARD["eps value"][0]}) == (BN, "eps value")
    assert port.diagnose({BN: by_hand(parameter_gradients=PARAMETERS["averaged dgamma"])}) == (BN, "averaged dgamma")


def test_fault_of_all_layers_is_found_at_the_first_where_the_dump_lacks_tensors():
    everywhere = {"layer1.0.relu1": lambda call, x: functional.leaky_relu(x, 0.1)}
    port = Port(SPEC, dropped=(*SPARSE, "outputs/relu", "outputs/bn1", "outputs/conv1", "buffers"))
    assert port.diagnose({**everywhere, "relu": everywhere["layer1.0.relu1"]}) == ("relu", "leaky ReLU")
    constant = by_hand(input_gradient=INPUT["missing mean terms"])
    assert port.diagnose({BN: constant, "layer1.0.bn2": constant})[1] == "missing mean terms"


# Healthy variants.


def fused(call, x):
    mean, variance = statistics(call, x)
    scale = column(call.p["weight"]) / torch.sqrt(variance + call.eps)
    return x * scale + (column(call.p["bias"]) - mean * scale)


def one_pass(call, x):
    batch_norm(call, x.detach())
    if not call.training:
        return batch_norm(call, x)
    mean = x.mean(AXES, keepdim=True)
    variance = (x * x).mean(AXES, keepdim=True) - mean**2
    return affine(call, (x - mean) * torch.rsqrt(variance + call.eps))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("function", [batch_norm, fused, one_pass, by_hand()])
def test_other_ways_to_compute_the_same_are_right(function, training, dtype):
    assert Port(SPEC, dtype, training=training).diagnose({"BatchNorm2d": function}) is None


# Any network, any layer.


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    spec=st.builds(
        lambda width, size, shortcut, preactivation: gn.spec(
            "resnet20", blocks=1, width=width, image_size=size, shortcut=shortcut, preactivation=preactivation
        ),
        st.integers(1, 5),
        st.tuples(st.integers(8, 11), st.integers(8, 11)),
        st.sampled_from(["zero-pad", "projection"]),
        st.booleans(),
    ),
    name=st.sampled_from(sorted({**FORWARD, **BACKWARD})),
    data=st.data(),
    dtype=st.sampled_from(["float64", "float32"]),
    batch_size=st.integers(2, 5),
)
def test_fault_is_never_found_with_a_wrong_cause(spec, name, data, dtype, batch_size):
    port = Port(spec, dtype, batch_size=batch_size)
    layer = data.draw(st.sampled_from([op.name for op in port.operations if op.kind == "BatchNorm2d"]))
    found = port.diagnose({layer: {**FORWARD, **BACKWARD}[name][0]})
    assert found in (None, (layer, name.rstrip()), (layer, "unknown"))
