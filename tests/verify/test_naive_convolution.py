"""The definition of convolution, against sums done by hand; the layers are held against it."""

import numpy as np
import pytest
import torch

from glassnet.verify import naive_convolution

X = np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
W = np.array([[[[10.0, 1.0], [0.0, -1.0]]]])


def test_by_hand() -> None:
    # 10·1 + 1·2 − 5, 10·2 + 1·3 − 6; 10·4 + 1·5 − 8, 10·5 + 1·6 − 9: the kernel is laid on as it is
    assert naive_convolution.convolution(X, W).tolist() == [[[[7, 17], [37, 47]]]]
    assert naive_convolution.convolution(X, W, np.array([0.5])).tolist() == [[[[7.5, 17.5], [37.5, 47.5]]]]


def test_stride_padding_and_dilation_by_hand() -> None:
    assert naive_convolution.convolution(X, W, stride=2).tolist() == [[[[7]]]]
    assert naive_convolution.convolution(X, W, dilation=2).tolist() == [[[[10 * 1 + 3 - 9]]]]
    # padded by one and strided by two: corners (0,0), (0,2), (2,0), (2,2) of the padded image
    assert naive_convolution.convolution(X, W, stride=2, padding=1).tolist() == [[[[-1, -3], [4 - 7, 50 + 6 - 9]]]]


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 2, "dilation": 2}, {"stride": 3, "padding": 1}])
def test_it_is_torchs(options: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 2, 3)), rng.standard_normal(4)
    theirs = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, w, b)), **options)
    np.testing.assert_allclose(naive_convolution.convolution(x, w, b, **options), theirs.numpy(), rtol=0, atol=1e-13)
