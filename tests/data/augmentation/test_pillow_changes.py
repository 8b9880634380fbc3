import numpy as np
import pytest
from PIL import Image

from glassnet.data.augmentation.pillow_changes import ORDERS, jitter_colours, resize_crop, rotate_and_shift


@pytest.fixture(params=[1, 3])
def pixels(request):
    return np.random.default_rng(0).integers(0, 256, (13, 18, request.param), dtype=np.uint8)


@pytest.fixture
def functional(torchvision_models):
    from torchvision.transforms import functional

    return functional


def as_image(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def test_resize_crop_equals_torchvision(functional, pixels):
    theirs = functional.resized_crop(as_image(pixels), 2, 3, 9, 12, [5, 7])
    np.testing.assert_array_equal(resize_crop(pixels[2:11, 3:15], (5, 7)), np.asarray(theirs).reshape(5, 7, -1))


def test_resize_crop_averages_where_it_shrinks():
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., np.newaxis]
    shrunk = resize_crop(checkerboard, (8, 8))
    assert 120 <= shrunk.min() <= shrunk.max() <= 135


@pytest.mark.parametrize("angle", [0.0, 17.3, -90.0])
def test_rotate_and_shift_equals_torchvision(functional, pixels, angle):
    theirs = functional.rotate(as_image(pixels), angle, functional.InterpolationMode.BILINEAR)
    np.testing.assert_array_equal(rotate_and_shift(pixels, angle, 0, 0), np.asarray(theirs).reshape(pixels.shape))


def test_rotate_and_shift_moves_down_and_right_by_whole_pixels(pixels):
    moved = rotate_and_shift(pixels, 0.0, 3, -4)
    np.testing.assert_array_equal(moved[3:, :-4], pixels[:-3, 4:])
    assert not moved[:3].any()
    assert not moved[:, -4:].any()


def test_rotate_and_shift_turns_counterclockwise():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 4] = 255  # to the right of the middle
    assert rotate_and_shift(image, 90.0, 0, 0)[0, 2, 0] == 255
    assert rotate_and_shift(image, 90.0, 1, 0)[1, 2, 0] == 255


@pytest.mark.parametrize("order", range(6))
def test_jitter_colours_equals_torchvision(functional, pixels, order):
    factors = [1.3, 0.7, 1.6]
    image = as_image(pixels)
    functions = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for kind in ORDERS[order]:
        image = functions[kind](image, factors[kind])
    np.testing.assert_array_equal(jitter_colours(pixels, factors, order), np.asarray(image).reshape(pixels.shape))


def test_changes_of_two_channels_are_those_of_each_as_a_gray_image():
    pixels = np.random.default_rng(1).integers(0, 256, (6, 7, 2), dtype=np.uint8)
    for function in (
        lambda image: resize_crop(image, (4, 3)),
        lambda image: rotate_and_shift(image, 33.0, 1, 2),
        lambda image: jitter_colours(image, [1.2, 0.8, 0.1], 4),
    ):
        together, parts = function(pixels), [function(pixels[..., channel : channel + 1]) for channel in (0, 1)]
        np.testing.assert_array_equal(together, np.concatenate(parts, axis=2))
