"""Batch normalization in few passes over memory: ``functional.batch_norm`` with the constants multiplied out.

::

    forward     Σx, Σx²  ->  μ, σ²                              one pass: sums per channel, block by block
                y = x·a + b        a = γ/√(σ² + eps), b = β − μ·a         one pass: two operations on a block
    backward    Σdy, Σdy·x  ->  dβ, dγ = (Σdy·x − μ·dβ)/√(σ² + eps)
                dx = (x·p + dy − q)·a                           p = −dγ/√(σ² + eps)/M, q = dβ/M + μ·p

σ² is the mean of x² minus μ², which loses digits when the mean is large: (μ/σ)² times the rounding error. Two things
keep float32 as accurate as torch's, which sums in double precision. The sums of a few rows at a time are added in
float64, and the difference is taken there. And if the mean of any channel is more than ``CENTERING_LIMIT`` σ from 0,
x − μ replaces x in all of the above (shifted data: Chan, Golub & LeVeque 1983, sec. 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import Saved
from glassnet.nn.kernels import layout
from glassnet.nn.kernels.parallel import BlockExecutor
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]

CENTERING_LIMIT = 2.5  # standard deviations between a mean and 0
ROWS_PER_GROUP = 32  # rows that are summed in the dtype of x; the sums of groups are added in float64


def batch_norm(
    executor: BlockExecutor, x: Array, gamma: Array, beta: Array, eps: float = 1e-5
) -> tuple[Array, Saved, tuple[Array, Array]]:
    """``functional.batch_norm``, with statistics in float64.

    ``saved`` is x, the ``center`` c that was subtracted (None for 0), the mean of x − c, 1/√(σ² + eps), and γ; all but
    x have shape (C,), the mean and 1/√(σ² + eps) in float64.
    """
    y = _empty_like(executor, x)
    source, center = x, None
    mean, var = _mean_and_var(executor, x)
    if _needs_centering(mean, var):
        center = mean.astype(x.dtype)
        source = _subtract(executor, x, center, y)
        mean, var = _mean_and_var(executor, source)
    inverse_std = 1 / np.sqrt(var + eps)
    scale = inverse_std * gamma
    _scale_and_shift(executor, source, scale, beta - mean * scale, y)
    return y, (x, center, mean, inverse_std, gamma), (mean if center is None else center + mean, var)


def batch_norm_eval(
    executor: BlockExecutor,
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
) -> Array:
    """``functional.batch_norm_eval``."""
    y = _empty_like(executor, x)
    source, mean, var = x, running_mean.astype(np.float64), running_var.astype(np.float64)
    if _needs_centering(mean, var):
        source, mean = _subtract(executor, x, running_mean, y), np.zeros_like(mean)
    scale = gamma / np.sqrt(var + eps)
    _scale_and_shift(executor, source, scale, beta - mean * scale, y)
    return y


def batch_norm_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
    """``functional.batch_norm_backward``."""
    x, center, mean, inverse_std, gamma = saved
    M = dy.size // dy.shape[1]
    dx = _empty_like(executor, dy)
    source = x if center is None else _subtract(executor, x, center, dx)
    dbeta, products = _sums(executor, dy, source)
    dgamma = (products - mean * dbeta) * inverse_std
    p = -inverse_std * dgamma / M
    vectors = p, dbeta / M + mean * p, inverse_std * gamma
    p_row, q_row, a_row = (layout.repeat_per_pixel(v.astype(dy.dtype), dy.shape[3]) for v in vectors)

    def compute_block(block: slice, _: Workspace) -> None:
        rows = np.multiply(layout.as_rows(source[block]), p_row, out=layout.as_rows(dx[block]))
        rows += layout.as_rows(dy[block])
        rows -= q_row
        rows *= a_row

    executor.map(compute_block, len(dy), dy[:1].nbytes)
    return dx, dgamma.astype(dy.dtype), dbeta.astype(dy.dtype)


def _empty_like(executor: BlockExecutor, x: Array) -> Array:
    """Return an uninitialized channels-last array of x's shape and dtype, in whatever order x is."""
    return layout.nchw(executor.empty(layout.nhwc(x).shape, x.dtype))


def _sums(executor: BlockExecutor, a: Array, b: Array) -> Array:
    """Return Σ a and Σ a·b per channel, (2, C), in float64: down the rows of the images, then over the pixels of a row.

    Only ``ROWS_PER_GROUP`` rows are added in the dtype of the arrays, so that rounding errors stay small.
    """
    C, W, G = a.shape[1], a.shape[3], ROWS_PER_GROUP
    ones = np.ones(G, a.dtype)

    def compute_block(block: slice, _: Workspace) -> Array:
        a_rows, b_rows = layout.as_rows(a[block]), layout.as_rows(b[block])
        R = len(a_rows)
        n_full = R // G  # full groups; the rows that are left over are one more
        groups = np.empty((2, -(-R // G), W * C), a.dtype)
        x, y = (rows[: n_full * G].reshape(n_full, G, W * C) for rows in (a_rows, b_rows))
        np.matmul(ones, x, out=groups[0, :n_full])
        np.einsum("grk,grk->gk", x, y, out=groups[1, :n_full])
        if n_full * G < R:
            x, y = a_rows[n_full * G :], b_rows[n_full * G :]
            np.matmul(ones[: len(x)], x, out=groups[0, n_full])
            np.einsum("rk,rk->k", x, y, out=groups[1, n_full])
        total = np.add.reduce(groups, axis=1, dtype=np.float64)  # (2, groups, W·C) -> (2, W·C)
        channels: Array = np.add.reduce(total.reshape(2, W, C), axis=1)  # (2, W, C) -> (2, C)
        return channels

    sums: Array = executor.sum(compute_block, len(a), a[:1].nbytes)
    return sums


def _mean_and_var(executor: BlockExecutor, x: Array) -> tuple[Array, Array]:
    """Return μ and σ² per channel, (C,), in float64."""
    with np.errstate(over="ignore", invalid="ignore"):  # if σ² is not finite, x will be centered
        mean, square = _sums(executor, x, x) / (x.size // x.shape[1])
        return mean, np.maximum(square - mean**2, 0)


def _needs_centering(mean: Array, var: Array) -> bool:
    """Return whether any channel's mean is so far from 0, in units of σ, that sums of x and x² would lose digits."""
    return not bool((np.isfinite(var) & (np.abs(mean) <= CENTERING_LIMIT * np.sqrt(var))).all())


def _subtract(executor: BlockExecutor, x: Array, center: Array, out: Array) -> Array:
    """Compute x − center in ``out``, and return it."""
    row = layout.repeat_per_pixel(center, x.shape[3])

    def compute_block(block: slice, _: Workspace) -> None:
        np.subtract(layout.as_rows(x[block]), row, out=layout.as_rows(out[block]))

    executor.map(compute_block, len(x), x[:1].nbytes)
    return out


def _scale_and_shift(executor: BlockExecutor, x: Array, scale: Array, shift: Array, out: Array) -> None:
    """Compute x·scale + shift, channel by channel, in ``out``, which may be x."""
    scale_row, shift_row = (layout.repeat_per_pixel(v.astype(x.dtype), x.shape[3]) for v in (scale, shift))

    def compute_block(block: slice, _: Workspace) -> None:
        rows = np.multiply(layout.as_rows(x[block]), scale_row, out=layout.as_rows(out[block]))
        rows += shift_row

    executor.map(compute_block, len(x), x[:1].nbytes)
