"""Exercises: max-pooling, forward and backward, and the gradient of the ReLU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.course.windows import SCATTERING
from glassnet.nn.functional import (
    add_windows,
    max_pool2d,
    max_pool2d_backward,
    relu,
    relu_backward,
    windows_of,
)

Array = NDArray[Any]

_WINDOWS: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    ("one image, one channel", 1, 1, {}),
    ("several images and channels", 2, 3, {}),
    ("windows of 3×2", 2, 2, {"kernel_size": (3, 2), "stride": 3}),
    ("overlapping windows", 2, 2, {"kernel_size": (3, 3)}),
    ("overlapping windows of 2×3", 2, 2, {"kernel_size": (2, 3), "stride": 1}),
    ("padding 1", 2, 2, {"kernel_size": (3, 2), "padding": 1}),
    ("dilation 2", 2, 2, {"dilation": 2}),
)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, images, channels, options in _WINDOWS:
        window = {"kernel_size": (2, 2), "stride": 2, "padding": 0, "dilation": 1} | options
        height = int(rng.integers(6, 8))
        shape = images, channels, height, height + int(rng.choice([-1, 1, 2]))
        yield Case(label, {"x": rng.standard_normal(shape), **window})
    window = {"kernel_size": (2, 2), "stride": 2, "padding": 1, "dilation": 1}
    yield Case("negative pixels and padding 1", {"x": -1 - rng.random((2, 2, 5, 6)), **window})
    yield Case("equal pixels", {"x": rng.integers(-1, 2, (2, 2, 6, 8)).astype(float), **window | {"padding": 0}})


def _last_maximum(x: Array, kernel_size: Any, stride: int, padding: int, dilation: int) -> Any:
    y, (_, *others) = max_pool2d(x, kernel_size, stride, padding, dilation)
    windows = windows_of(x, kernel_size, stride, padding, dilation, border=-np.inf)
    values = windows.reshape(*x.shape[:2], -1, *y.shape[2:])[:, :, ::-1]  # (N, C, kh·kw, Ho, Wo), the last one first
    return y, (values.shape[2] - 1 - values.argmax(axis=2, keepdims=True), *others)


def _down_columns(x: Array, kernel_size: Any, *window: Any) -> Any:
    kh, kw = kernel_size
    y, (winner, *others) = max_pool2d(x, kernel_size, *window)
    return y, (winner % kw * kh + winner // kw, *others)


def _zero_padding(x: Array, kernel_size: Any, stride: int, padding: int, dilation: int) -> Any:
    borders = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return max_pool2d(np.pad(x, borders), kernel_size, stride, 0, dilation)


def _without_axis(*arguments: Any) -> Any:
    y, (winner, *others) = max_pool2d(*arguments)
    return y, (winner[:, :, 0], *others)


def _smallest(x: Array, *window: Any) -> Any:
    y, saved = max_pool2d(-x, *window)
    return -y, saved


def _mean(x: Array, kernel_size: Any, stride: int, padding: int, dilation: int) -> Any:
    _, saved = max_pool2d(x, kernel_size, stride, padding, dilation)
    return windows_of(x, kernel_size, stride, padding, dilation).mean(axis=(2, 3)), saved


MAX_POOL2D = FunctionExercise(
    name="max_pool2d",
    chapter=3,
    task="Keep the largest value of each window, and save which one it was.",
    stub='''\
def max_pool2d(x, kernel_size, stride, padding=0, dilation=1):
    """Return y (N, C, Ho, Wo) and saved.

    x (N, C, H, W) is padded by −∞. kernel_size is (kh, kw); stride, padding and
    dilation are ints. winner (N, C, 1, Ho, Wo) is the index u·kw + v of each
    window's maximum: the first, row by row, if several values are equal.
    max_pool2d_backward reads it.
    """
    ...
    return y, (winner, x.shape, kernel_size, stride, padding, dilation)
''',
    reference=max_pool2d,
    returns=("y", ("winner", "_shape", "_kernel_size", "_stride", "_padding", "_dilation")),
    cases=_cases,
    mistakes=(
        Mistake("x were padded by zeros, which are larger than negative pixels", _zero_padding),
        Mistake("the padding were missing", lambda x, k, s, p, d: max_pool2d(x, k, s, 0, d)),
        Mistake("the stride were ignored", lambda x, k, s, p, d: max_pool2d(x, k, 1, p, d)),
        Mistake("the stride were always 2", lambda x, k, s, p, d: max_pool2d(x, k, 2, p, d)),
        Mistake("windows did not overlap", lambda x, k, s, p, d: max_pool2d(x, k, k, p, d)),
        Mistake("the dilation were ignored", lambda x, k, s, p, d: max_pool2d(x, k, s, p, 1)),
        Mistake("rows and columns of the window were exchanged", lambda x, k, *rest: max_pool2d(x, k[::-1], *rest)),
        Mistake("the mean were taken, not the maximum", _mean),
        Mistake("the last of several equal values won, not the first", _last_maximum),
        Mistake("the smallest value won", _smallest),
        Mistake("the offsets were counted down the columns, not along the rows", _down_columns),
        Mistake("the axis of length 1 were missing", _without_axis),
    ),
)


def _windows(dy: Array, saved: tuple[Any, ...]) -> Array:
    """Return the gradients of the windows, (N, C, kh, kw, Ho, Wo): dy at the winner and 0 elsewhere."""
    winner, _, (kh, kw), *_ = saved
    values: Array = (np.arange(kh * kw).reshape(-1, 1, 1) == winner) * dy[:, :, np.newaxis]
    return values.reshape(*dy.shape[:2], kh, kw, *dy.shape[2:])


def _scattered(add: Any) -> Any:
    return lambda dy, saved: add(_windows(dy, saved), saved[1], *saved[3:])


def _everywhere(divided: bool) -> Any:
    """Return a backward pass that gives dy to every pixel of a window."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Array:
        _, shape, (kh, kw), *window = saved
        share = dy / (kh * kw) if divided else dy
        windows = np.broadcast_to(share[:, :, np.newaxis, np.newaxis], (*dy.shape[:2], kh, kw, *dy.shape[2:]))
        return add_windows(windows, shape, *window)

    return backward


