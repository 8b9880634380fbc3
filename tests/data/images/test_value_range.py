import io

import numpy as np
import pytest
from PIL import Image

from glassnet.data.files.image_file import ImageFile
from glassnet.data.images.decode import decode_image, decode_images
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.image_opening import UnreadableError
from glassnet.data.images.scan import scan_images
from glassnet.data.images.value_range import choose_value_range, to_eight_bits


def file_of(pixels, image_format="TIFF"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format)
    return ImageFile("a.tif", stream.getvalue)


def measure(*images):
    return measure_files(*(file_of(np.asarray(image)) for image in images))


def measure_files(*files):
    return choose_value_range(scan_images(files).quantiles())


def spread(low, high, dtype, count=10_000):
    return np.linspace(low, high, count).reshape(100, -1).astype(dtype)


def test_choose_value_range_of_12_bits_in_16_keeps_the_levels():
    pixels = spread(291, 694, np.uint16)
    low, high = measure(pixels, pixels)
    assert 291 <= low < 293
    assert 692 < high <= 694
    form = ImageForm((100, 100), 1, value_range=(low, high))
    ((decoded,), failures) = decode_images([file_of(pixels)], form)
    assert failures == {}
    assert len(np.unique(decoded)) == 256
    assert len(np.unique(decode_images([file_of(pixels)], ImageForm((100, 100), 1))[0])) == 3  # without a range


def test_choose_value_range_is_robust():
    pixels = spread(1000, 3000, np.uint16)
    hot = pixels.copy()
    hot[0, :3] = 65535
    dark = np.zeros_like(pixels)
    plain = measure(*[pixels] * 200)
    np.testing.assert_allclose(measure(*[hot] * 200), plain, rtol=0.01)
    np.testing.assert_allclose(measure(dark, *[pixels] * 200), plain, rtol=0.01)  # below 1% of the images


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (spread(0, 40_000, np.uint16), (0, 65535)),  # at least half of the natural range
        (spread(100, 65_535, np.int32), (0, 65535)),
        (spread(0.2, 0.9, np.float32), (0, 1)),
        (spread(0, 200, np.float32), (0, 255)),
        (spread(5, 20, np.float32), (5, 20)),
        (spread(-1, 1, np.float32), (-1, 1)),
        (spread(0, 1e6, np.int32), (0, 1e6)),
        (spread(-1000, 3000, np.int32), (-1000, 3000)),  # Hounsfield units
        (spread(0.4, 0.5, np.float32), (0.4, 0.5)),
    ],
)
def test_choose_value_range_prefers_the_natural_range(pixels, expected):
    np.testing.assert_allclose(measure(pixels), expected, rtol=0.003, atol=0.002 * np.ptp(expected))


def test_choose_value_range_takes_the_extremes_where_quantiles_are_equal():
    pixels = np.full((100, 100), 500, np.uint16)
    pixels[0, 0], pixels[0, 1] = 400, 700
    assert measure(pixels) == (400, 700)


@pytest.mark.parametrize(("value", "expected"), [(500, (0, 65535)), (70_000, (70_000, 70_001))])
def test_choose_value_range_of_a_single_value_can_be_decoded(value, expected):
    pixels = np.full((4, 4), value, np.int32)
    assert measure(pixels) == expected
    images, failures = decode_images([file_of(pixels)], ImageForm((4, 4), 1, value_range=expected))
    assert (len(images), failures) == (1, {})


def test_choose_value_range_leaves_out_other_and_unreadable_files():
    eight = file_of(np.zeros((4, 4), np.uint8))
    broken, nan = ImageFile("b.tif", lambda: b""), file_of(np.full((4, 4), np.nan, np.float32))
    assert measure_files() is None
    assert measure_files(eight, broken, nan) is None
    assert measure_files(eight, file_of(spread(5, 20, np.float32)), nan) == pytest.approx((5, 20), abs=0.1)


def test_choose_value_range_samples_huge_images():
    pixels = np.zeros((1500, 1500), np.uint16)
    pixels[:, 700:] = 2000
    assert measure(pixels) == (0, 2000)


def test_to_eight_bits_clips_and_rounds():
    values = np.array([[90, 100, 150, 200, 70_000]])
    expected = [[0, 0, 128, 255, 255]]
    for dtype in (np.int32, np.float32):
        assert to_eight_bits(values.astype(dtype), (100, 200)).tolist() == expected
    for dtype in ("<u2", ">u2"):
        assert to_eight_bits(values.clip(0, 65535).astype(dtype), (100, 200)).tolist() == expected


def test_to_eight_bits_of_all_16_bit_values_is_exact():
    values = np.arange(65536, dtype=np.uint16)
    exact = np.rint(np.clip((values.astype(np.float64) - 291) / (694 - 291), 0, 1) * 255)
    difference = to_eight_bits(values, (291, 694)).astype(int) - exact
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-4  # ties in float32


@pytest.mark.parametrize("value_range", [None, (0, 10)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_to_eight_bits_raises_for_values_that_are_not_finite(value_range, value):
    with pytest.raises(UnreadableError, match="NaN or infinite"):
        to_eight_bits(np.array([[0.5, value]], np.float32), value_range)


def test_decode_image_brings_a_value_range_to_eight_bits(tmp_path):
    Image.fromarray(np.array([[291, 694]], np.uint16)).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png", (1, 2), 1, value_range=(291, 694)).ravel().tolist() == [0, 255]
    Image.fromarray(np.array([[0, 200]], np.uint8)).save(tmp_path / "a.png")  # 8 bits stay
    assert decode_image(tmp_path / "a.png", (1, 2), 1, value_range=(291, 694)).ravel().tolist() == [0, 200]
