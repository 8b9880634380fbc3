"""Pooling as comparisons and sums of whole images, one offset (u, v) of the kernel after the other.

A maximum takes two steps, each a series of ``np.maximum``: across the columns of the kernel, then down its rows.
``saved`` records, for each pixel of a window but the first, whether it was larger than all before it. The gradient goes
the same way back, in each step to the last pixel that was larger::

    pixel   a  b  c  d           larger than all before   b: no   c: yes   d: no
            2  1  5  4           dy goes to c, the last that was larger
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import IntOrPair, Padding, Saved
from glassnet.nn.kernels import layout
from glassnet.nn.kernels.parallel import BlockExecutor
from glassnet.nn.kernels.window import sliding_window
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]


def max_pool2d(
    executor: BlockExecutor,
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Saved]:
    """``functional.max_pool2d``.

    ``saved`` is the comparisons across, (kw − 1, kh, N, Ho, Wo, C), and down, (kh − 1, N, Ho, Wo, C), x's shape, and
    the window.
    """
    window = sliding_window(kernel_size, kernel_size if stride is None else stride, padding, dilation)
    pixels, (kh, kw), (Ho, Wo) = layout.nhwc(x), window.kernel_size, window.output_size(x.shape[2:])
    outputs = (len(x), Ho, Wo, x.shape[1])
    y = executor.empty(outputs, x.dtype)
    across = executor.empty((kw - 1, kh, *outputs), np.bool_)
    down = executor.empty((kh - 1, *outputs), np.bool_)

    def compute_block(block: slice, workspace: Workspace) -> None:
        padded = np.ascontiguousarray(window.pad(pixels[block], -np.inf, workspace))
        values = workspace.empty("values", (kw, kh, *y[block].shape), x.dtype)  # columns are the first axis to compare
        layout.pixel_view(values)[...] = window.unfold(layout.pixel_view(padded), (Ho, Wo)).swapaxes(0, 1)
        row_maxima = _running_max(values, across[:, :, block], values[0])
        _running_max(row_maxima, down[:, block], y[block])

    executor.map(compute_block, len(x), kw * y[:1].nbytes)
    return layout.nchw(y), (across, down, x.shape, window)


def max_pool2d_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> Array:
    """``functional.max_pool2d_backward``."""
    across, down, (N, C, H, W), window = saved
    dx = window.padded_zeros((N, H, W, C), dy.dtype)
    gradients, (kh, kw) = layout.nhwc(dy), window.kernel_size

    def compute_block(block: slice, workspace: Workspace) -> None:
        dvalues = workspace.empty("values", (kw, kh, *gradients[block].shape), dy.dtype)
        _route_gradient(gradients[block], down[:, block], dvalues[0])
        _route_gradient(dvalues[0], across[:, :, block], dvalues)
        under = window.unfold(dx[block], gradients.shape[1:3])
        if window.is_non_overlapping:
            layout.pixel_view(under)[...] = layout.pixel_view(dvalues).swapaxes(0, 1)
        else:
            for u, v in np.ndindex(kh, kw):
                under[u, v] += dvalues[v, u]

    executor.map(compute_block, N, kw * gradients[:1].nbytes)
    return layout.nchw(np.ascontiguousarray(window.unpad(dx, (H, W))))


def max_pool2d_winner(executor: BlockExecutor, saved: Saved) -> Array:
    """``functional.max_pool2d_winner``."""
    across, down, _, window = saved
    column, row = _last_larger(across), _last_larger(down)
    winner = row * window.kernel_size[1] + np.take_along_axis(column, row[None], axis=0)[0]  # (N, Ho, Wo, C)
    return layout.nchw(winner)


def avg_pool2d(
    executor: BlockExecutor,
    x: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> tuple[Array, Saved]:
    """``functional.avg_pool2d``, on the caller's thread alone.

    ``saved`` is x's shape, the window, and the number of pixels of each window.
    """
    window = sliding_window(kernel_size, kernel_size if stride is None else stride, padding)
    size = window.output_size(x.shape[2:])
    padded = np.ascontiguousarray(window.pad(layout.nhwc(x), 0, executor.workspaces[0]))
    y = window.unfold(padded, size).sum(axis=(0, 1))
    count: int | Array = window.area
    if not count_include_pad:
        ones = window.pad(np.ones((1, *x.shape[2:], 1), x.dtype), 0, executor.workspaces[0])
        count = window.unfold(np.ascontiguousarray(ones), size).sum(axis=(0, 1))  # (1, Ho, Wo, 1)
    y /= count
    return layout.nchw(y), (x.shape, window, count)


def avg_pool2d_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> Array:
    """``functional.avg_pool2d_backward``."""
    (N, C, H, W), window, count = saved
    dx = window.padded_zeros((N, H, W, C), dy.dtype)
    dy_share = layout.nhwc(dy) / count
    under = window.unfold(dx, dy.shape[2:])
    for u, v in np.ndindex(window.kernel_size):
        under[u, v] += dy_share
    return layout.nchw(np.ascontiguousarray(window.unpad(dx, (H, W))))


def adaptive_avg_pool2d(executor: BlockExecutor, x: Array) -> tuple[Array, Saved]:
    """``functional.adaptive_avg_pool2d``."""
    N, C, H, W = x.shape
    y = np.empty((N, C, 1, 1), x.dtype)

    def compute_block(block: slice, _: Workspace) -> None:
        # The sum over rows comes first: its inner loops run over W·C values. Only the second sum's run over C.
        row = layout.as_rows(x[block]).reshape(-1, H, W * C).sum(axis=1)
        np.divide(row.reshape(-1, W, C).sum(axis=1), H * W, out=y[block, :, 0, 0])

    executor.map(compute_block, N, x[:1].nbytes)
    return y, (x.shape,)


def adaptive_avg_pool2d_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> Array:
    """``functional.adaptive_avg_pool2d_backward``."""
    ((N, C, H, W),) = saved
    dx = executor.empty((N, H, W * C), dy.dtype)

    def compute_block(block: slice, _: Workspace) -> None:
        dy_share = dy[block].reshape(-1, 1, C) / (H * W)
        dx[block] = dy_share.repeat(W, axis=1).reshape(-1, 1, W * C)  # every row is the same

    executor.map(compute_block, N, dx[:1].nbytes)
    return layout.nchw(dx.reshape(N, H, W, C))


def _running_max(values: Array, larger: Array, out: Array) -> Array:
    """Return the elementwise maximum of several arrays, in ``out``.

    ``larger`` gets, for each array but the first, where it is larger than all arrays before it.
    """
    best = values[0]
    for value, is_larger in zip(values[1:], larger, strict=True):
        np.greater(value, best, out=is_larger)
        best = np.maximum(best, value, out=out)
    if best is not out:
        out[...] = best
    return out


def _route_gradient(dy: Array, larger: Array, gradients: Array) -> None:
    """Write each array's gradient to ``gradients``: the last that was larger than all before gets dy, the others 0.

    From the last array to the second, ``gradients[0]`` holds the gradient not yet assigned. It may be dy itself.
    """
    remaining = dy
    for is_larger, gradient in zip(larger[::-1], gradients[:0:-1], strict=True):
        np.multiply(remaining, is_larger, out=gradient)
        remaining = np.subtract(remaining, gradient, out=gradients[0])
    if remaining is dy:
        gradients[0] = dy


def _last_larger(larger: Array) -> Array:
    """Return the index of the last array that was larger than all before."""
    indices = np.arange(1, len(larger) + 1).reshape(-1, *[1] * (larger.ndim - 1))
    last: Array = (indices * larger).max(axis=0, initial=0)
    return last
