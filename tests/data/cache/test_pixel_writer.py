import numpy as np
import pytest

from glassnet.data.cache.pixel_writer import sum_pixels


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 3), (2, 600, 4, 3), (40, 64, 64, 1)])
def test_sum_pixels_is_exact(shape):
    rng = np.random.default_rng(0)
    for images in (rng.integers(0, 256, shape, np.uint8), np.full(shape, 255, np.uint8)):
        values = images.astype(np.int64)
        expected = np.stack([values.sum(axis=(1, 2)), (values**2).sum(axis=(1, 2))], axis=1)
        np.testing.assert_array_equal(sum_pixels(images), expected)
        assert sum_pixels(images).dtype == np.uint64
