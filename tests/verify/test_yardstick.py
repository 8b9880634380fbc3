from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import assemble, initial_state, spec
from glassnet.verify.yardstick import Yardstick, col2im, im2col, max_pool_backward, max_pool_forward

Array = NDArray[Any]

SPEC = spec("tiny")


def batch(seed: int, dtype: type = np.float64) -> tuple[Array, Array]:
    """Like digits: sixteenths, with empty corners."""
    rng = np.random.default_rng(seed)
    images = (rng.integers(0, 17, (16, 1, 8, 8)) * (rng.random((16, 1, 8, 8)) < 0.5) / 16).astype(dtype)
    images[:, :, :2, :2] = 0
    return images, rng.integers(10, size=16)


def test_it_has_the_weights_of_tiny() -> None:
    state = initial_state(SPEC, 0)
    assert set(Yardstick(state).parameters) == set(state)
    assert set(Yardstick(state).gradients(*batch(0))[1]) == set(state)


def test_the_loss_and_the_gradients_are_glassnets() -> None:
    state = initial_state(SPEC, 0)
    network = assemble(SPEC, nn).to(np.float64)
    network.load_state_dict(state)
    loss = nn.CrossEntropyLoss()
    images, labels = batch(1)
    expected = loss(network(images), labels)
    network.backward(loss.backward())
    ours, gradients = Yardstick(state).gradients(images, labels)
    assert ours == pytest.approx(expected, rel=1e-12)
    for key, parameter in network.named_parameters():
        scale = np.abs(parameter.grad).max()
        assert scale > 1e-3
        np.testing.assert_allclose(gradients[key], parameter.grad, rtol=0, atol=1e-12 * scale, err_msg=key)


def test_ten_steps_are_glassnets() -> None:
    state = initial_state(SPEC, 0)
    network = assemble(SPEC, nn).to(np.float64)
    network.load_state_dict(state)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": 1e-2}, {"params": biases}]
    optimizer, loss = nn.SGD(groups, lr=0.05, momentum=0.9), nn.CrossEntropyLoss()
    yardstick = Yardstick(state, lr=0.05, momentum=0.9, weight_decay=1e-2)
    for seed in range(10):
        images, labels = batch(seed)
        expected = loss(network(images), labels)
        network.backward(loss.backward())
        optimizer.step()
        assert yardstick.step(images, labels) == pytest.approx(expected, rel=1e-10)
    for key, parameter in network.named_parameters():
        np.testing.assert_allclose(yardstick.parameters[key], parameter.data, rtol=0, atol=1e-10, err_msg=key)
    for key, value in state.items():
        np.testing.assert_array_equal(value, initial_state(SPEC, 0)[key])  # it trained a copy


def test_float32_stays_float32() -> None:
    yardstick = Yardstick({key: value.astype(np.float32) for key, value in initial_state(SPEC, 0).items()})
    images, labels = batch(0, np.float32)
    _, gradients = yardstick.gradients(images, labels)
    yardstick.step(images, labels)
    everything = [gradients, yardstick.parameters, yardstick.velocity]
    assert {array.dtype for arrays in everything for array in arrays.values()} == {np.dtype(np.float32)}


def test_col2im_is_the_transpose_of_im2col() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5))
    columns = im2col(x)
    assert columns.shape == (40, 27)
    np.testing.assert_array_equal(columns[7, 9:18].reshape(3, 3), x[0, 1, 0:3, 1:4])  # around pixel (1, 2)
    dcolumns = rng.standard_normal(columns.shape)
    assert np.vdot(columns, dcolumns) == pytest.approx(np.vdot(x, col2im(dcolumns, x.shape)))


def test_max_pool_shares_among_equals() -> None:
    x = np.array([[[[1.0, 5.0, 0.0, 0.0], [5.0, 2.0, 3.0, 0.0]]]])
    y = max_pool_forward(x)
    np.testing.assert_array_equal(y, [[[[5, 3]]]])
    dx = max_pool_backward(np.array([[[[4.0, 6.0]]]]), x, y)
    np.testing.assert_array_equal(dx, [[[[0, 2, 0, 0], [2, 0, 6, 0]]]])
