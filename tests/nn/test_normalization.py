import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from glassnet import nn
from glassnet.errors import ConfigError, ShapeError
from glassnet.nn import functional
from glassnet.nn.kernels import layout, parallel
from tests.nn.oracle import Array, compare, examples, images, parity, tensor


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@examples
@given(
    images(integers=False, batch=4, smallest=(2, 2)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.1, None, 0.0, 1.0, 0.75]),
    st.sampled_from([1e-5, 1e-2]),
    st.booleans(),
)
def test_batch_norm_is_torchs(
    x: Array, affine: bool, track: bool, momentum: float | None, eps: float, training: bool
) -> None:
    arguments = {"eps": eps, "momentum": momentum, "affine": affine, "track_running_stats": track}
    ours, theirs = nn.BatchNorm2d(x.shape[1], **arguments), torch.nn.BatchNorm2d(x.shape[1], **arguments)
    if track:
        ours.running_mean[...], ours.running_var[...] = normal(x.shape[1]), normal(x.shape[1]) ** 2 + 0.5
        ours.num_batches_tracked[...] = 7
    parity(ours.train(training), theirs, x, batches=3)


def test_batch_norm_is_torchs_over_blocks_of_different_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1)  # each image is a block
    x = normal(5, 3, 2, 4) + 3 * normal(5, 3, 1, 1, seed=1)
    parity(nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3), x, batches=2)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_is_torchs_in_evaluation_after_training(momentum: float | None) -> None:
    ours = nn.BatchNorm2d(3, momentum=momentum, dtype=np.float64)
    theirs = torch.nn.BatchNorm2d(3, momentum=momentum, dtype=torch.float64)
    for batch in range(4):
        x = 3 + (batch + 1) * normal(2, 3, 4, 5, seed=batch)
        ours(x), theirs(tensor(x))
    compare("output in evaluation mode", ours.eval()(x), theirs.eval()(tensor(x)))
    assert ours.num_batches_tracked == 4  # looking in evaluation mode did not count


def test_batch_norm_running_var_is_unbiased() -> None:
    norm = nn.BatchNorm2d(1, momentum=0.25, dtype=np.float64)
    norm(np.array([1.0, 2.0, 3.0, 6.0]).reshape(4, 1, 1, 1))
    # Mean 3, squares 4 + 1 + 0 + 9 = 14: biased variance 14/4, unbiased 14/3. Old values 0 and 1, momentum 1/4.
    assert norm.running_mean[0] == pytest.approx(0.75 * 0 + 0.25 * 3)
    assert norm.running_var[0] == pytest.approx(0.75 * 1 + 0.25 * 14 / 3)
    assert norm.num_batches_tracked == 1


def test_batch_norm_momentum_none_averages_over_all_batches() -> None:
    norm = nn.BatchNorm2d(2, momentum=None, dtype=np.float64)
    batches = [normal(3, 2, 4, 4, seed=seed) for seed in range(5)]
    for x in batches:
        norm(x)
    means = [x.mean(axis=(0, 2, 3)) for x in batches]
    variances = [x.var(axis=(0, 2, 3), ddof=1) for x in batches]
    np.testing.assert_allclose(norm.running_mean, np.mean(means, axis=0), rtol=0, atol=1e-14)
    np.testing.assert_allclose(norm.running_var, np.mean(variances, axis=0), rtol=1e-14)