def _pixel_by_pixel(offset: Any, add: bool = True) -> Any:
    """Return a backward pass that finds the winner's pixel by ``offset(winner, kh, kw)`` and adds dy or writes it."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Array:
        winner, shape, (kh, kw), stride, padding, dilation = saved
        canvas = np.zeros((*shape[:2], shape[2] + 2 * padding + 9 * dilation, shape[3] + 2 * padding + 9 * dilation))
        for n, c, i, j in np.ndindex(*dy.shape):
            u, v = offset(int(winner[n, c, 0, i, j]), kh, kw)
            pixel = n, c, stride * i + dilation * u, stride * j + dilation * v
            canvas[pixel] = canvas[pixel] * add + dy[n, c, i, j]
        return canvas[:, :, padding : padding + shape[2], padding : padding + shape[3]]

    return backward


MAX_POOL2D_BACKWARD = FunctionExercise(
    name="max_pool2d_backward",
    chapter=3,
    task="Give each window's gradient to the pixel that was its maximum.",
    stub='''\
def max_pool2d_backward(dy, saved):
    """Return dx (N, C, H, W), from dy (N, C, Ho, Wo).

    saved is what glassnet.nn.functional.max_pool2d returns. winner (N, C, 1, Ho,
    Wo) is the index u·kw + v of each window's maximum, and shape is x's. Windows
    may overlap.
    """
    winner, shape, (kh, kw), stride, padding, dilation = saved
    ...
    return dx
''',
    reference=max_pool2d_backward,
    returns="dx",
    cases=_cases,
    forward=max_pool2d,
    mistakes=(
        *(Mistake(hint, _scattered(add)) for hint, add in SCATTERING),
        Mistake(
            "overlapping windows were not added: = where it should be +=",
            _pixel_by_pixel(lambda winner, kh, kw: divmod(winner, kw), add=False),
        ),
        Mistake("the mask were missing: every pixel of a window gets dy", _everywhere(divided=False)),
        Mistake("it were the gradient of average pooling", _everywhere(divided=True)),
        Mistake(
            "rows and columns of the window were exchanged",
            _pixel_by_pixel(lambda winner, kh, kw: divmod(winner, kw)[::-1]),
        ),
        Mistake(
            "winner were divided by the rows of the window, not by its columns",
            _pixel_by_pixel(lambda winner, kh, kw: divmod(winner, kh)),
        ),
    ),
)


def _relu_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("one row", {"x": rng.standard_normal((1, 8))})
    yield Case("images", {"x": rng.standard_normal((2, 3, 4, 5))})
    yield Case("pixels that are 0", {"x": rng.integers(-1, 2, (2, 2, 4, 5)).astype(float)})


RELU_BACKWARD = FunctionExercise(
    name="relu_backward",
    chapter=3,
    task="Let the gradient pass where the input was positive, and nowhere else.",
    stub='''\
def relu_backward(dy, saved):
    """Return dx, of dy's shape, which may be any.

    saved is what glassnet.nn.functional.relu returns: positive is True where x > 0.
    """
    (positive,) = saved
    ...
    return dx
''',
    reference=relu_backward,
    returns="dx",
    cases=_relu_cases,
    forward=relu,
    mistakes=(
        Mistake("the mask were missing", lambda dy, saved: dy),
        Mistake("the mask were inverted", lambda dy, saved: dy * ~saved[0]),
        Mistake("the mask were that of dy, not of x", lambda dy, saved: np.maximum(dy, 0)),
        Mistake("the mask itself were returned", lambda dy, saved: saved[0] * 1.0),
        Mistake("the gradient passed on both sides, but negated on one", lambda dy, saved: np.where(saved[0], dy, -dy)),
    ),
)

EXERCISES = (MAX_POOL2D, MAX_POOL2D_BACKWARD, RELU_BACKWARD)
