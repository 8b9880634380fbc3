"""Fast convolution: the mathematics of ``functional.conv2d``, with sums in another order.

Three things make it fast. Results differ from ``functional`` by rounding, and at infinite or NaN pixels:

- *Blocks.* The patches of a few images at a time are still in the cache when they are multiplied, and threads share
  the blocks (``parallel``).
- *Wide windows.* With few channels, several adjacent windows are computed as one (``wide_window``): fewer, longer
  copies and wider matrices for a few more multiplications.
- *Small products.* BLAS packs large matrices before it multiplies them. OpenBLAS does not pack small ones
  (m·n·k ≤ 100³), so the rows of a block are multiplied a few at a time.

Arrays inside are (N, H, W, C) and kernels (O, kh, kw, C). The backward pass copies the patches again: saving them would
take kh·kw times the memory of x.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import IntOrPair, Padding, Saved
from glassnet.nn.kernels import layout
from glassnet.nn.kernels.parallel import BlockExecutor
from glassnet.nn.kernels.wide_window import wide_window
from glassnet.nn.kernels.window import SlidingWindow, sliding_window
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]

SMALL_PRODUCT = 950_000  # multiply-adds, a little below OpenBLAS's own limit of 100³


def conv2d(
    executor: BlockExecutor,
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Saved]:
    """``functional.conv2d``; ``saved`` is x, w, whether there is a bias, and the window."""
    window = sliding_window(w.shape[2:], stride, padding, dilation)
    pixels = layout.nhwc(x)
    wide = wide_window(window, pixels.shape[1:3], pixels.shape[3], len(w), b is not None)
    matrix = wide.matrix(layout.nhwc(w), b, executor.workspaces[0])
    y = executor.empty((len(x), *wide.output_size, len(w)), x.dtype)

    def compute_block(block: slice, workspace: Workspace) -> None:
        _blocked_matmul(wide.im2col(pixels[block], workspace), matrix, y[block].reshape(-1, matrix.shape[1]))

    executor.map(compute_block, len(x), wide.elements_per_image * x.itemsize)
    return layout.nchw(y), (x, w, b is not None, window)


def conv2d_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> tuple[Array, Array, Array | None]:
    """``functional.conv2d_backward``; db is None without a bias.

    With stride 1 dx is the correlation of dy with the kernel turned by 180°, and the patches of dy that it needs give
    the kernel's gradient, too: dw[o,c,u,v] = Σ_{n,p,q} x̃[n,c,p,q] · dy[n, o, p − d·u, q − d·v].
    """
    x, w, has_bias, window = saved
    turned = window.backward_window
    if turned is None:
        return _col2im(executor, dy, w, window, x.shape), *conv2d_backward_params(executor, dy, saved)
    pixels, gradients = layout.nhwc(x), layout.nhwc(dy)
    wide = wide_window(turned, gradients.shape[1:3], gradients.shape[3], pixels.shape[3])
    turned_kernel = layout.nhwc(w)[:, ::-1, ::-1].transpose(3, 1, 2, 0)  # (O, kh, kw, C) -> (C, kh, kw, O)
    matrix = wide.matrix(turned_kernel, None, executor.workspaces[0])
    dx = executor.empty(pixels.shape, x.dtype)

    def compute_block(block: slice, workspace: Workspace) -> Array:
        patches = wide.im2col(gradients[block], workspace)
        _blocked_matmul(patches, matrix, dx[block].reshape(-1, matrix.shape[1]))
        return _sum_of_products(patches, pixels[block].reshape(-1, matrix.shape[1]))

    dturned = wide.kernel(executor.sum(compute_block, len(x), wide.elements_per_image * x.itemsize))  # (C, kh, kw, O)
    dw = dturned[:, ::-1, ::-1].transpose(3, 0, 1, 2)  # (O, C, kh, kw)
    return layout.nchw(dx), dw, _bias_gradient(dy, has_bias)


def conv2d_backward_params(executor: BlockExecutor, dy: Array, saved: Saved) -> tuple[Array, Array | None]:
    """``functional.conv2d_backward_params``, at about half the cost of ``conv2d_backward``."""
    x, _, has_bias, window = saved
    pixels, gradients = layout.nhwc(x), layout.nhwc(dy)
    wide = wide_window(window, pixels.shape[1:3], pixels.shape[3], gradients.shape[3])

    def compute_block(block: slice, workspace: Workspace) -> Array:
        patches = wide.im2col(pixels[block], workspace)
        return _sum_of_products(patches, gradients[block].reshape(-1, wide.windows * wide.outputs))

    dkernel = wide.kernel(executor.sum(compute_block, len(x), wide.elements_per_image * x.itemsize))  # (O, kh, kw, C)
    return layout.nchw(dkernel), _bias_gradient(dy, has_bias)


def _bias_gradient(dy: Array, has_bias: bool) -> Array | None:
    """Return Σ dy (O,), or None without a bias."""
    return layout.channel_sum(layout.as_rows(dy), dy.shape[1]) if has_bias else None


def _col2im(executor: BlockExecutor, dy: Array, w: Array, window: SlidingWindow, shape: tuple[int, ...]) -> Array:
    """Return dx for any stride: each row of dpatches is added back to the pixels that it was copied from."""
    N, C, H, W = shape
    gradients, kernel = layout.nhwc(dy), layout.nhwc(w).reshape(len(w), -1)  # (O, kh·kw·C)
    dx = executor.empty((N, H, W, C), dy.dtype)

    def compute_block(block: slice, workspace: Workspace) -> None:
        pixels = gradients[block].reshape(-1, len(w))
        dpatches = workspace.empty("patches", (len(pixels), kernel.shape[1]), dy.dtype)
        _blocked_matmul(pixels, kernel, dpatches)
        dpatches = dpatches.reshape(*gradients[block].shape[:3], *window.kernel_size, C)
        padded = window.padded_zeros((len(dpatches), H, W, C), dy.dtype)
        under = window.unfold(padded, gradients.shape[1:3])
        for u, v in np.ndindex(window.kernel_size):
            under[u, v] += dpatches[:, :, :, u, v]
        dx[block] = window.unpad(padded, (H, W))

    executor.map(compute_block, N, prod(gradients.shape[1:3]) * kernel.shape[1] * dy.itemsize)
    return layout.nchw(dx)


def _small_rows(matrix: tuple[int, int]) -> int:
    """Return how many rows fit a small product with a matrix of this shape: a power of two, or 0 if fewer than 16."""
    rows = SMALL_PRODUCT // prod(matrix)
    return 1 << (rows.bit_length() - 1) if rows >= 16 else 0


def _blocked_matmul(a: Array, b: Array, out: Array) -> None:
    """Compute out = a b, as small products if possible; rows that are left over are one more product."""
    rows = _small_rows(b.shape)
    n_blocked = rows and len(a) // rows * rows
    if n_blocked:
        np.matmul(a[:n_blocked].reshape(-1, rows, a.shape[1]), b, out=out[:n_blocked].reshape(-1, rows, out.shape[1]))
    if n_blocked < len(a):
        np.matmul(a[n_blocked:], b, out=out[n_blocked:])


def _sum_of_products(a: Array, b: Array) -> Array:
    """Return aᵀ b of matrices with many rows: a sum of small products, unless those would be larger than a and b."""
    rows = _small_rows((a.shape[1], b.shape[1]))
    if rows < 2 * b.shape[1] or len(a) < 2 * rows:
        return np.asarray(a.T @ b)
    n_blocked = len(a) // rows * rows
    blocks = a[:n_blocked].reshape(-1, rows, a.shape[1]).transpose(0, 2, 1)
    total: Array = np.matmul(blocks, b[:n_blocked].reshape(-1, rows, b.shape[1])).sum(axis=0)
    return total if n_blocked == len(a) else total + a[n_blocked:].T @ b[n_blocked:]
