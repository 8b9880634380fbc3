"""Causes in convolutions and in the last layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import Alternative
from glassnet.verify.golden.reference import Computed, Site, compute

Array = NDArray[Any]


def _flipped_kernel(site: Site) -> Computed:
    w = site.parameter("weight")
    assert w is not None
    return compute(site.with_state(weight=np.ascontiguousarray(w[:, :, ::-1, ::-1])))


ALTERNATIVES = (Alternative("flipped kernel", ("Conv2d",), "forward", _flipped_kernel),)
