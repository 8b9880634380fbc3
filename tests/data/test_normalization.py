import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data import Normalization, normalization
from glassnet.errors import DataError


def make_images(shape=(7, 5, 6, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3])),
    seed=st.integers(0, 99),
)
def test_from_images_computes_mean_and_std_per_channel(shape, seed):
    images = make_images(shape, seed)
    images.reshape(-1, shape[3])[0] = 0
    images.reshape(-1, shape[3])[-1] = 255
    measured = Normalization.from_images(images, 16.0)
    scaled = images.astype(np.float64) / 16
    np.testing.assert_allclose(measured.mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-13)
    if images.size > shape[3]:
        np.testing.assert_allclose(measured.std, scaled.std(axis=(0, 1, 2)), rtol=1e-13)
    assert measured.scale == 16.0


def test_from_images_does_not_depend_on_its_blocks(monkeypatch):
    images = make_images((50, 5, 6, 3))
    whole = Normalization.from_images(images, 255.0)
    monkeypatch.setattr(normalization, "_BLOCK_PIXELS", 200)
    assert Normalization.from_images(images, 255.0) == whole


def test_from_images_gives_a_constant_channel_std_1():
    images = make_images()
    images[..., 1] = 77
    measured = Normalization.from_images(images, 255.0)
    assert measured.std[1] == 1.0
    assert measured.mean[1] == pytest.approx(77 / 255, rel=1e-15)
    assert measured.std[0] != 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_apply_divides_subtracts_divides_in_that_order_and_dtype(dtype, channels):
    images = make_images((7, 5, 6, channels))
    measured = Normalization.from_images(images, 255.0)
    expected = images.astype(dtype) / dtype(255)
    expected = (expected - np.array(measured.mean, dtype)) / np.array(measured.std, dtype)
    applied = measured.apply(images, dtype)
    assert applied.dtype == dtype
    np.testing.assert_array_equal(applied, expected.transpose(0, 3, 1, 2))  # to the bit


def test_apply_returns_a_fresh_channels_last_array():
    images = make_images()
    before = images.copy()
    measured = Normalization.from_images(images, 255.0)
    first = measured.apply(images, "float64")
    assert first.shape == (7, 3, 5, 6)
    assert first.transpose(0, 2, 3, 1).flags.c_contiguous
    kept = first.copy()
    measured.apply(images[::-1], "float64")
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(images, before)


def test_apply_gives_the_images_mean_0_and_std_1():
    images = make_images((40, 5, 6, 3))
    applied = Normalization.from_images(images, 255.0).apply(images, np.float64)
    np.testing.assert_allclose(applied.mean(axis=(0, 2, 3)), 0, atol=1e-14)
    np.testing.assert_allclose(applied.std(axis=(0, 2, 3)), 1, rtol=1e-12)


def test_apply_takes_strided_images():
    images = make_images()
    measured = Normalization.from_images(images, 255.0)
    np.testing.assert_array_equal(measured.apply(images[::2, ::-1]), measured.apply(images[::2, ::-1].copy()))


def test_apply_raises_for_other_channels_dtypes_and_shapes():
    measured = Normalization(255.0, (0.5,), (0.5,))
    with pytest.raises(DataError, match=r"images must have 1 channel, as the normalization has\. Got 3\."):
        measured.apply(make_images())
    with pytest.raises(DataError, match=r"images must be uint8 \(N, H, W, C\)\. Got float64 of shape \(2, 2, 2, 1\)\."):
        measured.apply(np.zeros((2, 2, 2, 1)))
    with pytest.raises(DataError, match=r"of shape \(2, 2\)\."):
        measured.apply(np.zeros((2, 2), np.uint8))
