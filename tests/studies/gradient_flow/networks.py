"""Small networks and a batch to measure."""

from typing import Any

import numpy as np

import glassnet as gn


def built(engine: str = "numpy", dtype: str = "float32", **changes: Any) -> gn.Network:
    spec = gn.spec("resnet20", **{"width": 4, "blocks": (2, 2), "image_size": 12, "classes": 3, **changes})
    return gn.build(spec, engine, dtype=dtype)


def batch(count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3, 12, 12)), rng.integers(0, 3, count)
