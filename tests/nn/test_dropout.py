import re
from copy import deepcopy

import numpy as np
import pytest

from glassnet import nn
from glassnet.errors import ConfigError
from glassnet.nn.kernels import layout


def ones(shape: tuple[int, ...] = (2, 3, 4, 5)) -> np.ndarray:
    return layout.channels_last(np.ones(shape))


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_mask_is_drawn_in_the_order_of_the_shape_and_scaled(p: float) -> None:
    dropout = nn.Dropout(p, generator=np.random.default_rng(3))
    kept = np.random.default_rng(3).random((2, 3, 4, 5)) >= p
    x = layout.channels_last(np.random.default_rng(0).standard_normal(kept.shape))
    y = dropout(x)
    np.testing.assert_allclose(y, np.where(kept, x / (1 - p), 0), rtol=1e-15)
    dy = np.random.default_rng(1).standard_normal(kept.shape)
    np.testing.assert_allclose(dropout.backward(dy), np.where(kept, dy / (1 - p), 0), rtol=1e-15)


def test_dropout_mask_is_the_same_for_any_dtype_and_memory_order() -> None:
    dropout = nn.Dropout(0.5, generator=np.random.default_rng(0))
    outputs = []
    for x in (ones(), np.ones((2, 3, 4, 5)), ones().astype(np.float32)):
        outputs.append(deepcopy(dropout)(x))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_dropout_draws_a_new_mask_in_each_pass() -> None:
    dropout = nn.Dropout(0.5, generator=np.random.default_rng(0))
    assert (dropout(ones()) != dropout(ones())).any()


def test_dropout_drops_about_p_and_keeps_the_mean() -> None:
    y = nn.Dropout(0.3, generator=np.random.default_rng(0))(ones((100, 10, 10, 10)))
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert y.mean() == pytest.approx(1, abs=0.01)


def test_dropout_with_p_zero_and_one() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    for p, scale in ((0, 1), (1, 0)):
        dropout = nn.Dropout(p)
        np.testing.assert_array_equal(dropout(x), scale * x)
        np.testing.assert_array_equal(dropout.backward(x), scale * x)


def test_dropout_in_evaluation_mode_draws_nothing() -> None:
    dropout = nn.Dropout(0.5, generator=np.random.default_rng(0)).eval()
    before = dropout.generator.bit_generator.state
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(dropout(x), x)
    assert dropout.generator.bit_generator.state == before


@pytest.mark.parametrize("p", [-0.1, 1.5, "half"])
def test_dropout_refuses_a_p_that_is_no_probability(p: float) -> None:
    message = f"p of Dropout must be a number between 0 and 1. Got {p!r}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        nn.Dropout(p)
