"""Initial weights, drawn in NumPy from a seed, for either engine."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from glassnet import nn
from glassnet.architecture import ResNetSpec, assemble


class _ZeroGenerator:
    """Takes a generator's place where the weights would be thrown away; large networks take seconds to draw."""

    def standard_normal(self, shape: tuple[int, ...]) -> float:
        return 0.0


def build_uninitialized(spec: ResNetSpec, dtype: DTypeLike = np.float32) -> nn.Module:
    """Return the NumPy network of ``spec`` with weights that are not drawn yet."""
    layers = {name: getattr(nn, name) for name in nn.__all__}
    layers |= {name: partial(layers[name], rng=_ZeroGenerator(), dtype=dtype) for name in ("Conv2d", "Linear")}
    layers["BatchNorm2d"] = partial(nn.BatchNorm2d, dtype=dtype)
    network: nn.Module = assemble(spec, SimpleNamespace(**layers))
    return network


def initial_state_dict(spec: ResNetSpec, seed: int) -> dict[str, Any]:
    """Return initial weights and buffers under torch's keys, in float64: He-normal, drawn from ``seed``.

    Both engines start from them, so that they start equal.
    """
    network = build_uninitialized(spec, np.float64)
    rng = np.random.default_rng(seed)
    for module in network.modules():
        module.reset_parameters(rng)
    state = dict(network.state_dict())
    if spec.zero_init:
        last = f".bn{3 if spec.block == 'bottleneck' else 2}.weight"
        for key in state:
            if key.endswith(last):
                state[key][...] = 0
    return state
