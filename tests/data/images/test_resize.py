import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glassnet.data.images.resize import resize


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 99),
)
def test_resize_with_crop_is_resizing_then_cropping_around_the_middle(size, target, seed):
    image = Image.fromarray(noise(*size, seed=seed))
    (height, width), (high, wide) = size, target
    factor = max(high / height, wide / width)
    high_all, wide_all = max(high, round(height * factor)), max(wide, round(width * factor))
    whole = np.asarray(image.resize((wide_all, high_all), Image.Resampling.BILINEAR)).astype(int)
    top, left = (high_all - high) // 2, (wide_all - wide) // 2
    expected = whole[top : top + high, left : left + wide]
    np.testing.assert_allclose(np.asarray(resize(image, target, "crop")).astype(int), expected, atol=1)


def wide():
    """White of 40×10 with red ends, 5 pixels each, and a green line at the top."""
    pixels = np.full((10, 40, 3), 255, np.uint8)
    pixels[:, :5] = pixels[:, -5:] = (255, 0, 0)
    pixels[:2] = (0, 255, 0)
    return Image.fromarray(pixels)


def test_resize_with_crop_cuts_off_the_ends():
    result = np.asarray(resize(wide(), (10, 10), "crop"))
    assert (result[5] == 255).all()


def test_resize_with_pad_shows_the_whole_image_in_the_middle_of_black():
    result = np.asarray(resize(wide(), (20, 20), "pad"))
    assert not result[:7].any()
    assert not result[12:].any()
    assert (result[10, [0, -1]] == (255, 0, 0)).all()
    tall = np.asarray(resize(wide().transpose(Image.Transpose.ROTATE_90), (20, 20), "pad"))
    np.testing.assert_array_equal(tall, np.rot90(result))


def test_resize_with_squash_shows_the_whole_image_in_the_whole_size():
    result = np.asarray(resize(wide(), (20, 20), "squash"))
    assert (result[10, [0, -1]] == (255, 0, 0)).all()
    assert (result[0] == (0, 255, 0)).all()
    assert (result[-1, 10] == 255).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (9000, 1), (7, 5)])
@pytest.mark.parametrize("target", [(8, 8), (1, 6), (3, 1)])
def test_resize_returns_the_size(fit, mode, size, target):
    result = resize(Image.new(mode, size[::-1], "white"), target, fit)
    assert (result.mode, result.size) == (mode, target[::-1])
    assert np.asarray(result).max() == 255


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_resize_keeps_every_bit_of_the_right_size(fit):
    pixels = noise(9, 7)
    np.testing.assert_array_equal(np.asarray(resize(Image.fromarray(pixels), (9, 7), fit)), pixels)
