"""Causes in what convolutions and the last layer have in common: the bias, and sums over the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import Alternative, AnyAlternative, InapplicableError, with_backward
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]
SUMS = ("Conv2d", "Linear")  # operations that add a product and a bias
SOME_IMAGES = (*(slice(0, n) for n in range(1, 8)), *(slice(n, None) for n in range(1, 8)), slice(-1, None))
WITH_PARAMETERS = (*SUMS, "BatchNorm2d")


def _with_bias(site: Site, factor: float) -> Computed:
    """Add the bias so many times: never, or twice."""
    bias = site.parameter("bias")
    if bias is None or not bias.any():
        raise InapplicableError
    return replace(compute(site.with_state(bias=factor * bias)), backward=compute(site).backward)


def _changed_parameters(site: Site, change: Callable[[str, Array], Array]) -> Computed:
    """Change the gradients of the parameters, by key, and keep that of the input."""

    def apply(gradients: Gradients, _: Array) -> Gradients:
        return replace(gradients, parameters={key: change(key, dw) for key, dw in gradients.parameters.items()})

    return with_backward(site, apply)


def _without_bias_gradient(site: Site) -> Computed:
    if site.parameter("bias") is None:
        raise InapplicableError
    return _changed_parameters(site, lambda key, dw: np.zeros_like(dw) if key.endswith(".bias") else dw)


def _averaged(site: Site) -> Computed:
    """Divide the gradients of the parameters by the number of images."""
    if len(site.x) == 1:
        raise InapplicableError
    return _changed_parameters(site, lambda key, dw: dw / len(site.x))


def _accumulated(site: Site, times: int) -> Computed:
    return _changed_parameters(site, lambda key, dw: times * dw)


def _of_some_images(site: Site, images: slice) -> Computed:
    """Sum the gradients of the parameters over some images only."""
    if not 0 < len(site.x[images]) < len(site.x):
        raise InapplicableError
    right, some = compute(site), compute(site.with_inputs(site.x[images]))

    def backward(dy: Array) -> Gradients:
        return replace(right.backward(dy), parameters=some.backward(dy[images]).parameters)

    return Computed(right.output, backward, right.buffers)


def _alternatives() -> Iterator[AnyAlternative]:
    yield Alternative("missing bias", SUMS, "forward", partial(_with_bias, factor=0.0))
    yield Alternative("bias twice", SUMS, "forward", partial(_with_bias, factor=2.0))
    yield Alternative("missing bias gradient", WITH_PARAMETERS, "backward", _without_bias_gradient)
    for images in SOME_IMAGES:
        yield Alternative("some images only", SUMS, "backward", partial(_of_some_images, images=images))
    yield Alternative("mean over the batch", WITH_PARAMETERS, "backward", _averaged)
    for times in (2, 3):
        yield Alternative("accumulated gradients", WITH_PARAMETERS, "backward", partial(_accumulated, times=times))


ALTERNATIVES: tuple[AnyAlternative, ...] = tuple(_alternatives())
