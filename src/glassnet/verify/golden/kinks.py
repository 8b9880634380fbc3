"""Choices that rounding leaves open: ReLU inputs near 0, and maxima of pooling windows with a close second.

A port in float32 may choose otherwise than the reference, and both are right. Where it gives its own activations, the
reference follows them; where it gives none, the effect of each open choice on a gradient can be computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import windows_of
from glassnet.verify.golden.evaluation import KINKED, Compute, PassEvaluation
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Site, compute
from glassnet.verify.golden.rounding import tolerance_of

Array = NDArray[Any]


def open_choices(evaluation: PassEvaluation, dtype: str) -> Iterator[Mapping[str, Compute]]:
    """Yield an alternative for each choice that rounding in ``dtype`` leaves open: its operation, with that choice."""
    for operation in evaluation.operations:
        for pixels in _open(evaluation, operation, dtype) if operation.kind in KINKED else ():
            x = evaluation.site(operation.name).x
            yield {operation.name: partial(_compute_with, pixels=pixels, values=_swapped(x.flat[pixels]))}


def _open(evaluation: PassEvaluation, operation: Operation, dtype: str) -> Iterator[Array]:
    """Yield the flat indices of the inputs of each open choice: one of a ReLU, the two largest of a window."""
    site, source = evaluation.site(operation.name), operation.inputs[0]
    is_given = source in evaluation.port.outputs
    limit = 0.0 if is_given else tolerance_of(site.x, evaluation.in_float32.site(operation.name).x, dtype)
    if operation.kind == "ReLU":
        is_open = np.abs(site.x) <= limit
        if not is_given:
            is_open &= site.x != 0  # a sum of zeros is 0 in the port, too
        yield from np.flatnonzero(is_open).reshape(-1, 1)
    else:
        yield from _close_maxima(site, limit)


def _close_maxima(site: Site, limit: float) -> Array:
    """Return the flat indices of the two largest pixels of each window in which they are close, (windows, 2).

    Windows of zeros are left out: their gradient ends at the ReLU before them.
    """
    index = np.arange(site.x.size, dtype=np.float64).reshape(site.x.shape)
    values, pixels = _windows(site, site.x), _windows(site, index)
    if values.shape[1] == 1:
        return np.empty((0, 2), np.int64)
    top = np.argsort(-values, axis=1, kind="stable")[:, :2]
    largest, second = np.take_along_axis(values, top, 1).T
    is_open = (largest - second <= limit) & (np.abs(largest) > limit)
    closest: Array = np.take_along_axis(pixels, top, 1)[is_open].astype(np.int64)
    return closest


def _windows(site: Site, x: Array) -> Array:
    """Return the pixels of each window of a pooling layer, (windows, pixels)."""
    attributes = site.operation.attributes
    kernel, stride, padding = (attributes[key] for key in ("kernel_size", "stride", "padding"))
    windows = windows_of(x, kernel, stride, padding, attributes.get("dilation", 1), border=-np.inf)
    N, C, kh, kw, Ho, Wo = windows.shape
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(N * C * Ho * Wo, kh * kw)


def _swapped(values: Array) -> Array:
    """Return one number on the other side of 0, or two in the other order."""
    if len(values) == 1:
        return -values if values[0] else np.full_like(values, np.finfo(values.dtype).tiny)
    return values[::-1] if values[0] != values[1] else np.nextafter(values, [-np.inf, np.inf], dtype=values.dtype)


def _compute_with(site: Site, *, pixels: Array, values: Array) -> Computed:
    x = np.array(site.x)
    x.flat[pixels] = values
    return compute(site.with_inputs(x))
