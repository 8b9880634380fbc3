import numpy as np
import pytest
import torch
from hypothesis import given

from glassnet import nn
from tests.nn.oracle import FLOATS, Array, examples, images, parity, tensor


@examples
@given(images())
def test_relu_is_torchs(x: Array) -> None:
    parity(nn.ReLU(), torch.nn.ReLU(), x)


@pytest.mark.parametrize("dtype", FLOATS)
def test_relu_is_torchs_at_zero_nan_and_infinity(dtype: type) -> None:
    """At 0 the gradient is 0, and NaN passes both ways: a diverged network must not look well."""
    x = np.array([[-1.0, -0.0, 0.0, 2.0, np.nan, np.inf, -np.inf]], dtype)
    relu, theirs = nn.ReLU(), tensor(x).requires_grad_()
    expected = torch.relu(theirs)
    np.testing.assert_array_equal(relu(x), expected.detach().numpy())
    np.testing.assert_array_equal(relu(x), [[0, 0, 0, 2, np.nan, np.inf, 0]])
    dy = np.full(x.shape, 3, dtype)
    expected.backward(tensor(dy))
    assert theirs.grad is not None
    dx = relu.backward(dy)
    np.testing.assert_array_equal(dx, theirs.grad.numpy())
    np.testing.assert_array_equal(dx, [[0, 0, 0, 3, 3, 3, 0]])
