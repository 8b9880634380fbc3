"""Causes in ReLU and dropout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import (
    Alternative,
    AnyAlternative,
    InapplicableError,
    TensorAlternative,
    only_backward,
    solved,
)
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]

USUAL_SLOPES = (0.01, 0.1, 0.2, 0.3)


def _times(x: Array, factor: Array | float) -> Computed:
    """Return the operation that multiplies by a constant of each value."""
    return Computed(np.asarray(x * factor), lambda dy: Gradients((np.asarray(dy * factor),)))


# ReLU.


def _missing(site: Site) -> Computed:
    return _times(site.x, 1.0)


def _sloped(site: Site, slope: float) -> Computed:
    return _times(site.x, np.where(site.x > 0, 1, slope).astype(site.x.dtype))


def _find_slope(site: Site) -> Callable[[Site], Computed]:
    """Return the leaky ReLU that explains the port's output best."""
    negative = np.minimum(site.x, 0)
    if site.port is None or not negative.any():
        raise InapplicableError
    return partial(_sloped, slope=float((negative * site.port).sum() / (negative**2).sum()))


def _relu6(site: Site) -> Computed:
    is_between = ((site.x > 0) & (site.x < 6)).astype(site.x.dtype)
    return Computed(np.clip(site.x, 0, 6), lambda dy: Gradients((dy * is_between,)))


def _mask_of_gradient(site: Site) -> Computed:
    return Computed(np.maximum(site.x, 0), lambda dy: Gradients((np.maximum(dy, 0),)))


def _both_masks(site: Site) -> Computed:
    return Computed(np.maximum(site.x, 0), lambda dy: Gradients((np.maximum(dy, 0) * (site.x > 0),)))


def _is_overwritten(judgement: Judgement, operation: Operation) -> bool:
    """Whether the port's tensor is that after the ReLU which reads it."""
    readers = judgement.evaluation.readers[operation.name]
    if operation != judgement.sources[0] or not any(reader.kind == "ReLU" for reader in readers):
        raise InapplicableError

    def rectified(site: Site) -> Computed:
        right = compute(site)
        return Computed(np.maximum(right.output, 0), right.backward, right.buffers)

    return judgement.agrees_with({operation.name: rectified})


# Dropout. The mask holds 0 or 1/(1 − p).


def _mask(site: Site) -> Array:
    if site.mask is None or not site.training:
        raise InapplicableError
    return site.mask


def _keep_probability(site: Site) -> float:
    return 1 - float(site.operation.attributes["p"])


def _not_scaled(site: Site) -> Computed:
    """Scale in evaluation mode in place of training mode, as in 2014's paper."""
    if not site.training:
        return _times(site.x, _keep_probability(site))
    return _times(site.x, (_mask(site) > 0).astype(site.x.dtype))


def _scaled_by_p(site: Site) -> Computed:
    p = 1 - _keep_probability(site)
    if p == 0:
        raise InapplicableError
    return _times(site.x, (_mask(site) > 0).astype(site.x.dtype) / site.x.dtype.type(p))


def _without_mask(site: Site) -> Computed:
    _mask(site)
    return _times(site.x, 1.0)


def _masked(site: Site, mask: Array) -> Computed:
    return _times(site.x, mask.astype(site.x.dtype))


def _find_mask(site: Site, training: bool) -> Callable[[Site], Computed]:
    """Return dropout that drops what the port drops, if that is anything, in a pass of one mode."""
    if site.training != training or site.port is None or not ((site.port == 0) & (site.x != 0)).any():
        raise InapplicableError
    return partial(_masked, mask=(site.port != 0) / _keep_probability(site))


RELU, DROPOUT = ("ReLU",), ("Dropout",)
OVERWRITTEN = ("BatchNorm2d", "Sum", "Conv2d", "Linear")  # operations that a ReLU may follow
ALTERNATIVES: tuple[AnyAlternative, ...] = (
    Alternative("missing ReLU", RELU, "forward", _missing),
    *(Alternative("leaky ReLU", RELU, "forward", partial(_sloped, slope=slope)) for slope in USUAL_SLOPES),
    TensorAlternative("leaky ReLU", RELU, "forward", solved(_find_slope)),
    Alternative("ReLU6", RELU, "forward", _relu6),
    TensorAlternative("in-place ReLU", OVERWRITTEN, "forward", _is_overwritten),
    Alternative("missing ReLU mask", RELU, "backward", only_backward(_missing)),
    Alternative("ReLU mask of output gradient", RELU, "backward", _mask_of_gradient),
    Alternative("ReLU mask of output gradient", RELU, "backward", _both_masks),
    Alternative("evaluation mode", DROPOUT, "forward", _without_mask),
    Alternative("dropout not scaled", DROPOUT, "forward", _not_scaled),
    Alternative("dropout scaled by p", DROPOUT, "forward", _scaled_by_p),
    TensorAlternative("dropout mask", DROPOUT, "forward", solved(partial(_find_mask, training=True))),
    TensorAlternative("training mode", DROPOUT, "forward", solved(partial(_find_mask, training=False))),
    Alternative("missing dropout mask", DROPOUT, "backward", only_backward(_without_mask)),
    Alternative("dropout not scaled", DROPOUT, "backward", only_backward(_not_scaled)),
    Alternative("dropout scaled by p", DROPOUT, "backward", only_backward(_scaled_by_p)),
)
