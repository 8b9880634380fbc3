"""Where two gradients are both right: at ReLU's kink, and where several pixels of a pooling window are the maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import add_windows, windows_of
from glassnet.verify.golden.evaluation import PassEvaluation
from glassnet.verify.golden.reference import Site

Array = NDArray[Any]


def undecided(evaluation: PassEvaluation, name: str) -> Array | None:
    """Return where the gradient wrt a tensor has several right answers; None if it has one everywhere."""
    found: Array | None = None
    for reader in evaluation.readers[name]:
        if reader.kind not in ("ReLU", "MaxPool2d"):
            continue
        site = evaluation.site(reader.name)
        here = site.x == 0 if reader.kind == "ReLU" else _is_tied(site)
        found = here if found is None else found | here
    return found if found is not None and found.any() else None


def _is_tied(site: Site) -> Array:
    """Return which pixels are one of several maxima of a window."""
    attributes = site.operation.attributes
    kernel, stride, padding = (attributes[key] for key in ("kernel_size", "stride", "padding"))
    dilation = attributes.get("dilation", 1)
    windows = windows_of(site.x, kernel, stride, padding, dilation, border=-np.inf)
    is_winner = windows == windows.max(axis=(2, 3), keepdims=True)
    is_tied = is_winner & (is_winner.sum(axis=(2, 3), keepdims=True) > 1)
    return add_windows(is_tied.astype(site.x.dtype), site.x.shape, stride, padding, dilation) > 0