def test_batch_norm_is_accurate_with_a_large_mean_and_a_small_variance() -> None:
    x = 1e4 + 1e-3 * normal(4, 3, 8, 8)
    norm = nn.BatchNorm2d(3, eps=1e-12, dtype=np.float64)
    y = norm(x)
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-12)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-7)  # x itself has 1e4 · 2e-16 / 1e-3 = 2e-9 of noise

    x32 = (1e3 + normal(8, 3, 16, 16)).astype(np.float32)
    y32 = nn.BatchNorm2d(3)(x32)
    exact = nn.BatchNorm2d(3, dtype=np.float64)(x32.astype(np.float64))
    np.testing.assert_allclose(y32, exact, rtol=0, atol=2e-3)  # E[x²] − E[x]² would be off by 0.1 here


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shift", [0, 3.5, 4.5, 100, 1e5])
def test_batch_norm_is_torchs_whatever_the_mean(shift: float, affine: bool) -> None:
    """Up to CENTERING_LIMIT standard deviations from 0 the sums are of x itself, beyond of x less its mean."""
    x32 = (normal(6, 3, 16, 16) + shift * np.array([1, -1, 0]).reshape(3, 1, 1)).astype(np.float32)
    dy32 = (0.5 + normal(*x32.shape, seed=1)).astype(np.float32)
    x, dy = x32.astype(np.float64), dy32.astype(np.float64)
    if shift < 1e5:  # there torch loses digits, in float64 as well
        parity(nn.BatchNorm2d(3, affine=affine), torch.nn.BatchNorm2d(3, affine=affine), x, batches=2)

    quick, exact = (nn.BatchNorm2d(3, affine=affine, momentum=1.0, dtype=d) for d in (np.float32, np.float64))
    quantities = [(quick(x32), exact(x)), (quick.backward(dy32), exact.backward(dy))]
    if affine:
        quantities += [(q.grad, e.grad) for q, e in zip(quick.parameters(), exact.parameters(), strict=True)]
    quantities += [(quick.running_mean, exact.running_mean.copy())]
    exact.load_state_dict(quick.state_dict())
    quantities += [(quick.eval()(x32), exact.eval()(x))]
    for ours, expected in quantities:
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(2, 16, 4, 4), (32, 16, 8, 8), (1, 3, 5, 7), (8, 5, 16, 16), (100, 4, 32, 31)])
@pytest.mark.parametrize("ratio", [0, 0.5, 1, 1.5, 2, 2.4, 2.6, 3, 4, 10, 100, 1e4])
def test_batch_norm_float32_is_as_accurate_as_torchs(shape: tuple[int, ...], ratio: float) -> None:
    """Wherever the mean is: ``ratio`` is |mean| / σ. Errors are relative to each array's largest value."""
    C = shape[1]
    signs = np.random.default_rng(1).choice([-1, 1], C).reshape(1, C, 1, 1)
    x = (normal(*shape) + ratio * signs).astype(np.float32)
    dy = (0.3 + normal(*shape, seed=1)).astype(np.float32)  # a sum that is not 0 costs digits, too
    gamma, beta = (normal(C, seed=seed).astype(np.float32) for seed in (2, 3))

    ours, theirs = nn.BatchNorm2d(C, momentum=1.0), torch.nn.BatchNorm2d(C, momentum=1.0)
    for parameter, values in zip(ours.parameters(), (gamma, beta), strict=True):
        parameter.data[...] = values
    theirs.load_state_dict({key: tensor(value) for key, value in ours.state_dict().items()})
    theirs_x = tensor(x).requires_grad_()
    y, theirs_y = ours(layout.channels_last(x)), theirs(theirs_x)
    dx = ours.backward(layout.channels_last(dy))
    theirs_y.backward(tensor(dy))

    exact = [array.astype(np.float64) for array in (x, gamma, beta)]
    exact_y, saved, (_, var) = functional.batch_norm(*exact)
    exact_dx, dgamma, dbeta = functional.batch_norm_backward(dy.astype(np.float64), saved)
    M = x.size // C
    (weight, bias), torch_parameters = ours.parameters(), list(theirs.parameters())
    for name, mine, torchs, truth in (
        ("y", y, theirs_y, exact_y),
        ("dx", dx, theirs_x.grad, exact_dx),
        ("dgamma", weight.grad, torch_parameters[0].grad, dgamma),
        ("dbeta", bias.grad, torch_parameters[1].grad, dbeta),
        ("running_var", ours.running_var, theirs.running_var, var * M / (M - 1)),
    ):
        error, torchs_error = (np.abs(array - truth).max() for array in (mine, torchs.detach().numpy()))
        assert error <= max(2 * torchs_error, 5e-7 * np.abs(truth).max()), name


@pytest.mark.parametrize("size", [1e17, 1e18])
def test_batch_norm_centers_values_whose_squares_overflow(size: float) -> None:
    x = (size * (1 + 0.01 * normal(32, 2, 32, 32))).astype(np.float32)
    quick, exact = (nn.BatchNorm2d(2, momentum=1.0, dtype=d) for d in (np.float32, np.float64))
    np.testing.assert_allclose(quick(x), exact(x.astype(np.float64)), rtol=0, atol=5e-5)
    assert np.isfinite(quick.running_var).all()


