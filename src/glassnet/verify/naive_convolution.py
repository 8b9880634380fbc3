"""Convolution by its definition, in plain loops: slow, and simple enough to check by eye.

``nn.functional.conv2d`` computes the same as one matrix product; tests compare the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Array:
    """Compute y[n,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v] · x[n, c, s·i + d·u − p, s·j + d·v − p]; outside x is 0.

    Deep learning's convolution is a cross-correlation: the kernel is not flipped.

    :param x: (N, C, H, W).
    :param weight: (O, C, kh, kw).
    :param bias: (O,), or None.
    :returns: (N, O, Ho, Wo), float64.
    """
    N, C, H, W = x.shape
    O, _, kh, kw = weight.shape
    Ho = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    Wo = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((N, O, Ho, Wo))
    for n in range(N):
        for o in range(O):
            for i in range(Ho):
                for j in range(Wo):
                    total = 0.0 if bias is None else bias[o]
                    for c in range(C):
                        for u in range(kh):
                            for v in range(kw):
                                row = stride * i + dilation * u - padding
                                column = stride * j + dilation * v - padding
                                if 0 <= row < H and 0 <= column < W:
                                    pixel = x[n, c, row, column]
                                    total += weight[o, c, u, v] * pixel
                    y[n, o, i, j] = total
    return y
