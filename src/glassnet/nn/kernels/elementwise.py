"""Elementwise functions and copies, in channels-last memory.

ReLU, addition and the identity are one or two NumPy operations on a block, with results in memory of the executor's
pool. The others run on the caller's thread: they handle little data, once or twice in a network. If ``functional`` is
as fast already, as for ``linear`` and the loss, there is no kernel.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn import functional
from glassnet.nn.functional import Saved
from glassnet.nn.kernels import layout
from glassnet.nn.kernels.parallel import BlockExecutor
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]


def relu(executor: BlockExecutor, x: Array) -> tuple[Array, Saved]:
    """``functional.relu``."""
    y, positive = executor.empty_like(x), executor.empty_like(x, np.bool_)

    def compute_block(block: slice, _: Workspace) -> None:
        np.maximum(x[block], 0, out=y[block])
        np.not_equal(y[block], 0, out=positive[block])

    executor.map(compute_block, len(x), x[:1].nbytes)
    return y, (positive,)


def relu_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> Array:
    """``functional.relu_backward``, but dy is multiplied, at several times the speed of np.where: an infinite or NaN dy
    gives NaN where x ≤ 0."""
    return executor.elementwise(np.multiply, dy, *saved)


def add(executor: BlockExecutor, a: Array, b: Array) -> Array:
    """``functional.add``."""
    return executor.elementwise(np.add, a, b)


def identity(executor: BlockExecutor, x: Array) -> Array:
    """``functional.identity``."""
    return executor.elementwise(_copy, x)


def _copy(x: Array, out: Array) -> None:
    np.copyto(out, x)


def zero_pad_shortcut(executor: BlockExecutor, x: Array, out_channels: int, stride: int = 1) -> tuple[Array, Saved]:
    """``functional.zero_pad_shortcut``."""
    before = (out_channels - x.shape[1]) // 2
    pixels = x[:, :, ::stride, ::stride]
    y = layout.zeros((len(x), out_channels, *pixels.shape[2:]), x.dtype)
    y[:, before : before + x.shape[1]] = pixels
    return y, (x.shape, before, stride)


def zero_pad_shortcut_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> Array:
    """``functional.zero_pad_shortcut_backward``."""
    shape, before, stride = saved
    dx = layout.zeros(shape, dy.dtype)
    dx[:, :, ::stride, ::stride] = dy[:, before : before + shape[1]]
    return dx


def flatten(executor: BlockExecutor, x: Array) -> tuple[Array, Saved]:
    """``functional.flatten``, always as a copy."""
    return np.array(x, order="C").reshape(len(x), prod(x.shape[1:])), (x.shape,)


def flatten_backward(executor: BlockExecutor, dy: Array, saved: Saved) -> Array:
    """``functional.flatten_backward``, always as a copy."""
    dx = layout.channels_last(dy.reshape(*saved))
    return dx.copy(order="K") if np.shares_memory(dx, dy) else dx


def dropout_mask(executor: BlockExecutor, random: Array, p: float, dtype: Any) -> Array:
    """``functional.dropout_mask``."""
    return layout.channels_last(functional.dropout_mask(random, p, dtype))
