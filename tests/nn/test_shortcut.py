import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassnet import nn
from glassnet.errors import ConfigError, ShapeError
from tests.nn.oracle import Array, TorchZeroPad, examples, images, parity


@examples
@given(images())
def test_identity_is_torchs(x: Array) -> None:
    parity(nn.Identity(), torch.nn.Identity(), x)


@examples
@given(images(), st.integers(0, 5), st.integers(1, 3))
def test_zero_pad_shortcut_is_what_autograd_makes_of_it(x: Array, more: int, stride: int) -> None:
    before = x.shape[1]
    parity(nn.ZeroPadShortcut(before, before + more, stride), TorchZeroPad(before, before + more, stride), x)


def test_zero_pad_shortcut_puts_half_of_the_new_channels_before() -> None:
    y = nn.ZeroPadShortcut(1, 4, 2)(np.arange(1.0, 10).reshape(1, 1, 3, 3))
    np.testing.assert_array_equal(y[0, [0, 2, 3]], 0)
    np.testing.assert_array_equal(y[0, 1], [[1, 3], [7, 9]])


def test_zero_pad_shortcut_refuses_fewer_channels() -> None:
    with pytest.raises(ConfigError, match=r"out_channels of ZeroPadShortcut must be an integer of at least 4. Got 3"):
        nn.ZeroPadShortcut(4, 3)
    with pytest.raises(ConfigError, match=r"stride of ZeroPadShortcut must be an integer of at least 1. Got 0"):
        nn.ZeroPadShortcut(4, 4, 0)
    with pytest.raises(ShapeError, match=re.escape("input of ZeroPadShortcut must have shape (N, 2, H, W).")):
        nn.ZeroPadShortcut(2, 4)(np.zeros((1, 3, 4, 4)))
