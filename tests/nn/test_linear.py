import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassnet import nn
from glassnet.errors import ConfigError, ShapeError
from glassnet.nn.kernels import layout
from tests.nn.oracle import FLOATS, Array, examples, images, parity


@examples
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.booleans(), st.sampled_from(FLOATS))
def test_linear_is_torchs(batch: int, before: int, after: int, bias: bool, dtype: type) -> None:
    x = np.random.default_rng(batch).standard_normal((batch, before)).astype(dtype)
    parity(nn.Linear(before, after, bias), torch.nn.Linear(before, after, bias), x, batches=2)


@examples
@given(images())
def test_flatten_is_torchs(x: Array) -> None:
    parity(nn.Flatten(), torch.nn.Flatten(), x)


def test_flatten_counts_through_columns_then_rows_then_channels() -> None:
    x = layout.channels_last(np.arange(2.0 * 3 * 2 * 2).reshape(2, 3, 2, 2))
    flatten = nn.Flatten()
    y = flatten(x)
    np.testing.assert_array_equal(y, np.arange(24.0).reshape(2, 12))
    dx = flatten.backward(y)
    np.testing.assert_array_equal(dx, x)
    assert layout.is_channels_last(dx)


def test_linear_initial_weights_are_he_normal_and_reproducible() -> None:
    linear = nn.Linear(50, 200, dtype=np.float64, rng=np.random.default_rng(1))
    drawn = np.random.default_rng(1).standard_normal((200, 50)) * np.sqrt(2 / 50)
    np.testing.assert_array_equal(linear.weight.data, drawn)
    assert linear.bias is not None
    linear.bias.data[...] = 1
    linear.reset_parameters(np.random.default_rng(1))
    np.testing.assert_array_equal(linear.weight.data, drawn)
    assert not linear.bias.data.any()


@pytest.mark.parametrize("shape", [(2, 4), (5,), (2, 5, 1, 1)])
def test_linear_refuses_features_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=re.escape(f"input of Linear must have shape (N, 5). Got {shape}.")):
        nn.Linear(5, 3)(np.zeros(shape))


def test_linear_refuses_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match=r"in_features of Linear must be an integer of at least 1. Got 0"):
        nn.Linear(0, 3)
    with pytest.raises(ConfigError, match=r"out_features of Linear must be an integer of at least 1. Got 2.5"):
        nn.Linear(3, 2.5)  # type: ignore[arg-type]