def test_batch_norm_eval_takes_large_running_stats_without_a_warning() -> None:
    norm = nn.BatchNorm2d(1).eval()
    norm.running_mean[...], norm.running_var[...] = 1e30, 1e38
    np.testing.assert_allclose(norm(np.full((1, 1, 2, 2), 1e30, np.float32)), 0, atol=1e-6)


@pytest.mark.parametrize("count", [64, 4096])
@pytest.mark.parametrize("one", [100.0, 1e6, -1e6])
def test_batch_norm_is_accurate_with_one_outlier_image(one: float, count: int) -> None:
    x = np.random.default_rng(0).standard_normal((count, 4, 4, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    x[0] += np.float32(one)
    layer, exact = nn.BatchNorm2d(3, momentum=1.0), nn.BatchNorm2d(3, momentum=1.0, dtype=np.float64)
    y, expected = layer(x), exact(x.astype(np.float64))
    np.testing.assert_allclose(layer.running_var, exact.running_var, rtol=3e-4)
    np.testing.assert_allclose(layer.running_mean, exact.running_mean, rtol=3e-4, atol=1e-6)
    np.testing.assert_allclose(y, expected, rtol=3e-4, atol=3e-4 * np.abs(expected).max() / np.sqrt(count))


def test_batch_norm_refuses_a_batch_without_values() -> None:
    layer = nn.BatchNorm2d(3, track_running_stats=False).eval()
    with pytest.raises(ShapeError, match="input of BatchNorm2d must have at least 1 value per channel"):
        layer(np.zeros((0, 3, 4, 4), np.float32))


def test_batch_norm_of_a_constant_channel_is_its_bias() -> None:
    norm = nn.BatchNorm2d(1, dtype=np.float64)
    assert norm.bias is not None
    norm.bias.data[...] = 4
    np.testing.assert_array_equal(norm(np.full((3, 1, 2, 2), 0.5)), np.full((3, 1, 2, 2), 4.0))
    assert np.isfinite(norm.backward(normal(3, 1, 2, 2))).all()


def test_batch_norm_backward_of_ones_is_zero() -> None:
    """Shifting all of x changes nothing: such a test passes for a backward that returns zeros, so no other does it."""
    norm = nn.BatchNorm2d(2, dtype=np.float64)
    x = normal(4, 2, 3, 3)
    norm(x)
    np.testing.assert_allclose(norm.backward(np.ones(x.shape)), 0, atol=1e-14)
    norm(x)
    assert np.abs(norm.backward(normal(*x.shape, seed=1))).max() > 0.1


def test_batch_norm_reset_parameters_resets_buffers() -> None:
    norm, fresh = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    norm(normal(4, 2, 3, 3).astype(np.float32))
    for parameter in norm.parameters():
        parameter.data[...] = 5
    norm.reset_parameters(np.random.default_rng())
    for key, value in norm.state_dict().items():
        np.testing.assert_array_equal(value, fresh.state_dict()[key])
    nn.BatchNorm2d(2, affine=False, track_running_stats=False).reset_parameters(np.random.default_rng())


@given(x=images(integers=False, batch=1, smallest=(1, 1)))
@examples
def test_batch_norm_training_needs_two_values_per_channel(x: Array) -> None:
    assume(x[0, 0].size > 1)
    nn.BatchNorm2d(x.shape[1])(x)
    message = f"input of BatchNorm2d must have at least 2 values per channel. Got (1, {x.shape[1]}, 1, 1). Use a larger"
    with pytest.raises(ShapeError, match=re.escape(message)):
        nn.BatchNorm2d(x.shape[1])(x[:, :, :1, :1])
    nn.BatchNorm2d(x.shape[1]).eval()(x[:, :, :1, :1])


def test_batch_norm_refuses_wrong_arguments_and_shapes() -> None:
    with pytest.raises(ConfigError, match=re.escape("eps of BatchNorm2d must be above 0. Got 0.")):
        nn.BatchNorm2d(3, eps=0)
    with pytest.raises(ConfigError, match=re.escape("momentum of BatchNorm2d must be a number between 0 and 1.")):
        nn.BatchNorm2d(3, momentum=1.5)
    with pytest.raises(ConfigError, match=r"num_features of BatchNorm2d must be an integer of at least 1. Got 0"):
        nn.BatchNorm2d(0)
    with pytest.raises(
        ShapeError, match=re.escape("input of BatchNorm2d must have shape (N, 3, H, W). Got (2, 4, 1, 1)")
    ):
        nn.BatchNorm2d(3)(np.zeros((2, 4, 1, 1)))
