import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data import Augmentation, make_rng, sample_augmentation
from glassnet.errors import ConfigError, DataError


def by_loops(augmentation, images):
    """The definition: pad with black, crop at the offset, mirror where flipped."""
    _, height, width, _ = images.shape
    result = np.zeros_like(images)
    for n, image in enumerate(images):
        top, left = augmentation.offsets[n] - augmentation.padding
        for row in range(height):
            for column in range(width):
                if 0 <= row + top < height and 0 <= column + left < width:
                    target = width - 1 - column if augmentation.flips[n] else column
                    result[n, row, target] = image[row + top, column + left]
    return result


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    seed=st.integers(0, 1000),
)
def test_apply_is_padding_cropping_and_flipping(shape, seed):
    generator = np.random.default_rng(seed)
    images = generator.integers(1, 256, shape, dtype=np.uint8)
    before = images.copy()
    augmentation = sample_augmentation("flip-crop", len(images), generator)
    augmented = augmentation.apply(images)
    np.testing.assert_array_equal(augmented, by_loops(augmentation, images))
    np.testing.assert_array_equal(images, before)
    assert augmented.dtype == np.uint8
    assert augmented.flags.c_contiguous


def test_apply_crops_and_flips_by_hand():
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    shift = Augmentation(np.array([False]), np.array([[5, 4]]))  # one row further down than the image itself
    mirror = Augmentation(np.array([True]), np.array([[4, 4]]))
    assert shift.apply(image)[0, ..., 0].tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert mirror.apply(image)[0, ..., 0].tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]


def test_sample_augmentation_covers_all_offsets_and_both_sides_evenly():
    augmentation = sample_augmentation("flip-crop", 9000, make_rng(1, "augment", 1))
    assert augmentation.flips.dtype == bool
    assert augmentation.offsets.dtype == np.int64
    assert augmentation.flips.mean() == pytest.approx(0.5, abs=0.03)
    for axis in (0, 1):
        counts = np.bincount(augmentation.offsets[:, axis], minlength=9)
        assert len(counts) == 9
        assert counts.min() > 800


def test_sample_augmentation_follows_from_the_generator():
    first, second = (sample_augmentation("flip-crop", 20, make_rng(7, "augment", 2)) for _ in range(2))
    np.testing.assert_array_equal(first.flips, second.flips)
    np.testing.assert_array_equal(first.offsets, second.offsets)


def test_sample_augmentation_draws_nothing_for_none():
    generator = np.random.default_rng(0)
    assert sample_augmentation("none", 20, generator) is None
    assert generator.random() == np.random.default_rng(0).random()


def test_sample_augmentation_raises_for_an_unknown_name():
    with pytest.raises(ConfigError, match="augment must be one of none, flip-crop. Got 'mixup'."):
        sample_augmentation("mixup", 1, np.random.default_rng(0))


def test_apply_raises_for_another_number_of_images():
    augmentation = sample_augmentation("flip-crop", 3, np.random.default_rng(0))
    with pytest.raises(DataError, match="An augmentation of 3 images must get that many. Got 2."):
        augmentation.apply(np.zeros((2, 4, 4, 1), np.uint8))
