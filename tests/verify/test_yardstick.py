from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glassnet import nn
from glassnet.architecture import ResNetSpec, assemble, initial_state_dict, spec
from glassnet.verify import yardstick
from glassnet.verify.golden import Case
from glassnet.verify.yardstick import Yardstick, col2im, im2col

Array = NDArray[Any]

TINY = spec("tiny")
SPECS = {
    "tiny": TINY,
    "block": ResNetSpec(blocks=(1,), width=4, image_size=8),
    "three stages": ResNetSpec(blocks=(1, 2, 1), width=4, image_size=8),
}
each_spec = pytest.mark.parametrize("chosen", SPECS.values(), ids=list(SPECS))


def digits(seed: int, dtype: type = np.float64) -> tuple[Array, Array]:
    """Like digits: sixteenths, with empty corners."""
    rng = np.random.default_rng(seed)
    images = (rng.integers(0, 17, (16, 1, 8, 8)) * (rng.random((16, 1, 8, 8)) < 0.5) / 16).astype(dtype)
    images[:, :, :2, :2] = 0
    return images, rng.integers(10, size=16)


def glassnets(chosen: ResNetSpec, state: dict[str, Array]) -> nn.Module:
    network: nn.Module = assemble(chosen, nn).to(np.float64)
    network.load_state_dict(state)
    return network


@each_spec
def test_the_loss_and_the_gradients_are_glassnets(chosen: ResNetSpec) -> None:
    case = Case(chosen, batch_size=8)
    state, (images, labels) = case.state(), case.batch()
    network, loss = glassnets(chosen, state), nn.CrossEntropyLoss()
    expected = loss(network(images), labels)
    network.backward(loss.backward())
    plain = Yardstick(chosen, state)
    ours, dlogits = plain.forward(images, labels)
    gradients = plain.backward(dlogits)
    assert ours == pytest.approx(expected, rel=1e-12)
    assert list(gradients) == [key for key, _ in network.named_parameters()]
    for key, parameter in network.named_parameters():
        scale = np.abs(parameter.grad).max()
        assert scale > 1e-6
        np.testing.assert_allclose(gradients[key], parameter.grad, rtol=0, atol=1e-12 * scale, err_msg=key)


@each_spec
def test_logits_and_buffers_are_glassnets(chosen: ResNetSpec) -> None:
    case = Case(chosen, batch_size=8)
    state, (images, _) = case.state(), case.batch()
    network, plain = glassnets(chosen, state), Yardstick(chosen, state).network
    np.testing.assert_allclose(plain(images), network(images), rtol=1e-11)
    for key, value in network.state_dict().items():  # a training pass moved the running statistics
        np.testing.assert_allclose(plain.state_dict()[key], value, rtol=1e-12, err_msg=key)
    np.testing.assert_allclose(plain.eval()(images), network.eval()(images), rtol=1e-11)


def test_ten_steps_are_glassnets() -> None:
    state = initial_state_dict(TINY, 0)
    network = glassnets(TINY, state)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": 1e-2}, {"params": biases}]
    optimizer, loss = nn.SGD(groups, lr=0.05, momentum=0.9), nn.CrossEntropyLoss()
    plain = Yardstick(TINY, state, lr=0.05, momentum=0.9, weight_decay=1e-2)
    for seed in range(10):
        images, labels = digits(seed)
        expected = loss(network(images), labels)
        network.backward(loss.backward())
        optimizer.step()
        assert plain.step(images, labels) == pytest.approx(expected, rel=1e-10)
    for key, parameter in network.named_parameters():
        np.testing.assert_allclose(plain.parameters[key].data, parameter.data, rtol=0, atol=1e-10, err_msg=key)
    for key, value in state.items():
        np.testing.assert_array_equal(value, initial_state_dict(TINY, 0)[key])  # it trained a copy


@each_spec
def test_float32_stays_float32(chosen: ResNetSpec) -> None:
    case = Case(chosen, "float32", batch_size=8)
    images, labels = case.batch()
    plain = Yardstick(chosen, {key: value.astype(np.float32) for key, value in case.state().items()})
    plain.step(images, labels)
    arrays = [array for p in plain.parameters.values() for array in (p.data, p.grad)]
    arrays += [array for key, array in plain.network.state_dict().items() if "running" in key]
    assert {array.dtype for array in [*arrays, *plain.velocity.values()]} == {np.dtype(np.float32)}
    assert plain.network(images).dtype == np.float32


def test_a_network_with_other_layers_is_refused() -> None:
    with pytest.raises(AttributeError, match="Dropout"):
        Yardstick(TINY.replace(dropout=0.5), {"fc.weight": np.zeros(1)})


@settings(deadline=None, max_examples=25)
@given(
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    size=st.tuples(st.integers(4, 7), st.integers(4, 7)),
)
def test_a_convolution_is_glassnets(kernel_size: int, stride: int, padding: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    plain = yardstick.Conv2d(2, 3, kernel_size, stride, padding).to(np.float64)
    ours = nn.Conv2d(2, 3, kernel_size, stride, padding, dtype=np.float64)
    plain.load_state_dict(ours.state_dict())
    x = rng.standard_normal((2, 2, *size))
    y = ours(x)
    np.testing.assert_allclose(plain(x), y, rtol=0, atol=1e-12)
    dy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(plain.backward(dy), ours.backward(dy), rtol=0, atol=1e-12)
    np.testing.assert_allclose(plain.weight.grad, ours.weight.grad, rtol=0, atol=1e-11)


def test_col2im_is_the_transpose_of_im2col() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5))
    columns = im2col(x, 3, 1, 1)
    assert columns.shape == (40, 27)
    np.testing.assert_array_equal(columns[7, 9:18].reshape(3, 3), x[0, 1, 0:3, 1:4])  # around pixel (1, 2)
    dcolumns = rng.standard_normal(columns.shape)
    assert np.vdot(columns, dcolumns) == pytest.approx(np.vdot(x, col2im(dcolumns, x.shape, 3, 1, 1)))


def test_max_pool_shares_among_equals() -> None:
    pool = yardstick.MaxPool2d(2, stride=2, padding=0)
    y = pool(np.array([[[[1.0, 5.0, 0.0, 0.0], [5.0, 2.0, 3.0, 0.0]]]]))
    np.testing.assert_array_equal(y, [[[[5, 3]]]])
    dx = pool.backward(np.array([[[[4.0, 6.0]]]]))
    np.testing.assert_array_equal(dx, [[[[0, 2, 0, 0], [2, 0, 6, 0]]]])
