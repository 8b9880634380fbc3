import inspect

import numpy as np
import pytest

from glassnet import nn
from glassnet.verify import layers


def test_cases_have_every_layer() -> None:
    used = {type(module).__name__ for name in layers.CASES for module in layers.build(name).modules()} | {
        type(module.loss).__name__
        for module in map(layers.build, layers.CASES)
        if isinstance(module, layers.LossOfLogits)
    }
    public = {
        name for name in nn.__all__ if inspect.isclass(getattr(nn, name)) and hasattr(getattr(nn, name), "forward")
    }
    assert public - {"Module"} <= used


@pytest.mark.parametrize("name", layers.CASES)
def test_build_returns_float64_with_random_parameters(name: str) -> None:
    first, same, other = (list(layers.build(name, seed).parameters()) for seed in (0, 0, 1))
    for a, b, c in zip(first, same, other, strict=True):
        assert a.data.dtype == np.float64
        assert len(np.unique(a.data)) == a.data.size
        np.testing.assert_array_equal(a.data, b.data)
        assert (a.data != c.data).all()
