import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.data import Augmentation, Changes
from glassnet.data.augmentation.changes import PADDING
from glassnet.errors import DataError


def by_loops(changes, images):
    """The definition: pad with black, crop at the offset, mirror where flipped."""
    _, height, width, _ = images.shape
    result = np.zeros_like(images)
    for n, image in enumerate(images):
        top, left = changes.offsets[n] - PADDING
        for row in range(height):
            for column in range(width):
                if 0 <= row + top < height and 0 <= column + left < width:
                    target = width - 1 - column if changes.flips[n] else column
                    result[n, row, target] = image[row + top, column + left]
    return result


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    seed=st.integers(0, 1000),
)
def test_apply_pads_crops_and_flips(shape, seed):
    images = np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)
    before = images.copy()
    changes = Augmentation("flip-crop", seed=seed).draw(np.arange(len(images)), 1, shape[1:3])
    changed = changes.apply(images)
    np.testing.assert_array_equal(changed, by_loops(changes, images))
    np.testing.assert_array_equal(images, before)
    assert changed.dtype == np.uint8
    assert changed.flags.c_contiguous


def test_apply_crops_and_flips_by_hand():
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    # one row further down than the image itself
    shift = Changes(1, (3, 3), (3, 3), flips=np.array([False]), offsets=np.array([[5, 4]]))
    mirror = Changes(1, (3, 3), (3, 3), flips=np.array([True]))
    assert shift.apply(image)[0, ..., 0].tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert mirror.apply(image)[0, ..., 0].tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]


def test_apply_returns_a_new_array_without_any_change():
    images = np.ones((2, 3, 3, 1), np.uint8)
    changed = Augmentation().draw(np.arange(2), 1, (3, 3)).apply(images)
    np.testing.assert_array_equal(changed, images)
    assert not np.shares_memory(changed, images)


def test_apply_resizes_the_box_and_then_flips():
    images = np.zeros((2, 6, 8, 3), np.uint8)
    images[:, 2:4, 2:6] = (10, 20, 30)
    images[:, 2:4, 2:4, 0] = 200  # the left half of the box
    boxes = np.array([[2, 2, 2, 4], [2, 2, 2, 4]])
    changes = Changes(2, (2, 4), (6, 8), boxes=boxes, flips=np.array([False, True]))
    plain, mirrored = changes.apply(images)
    np.testing.assert_array_equal(plain, images[0, 2:4, 2:6])
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_apply_brings_a_uniform_image_of_any_size_to_the_size():
    images = np.full((9, 23, 11, 3), (7, 100, 250), np.uint8)
    changed = Augmentation("flip-resized-crop").draw(np.arange(9), 1, (5, 17), (23, 11)).apply(images)
    assert changed.shape == (9, 5, 17, 3)
    assert (changed == (7, 100, 250)).all()


def test_apply_leaves_gray_images_to_brightness_and_contrast():
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 1), dtype=np.uint8)
    drawn = {"factors": np.array([[1.0, 1.0, 0.3]] * 4), "orders": np.arange(4)}
    np.testing.assert_array_equal(Changes(4, (6, 5), (6, 5), **drawn).apply(images), images)
    colour = np.repeat(images, 3, axis=3)
    colour[..., 0] //= 2
    assert (Changes(4, (6, 5), (6, 5), **drawn).apply(colour) != colour).any()


@pytest.mark.parametrize("shape", [(3, 4, 5, 1), (2, 5, 4, 1)])
def test_apply_raises_for_other_images(shape):
    changes = Augmentation("flip").draw(np.arange(2), 1, (4, 5))
    with pytest.raises(DataError, match=r"images must be \(N, H, W\) = \(2, 4, 5\), as their changes are\. Got \("):
        changes.apply(np.zeros(shape, np.uint8))
