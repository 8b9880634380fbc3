"""The engines: the same network, computed by NumPy or by another library."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from glassnet.architecture import ResNetSpec, initial_state
from glassnet.architecture import spec as preset
from glassnet.data import random_stream
from glassnet.engines.base import Batch, Evaluation, Network, Totals, Trainer
from glassnet.errors import ConfigError

ENGINES = ("numpy",)
DTYPES = ("float32", "float64")

__all__ = ["DTYPES", "ENGINES", "Batch", "Evaluation", "Network", "Totals", "Trainer", "build"]


def build(
    spec: ResNetSpec | str,
    engine: str = "numpy",
    seed: int = 42,
    dtype: DTypeLike = "float32",
    device: str = "auto",
) -> Network:
    """A network with initial weights that follow from ``seed`` alone, whatever the engine.

    ``dtype`` is float32, to train, or float64, to prove. ``device`` is "auto" or "cpu".

    :raises ConfigError: an unknown preset, engine, dtype or device.
    """
    if isinstance(spec, str):
        spec = preset(spec)
    if engine not in ENGINES:
        raise ConfigError(f"The engine must be one of {', '.join(map(repr, ENGINES))}. Got {engine!r}.")
    if str(dtype) not in DTYPES and dtype not in (np.float32, np.float64):
        raise ConfigError(f"The dtype must be float32 or float64. Got {dtype!r}.")
    if device not in ("auto", "cpu"):
        raise ConfigError(f"The device of the NumPy engine must be 'auto' or 'cpu'. Got {device!r}.")
    from glassnet.engines.numpy_engine import NumpyNetwork

    network = NumpyNetwork(spec, np.dtype(dtype))
    network.load_state_dict(initial_state(spec, seed))
    network.seed_dropout(random_stream(seed, "dropout"))
    return network
