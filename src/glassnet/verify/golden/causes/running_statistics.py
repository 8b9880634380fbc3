"""Causes in the running statistics of batch normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import (
    Alternative,
    AnyAlternative,
    InapplicableError,
    TensorAlternative,
    solved,
)
from glassnet.verify.golden.causes.normalization import BATCH, BATCH_NORM, by_key, parameter, unchanged_buffers
from glassnet.verify.golden.reference import Computed, Site, compute

Array = NDArray[Any]

DIGITS = 9  # of a momentum: more are rounding


def _momentum(site: Site) -> float:
    momentum = site.operation.attributes.get("momentum", 0.1)
    if momentum is None or not site.training:
        raise InapplicableError
    return float(momentum)


def _not_updated(site: Site) -> Computed:
    right = compute(site)
    return Computed(right.output, right.backward, unchanged_buffers(site))


def _find_not_updated(site: Site) -> Callable[[Site], Computed]:
    """Return the layer without an update, if the port has changed none of its statistics; it may count batches."""
    _momentum(site)
    for key, array in site.port_buffers.items():
        if not key.endswith("num_batches_tracked") and not np.allclose(array, site.state[key], rtol=1e-6):
            raise InapplicableError
    return _not_updated


def _biased_running_variance(site: Site) -> Computed:
    momentum, right = _momentum(site), compute(site)
    old, biased = parameter(site, "running_var").ravel(), site.x.var(BATCH)
    running = by_key(site, running_var=(1 - momentum) * old + momentum * biased)
    return Computed(right.output, right.backward, {**right.buffers, **running})


def _turned_momentum(site: Site) -> Computed:
    return compute(site.with_attributes(momentum=1 - _momentum(site)))


def _find_momentum(site: Site) -> Callable[[Site], Computed]:
    """Return the layer with the one momentum that explains the port's running mean and variance best."""
    _momentum(site)
    new = compute(site.with_attributes(momentum=1.0)).buffers  # the batch's own
    keys = [key for key in new if key in site.port_buffers and not key.endswith("num_batches_tracked")]
    if sum(new[key].size for key in keys) < 2:  # a momentum explains any single number
        raise InapplicableError
    old, batch, port = (
        np.concatenate([arrays[key] for key in keys]) for arrays in (site.state, new, site.port_buffers)
    )
    momentum = round(float((port - old) @ (batch - old) / ((batch - old) @ (batch - old))), DIGITS)
    return lambda site: compute(site.with_attributes(momentum=momentum))


ALTERNATIVES: tuple[AnyAlternative, ...] = (
    TensorAlternative("running statistics not updated", BATCH_NORM, "forward", solved(_find_not_updated)),
    Alternative("biased variance", BATCH_NORM, "forward", _biased_running_variance),
    Alternative("momentum convention", BATCH_NORM, "forward", _turned_momentum),
    TensorAlternative("momentum value", BATCH_NORM, "forward", solved(_find_momentum)),
)
