import numpy as np
import torch
from hypothesis import given

from glassnet import nn
from tests.nn.oracle import Array, examples, parity, pictures


@examples
@given(pictures())
def test_relu_is_torchs(x: Array) -> None:
    parity(nn.ReLU(), torch.nn.ReLU(), x)


def test_relu_at_zero_has_gradient_zero() -> None:
    relu = nn.ReLU()
    np.testing.assert_array_equal(relu(np.array([[-1.0, 0.0, 2.0]])), [[0, 0, 2]])
    np.testing.assert_array_equal(relu.backward(np.array([[3.0, 3.0, 3.0]])), [[0, 0, 3]])
