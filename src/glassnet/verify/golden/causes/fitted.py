"""Causes that are solved for: images or a kernel with which the port's output is exactly right.

A convolution has more outputs than it reads pixels, or than its kernel has numbers, so that hardly any wrong output can
be explained in this way. Where both can explain it, the kernel has far fewer numbers to do so.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn import functional
from glassnet.verify.golden.causes.alternative import InapplicableError
from glassnet.verify.golden.causes.convolution import window_of
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import IMAGES, Operation
from glassnet.verify.golden.reference import Computed, Site, compute
from glassnet.verify.golden.rounding import EPS, FACTOR, largest

Array = NDArray[Any]

MARGIN = 1.25  # equations for each unknown
MAX_UNKNOWNS = 1200  # of a kernel: more take long
MAX_STEPS = 600  # of the solver for images


def is_of_other_weights(judgement: Judgement, operation: Operation) -> bool:
    """Whether other weights explain the output, other than those that only mix the channels of images."""
    site = _site(judgement, operation)
    if site.kind == "Linear" and len(site.x) < MARGIN * site.x.shape[1]:
        return _is_adjoint(judgement, site)
    w = _solve_weights(site)
    if operation.inputs == (IMAGES,) and _mixes_channels(w, site):
        return False

    def reweighted(site: Site) -> Computed:
        return compute(site.with_state(**{name: array.astype(site.x.dtype) for name, array in w.items()}))

    return judgement.agrees_with({operation.name: reweighted})


def is_of_other_inputs(judgement: Judgement, operation: Operation) -> bool:
    """Whether the first operation returned its output of other images."""
    if operation.inputs != (IMAGES,):
        raise InapplicableError
    images = _solve_images(_site(judgement, operation))
    return judgement.agrees_with({operation.name: lambda site: compute(site.with_inputs(images.astype(site.x.dtype)))})


def _site(judgement: Judgement, operation: Operation) -> Site:
    """Return an operation whose output is the tensor."""
    site = judgement.evaluation.site(operation.name)
    if judgement.sources[0] != operation or site.port is None or not judgement.tensor.endswith(f"/{operation.name}"):
        raise InapplicableError
    return site


def _solve_weights(site: Site) -> dict[str, Array]:
    """Return the weight, and the bias if there is one, that come nearest to the port's output."""
    assert site.port is not None
    w, has_bias = site.parameter("weight"), site.parameter("bias") is not None
    assert w is not None
    if site.kind == "Conv2d":
        window = window_of(site)
        rows = functional.im2col(site.x, window.kernel_size, window.stride, window.padding, window.dilation)
        outputs = site.port.swapaxes(0, 1).reshape(len(w), -1).T
    else:
        rows, outputs = site.x, site.port
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1) if has_bias else rows
    unknowns = rows.shape[1]
    if len(rows) < MARGIN * unknowns or unknowns > MAX_UNKNOWNS:
        raise InapplicableError
    solution = np.linalg.lstsq(rows, outputs, rcond=None)[0].T
    weights = {"weight": solution[:, : prod(w.shape[1:])].reshape(w.shape)}
    return {**weights, "bias": solution[:, -1]} if has_bias else weights


def _is_adjoint(judgement: Judgement, site: Site) -> bool:
    """Whether a matrix can have made both the port's output, y = x wᵀ + b, and its gradient, dx = dy w.

    A few images do not determine it, but for each pair of them ⟨dx, x⟩ is ⟨dy, y⟩: both are dy w xᵀ. The bias cancels
    in differences of images.
    """
    evaluation, (source,) = judgement.evaluation, site.operation.inputs
    dx = evaluation.port.gradients.get(source)
    if dx is None or len(site.x) < 2 or len(evaluation.readers[source]) > 1:
        raise InapplicableError
    assert site.port is not None
    dx, dy, x, y = dx.astype(np.float64), evaluation.gradient(site.operation.name), site.x, site.port
    x, y = x[1:] - x[0], y[1:] - y[0]
    scale = np.abs(dx) @ np.abs(x).T + np.abs(dy) @ np.abs(y).T
    return bool((np.abs(dx @ x.T - dy @ y.T) <= FACTOR * EPS[judgement.dtype] * scale).all())


def _mixes_channels(solved: dict[str, Array], site: Site) -> bool:
    """Whether the kernels are the right ones on images of scaled or mixed channels: then the images are others."""
    w = site.parameter("weight")
    assert w is not None
    right, other = (kernels.swapaxes(0, 1).reshape(w.shape[1], -1).T for kernels in (w, solved["weight"]))
    if len(right) < MARGIN * right.shape[1]:
        return False
    mixed = right @ np.linalg.lstsq(right, other, rcond=None)[0]
    return bool(largest(mixed - other) <= 1e-3 * largest(other))


def _solve_images(site: Site) -> Array:
    """Return the images that come nearest to the port's output, by conjugate gradients on the normal equations."""
    w, bias, window = site.parameter("weight"), site.parameter("bias"), window_of(site)
    assert site.port is not None
    assert w is not None
    if site.port.size < MARGIN * site.x.size:
        raise InapplicableError

    def convolve(x: Array) -> tuple[Array, Any]:
        return functional.conv2d(x, w, None, window.stride, window.padding, window.dilation)

    x = np.zeros_like(site.x)
    _, saved = convolve(x)
    residual = site.port if bias is None else site.port - bias[:, None, None]
    direction = gradient = functional.conv2d_backward(residual, saved)[0]
    norm = first = float((gradient**2).sum())
    for _ in range(MAX_STEPS):
        if norm <= 1e-30 * first:
            break
        moved, _ = convolve(direction)
        step = norm / float((moved**2).sum())
        x, residual = x + step * direction, residual - step * moved
        gradient = functional.conv2d_backward(residual, saved)[0]
        norm, previous = float((gradient**2).sum()), norm
        direction = gradient + norm / previous * direction
    return x
