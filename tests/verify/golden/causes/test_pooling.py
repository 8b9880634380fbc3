"""Planted faults of pooling, in torch's functions and plain loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import glassnet as gn
from tests.verify.golden.causes.torch_port import FUNCTIONS, Port, with_dtypes, with_gradient

OVERLAPPING = {
    pool: gn.spec("resnet18", blocks=[1], width=4, image_size=(18, 20), classes=5, pool=pool) for pool in ("max", "avg")
}
APART = {pool: gn.spec("resnet20", blocks=[1], width=4, image_size=(9, 10), pool=pool) for pool in ("max", "avg")}
DTYPES = ("float64", "float32")
minus_infinity = -float("inf")


def with_borders(*borders):
    """Return pooling with other borders (left, right, top, bottom)."""

    def function(call, x):
        is_max = call.operation.kind == "MaxPool2d"
        padded = functional.pad(x, borders, value=minus_infinity if is_max else 0.0)
        pool = functional.max_pool2d if is_max else functional.avg_pool2d
        return pool(padded, call.kernel_size, call.stride)

    return function


def padded_with_zeros(call, x):
    return functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), call.kernel_size, call.stride)


FORWARD = {
    ("padding side", "overlapping max"): with_borders(0, 2, 0, 2),
    ("padding side", "overlapping avg"): with_borders(0, 2, 0, 2),
    ("padding side ", "overlapping max"): with_borders(2, 0, 2, 0),
    ("average instead of maximum", "overlapping max"): lambda call, x: functional.avg_pool2d(x, 3, 2, 1),
    ("average instead of maximum", "apart max"): lambda call, x: functional.avg_pool2d(x, 2, 2),
    ("maximum instead of average", "apart avg"): lambda call, x: functional.max_pool2d(x, 2, 2),
    ("sum instead of mean", "overlapping avg"): lambda call, x: 9 * functional.avg_pool2d(x, 3, 2, 1),
    ("padding not counted", "overlapping avg"): lambda call, x: functional.avg_pool2d(
        x, 3, 2, 1, count_include_pad=False
    ),
    ("ceil mode", "apart max"): lambda call, x: functional.max_pool2d(x, 2, 2, ceil_mode=True),
    ("ceil mode", "apart avg"): lambda call, x: functional.avg_pool2d(x, 2, 2, ceil_mode=True),
    ("stride phase", "apart max"): lambda call, x: functional.max_pool2d(
        functional.pad(x[:, :, 1:], (0, 0, 0, 1), value=minus_infinity), 2, 2
    )[:, :, : x.shape[2] // 2],
}


def spec_of(network):
    places, pool = network.split()
    return (OVERLAPPING if places == "overlapping" else APART)[pool]


@pytest.mark.parametrize(("key", "network", "dtype"), with_dtypes(FORWARD))
def test_fault_of_pooling_is_found_with_its_cause(key, network, dtype):
    cut = {"fc": lambda call, x: FUNCTIONS["Linear"](call, x[:, : call.in_features])} if key == "ceil mode" else {}
    assert Port(spec_of(network), dtype).diagnose({"pool": FORWARD[key, network], **cut}) == ("pool", key.rstrip())


def test_maximum_padded_with_zeros_is_found_where_inputs_are_negative():
    spec = gn.spec("resnet18", blocks=[1], width=4, image_size=18, classes=5, preactivation=True)
    assert Port(spec).diagnose({"pool": padded_with_zeros}) == ("pool", "maximum padded with zeros")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("key", "function"),
    [
        ("sum instead of mean", lambda call, x: x.sum((2, 3), keepdim=True)),
        ("maximum instead of average", lambda call, x: x.amax((2, 3), keepdim=True)),
    ],
)
def test_fault_of_the_mean_of_a_channel_is_found_with_its_cause(key, function, dtype):
    assert Port(APART["max"], dtype).diagnose({"avgpool": function}) == ("avgpool", key)


def windows(call, x):
    """Yield the output's index and the pixels of each window of the padded image."""
    N, C, H, W = x.shape
    k, s, p = call.kernel_size, call.stride, call.padding
    for n, c in np.ndindex(N, C):
        for i in range((H + 2 * p - k) // s + 1):
            for j in range((W + 2 * p - k) // s + 1):
                rows = [r for r in range(i * s - p, i * s - p + k) if 0 <= r < H]
                columns = [q for q in range(j * s - p, j * s - p + k) if 0 <= q < W]
                yield (n, c, i, j), [(n, c, r, q) for r in rows for q in columns]


def by_window(give):
    """Return a gradient of pooling: ``give(call, dx, dy at the window, {pixel: value})`` writes into dx."""

    def backward(call, dy, x):
        dx = torch.zeros_like(x)
        for index, pixels in windows(call, x):
            give(call, dx, dy[index], {pixel: x[pixel] for pixel in pixels})
        return dx

    return backward


def to_all_ties(call, dx, dy, values):
    largest = max(values.values())
    for pixel, value in values.items():
        if value == largest:
            dx[pixel] += dy


def to_all_pixels(call, dx, dy, values):
    for pixel in values:
        dx[pixel] += dy / call.kernel_size**2


def to_all_pixels_undivided(call, dx, dy, values):
    for pixel in values:
        dx[pixel] += dy


def overwrite(call, dx, dy, values):
    dx[max(values, key=values.__getitem__)] = dy


def to_own_pixels(call, dx, dy, values):
    for pixel in values:
        dx[pixel] += dy / len(values)


BACKWARD = {
    ("pooling gradient to all ties", "overlapping max"): to_all_ties,
    ("pooling gradient to all ties", "apart max"): to_all_ties,
    ("pooling gradient spread", "apart max"): to_all_pixels,
    ("pooling gradient spread", "overlapping max"): to_all_pixels_undivided,
    ("pooling gradient overwritten", "overlapping max"): overwrite,
    ("sum instead of mean", "overlapping avg"): to_all_pixels_undivided,
    ("padding not counted", "overlapping avg"): to_own_pixels,
}


@pytest.mark.parametrize(("key", "network", "dtype"), with_dtypes(BACKWARD))
def test_fault_of_poolings_gradient_is_found_with_its_cause(key, network, dtype):
    spec = spec_of(network)
    kind = "MaxPool2d" if spec.pool == "max" else "AvgPool2d"
    wrong = with_gradient(FUNCTIONS[kind], by_window(BACKWARD[key, network]))
    assert Port(spec, dtype).diagnose({"pool": wrong}) == ("pool", key)


def test_gradient_of_a_mean_that_is_not_divided_is_found():
    wrong = with_gradient(FUNCTIONS["AdaptiveAvgPool2d"], lambda call, dy, x: dy.expand(x.shape))
    assert Port(APART["max"]).diagnose({"avgpool": wrong}) == ("avgpool", "sum instead of mean")
