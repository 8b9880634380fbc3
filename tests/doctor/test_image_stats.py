import numpy as np
import pytest
from numpy.typing import NDArray

import glassnet as gn
from glassnet.doctor.image_stats import blank, copies, neighbours


def made(train: list[int], labels: list[int], test: list[int], test_labels: list[int]) -> gn.Dataset:
    """Images 2×2 by number: each number is one image, and 0 is a blank one."""
    images = np.array([[[0, 0], [0, 0]], *[[[k, k], [k, 0]] for k in range(1, 50)]], np.uint8)
    return gn.Dataset(
        images[train], np.array(labels), list("abc"), test_images=images[test], test_labels=np.array(test_labels)
    )


def test_blank_is_one_colour_in_every_channel() -> None:
    images = np.zeros((3, 2, 2, 2), np.uint8)
    images[1] = (7, 9)  # a colour of its own
    images[2, 0, 0, 1] = 1
    assert blank(images).tolist() == [True, True, False]


def test_nothing_is_copied() -> None:
    found = copies(made([1, 2, 3, 4], [0, 1, 2, 0], [5, 6], [0, 1]))
    assert (found.in_training, found.in_both, found.in_pair) == (0, 0, 0)


def test_copies_of_one_class_within_the_training_split() -> None:
    assert copies(made([1, 1, 2, 3], [0, 0, 1, 2], [5, 6], [0, 1])).in_training == 0.25


def test_copies_across_the_splits() -> None:
    assert copies(made([1, 2, 3, 4], [0, 1, 2, 0], [1, 6, 7, 8], [0, 1, 2, 0])).in_both == 0.25


def test_copies_across_classes_name_the_pair() -> None:
    found = copies(made([1, 2, 1, 3], [0, 1, 2, 1], [5, 5], [0, 2]))
    assert (found.pair, found.in_pair) == ((0, 2), 1)
    assert found.in_training == 0


def test_blank_images_are_no_copies() -> None:
    found = copies(made([0, 0, 0, 1], [0, 0, 1, 2], [0, 0], [0, 1]))
    assert (found.in_training, found.in_both, found.in_pair) == (0, 0, 0)


@pytest.fixture
def clusters() -> gn.Dataset:
    """Three kinds of images far from each other, 60 of each."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    images = (labels[:, None, None] * 100 + rng.integers(0, 20, (180, 4, 4))).astype(np.uint8)
    return gn.Dataset(images, labels, test_images=images[:6], test_labels=labels[:6])


def test_neighbours_agree_on_clean_labels(clusters: gn.Dataset) -> None:
    found = neighbours(clusters)
    assert (found.agreement, found.contradicted, found.clear, found.asked) == (1, 0, 1, 180)
    assert found.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_neighbours_contradict_as_many_labels_as_are_wrong(clusters: gn.Dataset, share: float) -> None:
    wrong = np.random.default_rng(1).permutation(180)[: round(180 * share)]
    labels = clusters.train.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    bad = gn.Dataset(clusters.train.images, labels, test_images=clusters.test.images, test_labels=clusters.test.labels)
    assert neighbours(bad).contradicted == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("size", [1, 4])
def test_images_of_a_single_colour_have_no_neighbours(size: int) -> None:
    images = np.repeat(np.arange(20, dtype=np.uint8), size * size).reshape(20, size, size, 1)
    assert neighbours(gn.Dataset(images, np.arange(20) % 2, ["a", "b"])).asked == 0


def test_neighbours_of_shuffled_labels_are_at_chance(clusters: gn.Dataset) -> None:
    labels = np.random.default_rng(2).permutation(clusters.train.labels)
    bad = gn.Dataset(clusters.train.images, labels, test_images=clusters.test.images, test_labels=clusters.test.labels)
    assert neighbours(bad).agreement < 0.45


def test_a_copy_is_no_witness_for_itself() -> None:
    """Each image stands twice, and its copy must not be its nearest neighbour."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (60, 3, 3)).astype(np.uint8)
    labels = rng.permutation(np.arange(60) % 3)
    twice = gn.Dataset(
        np.concatenate([images, images]), np.tile(labels, 2), test_images=images[:3], test_labels=labels[:3]
    )
    assert neighbours(twice).asked == 60


@pytest.mark.parametrize("free", [2, 3, 4])
def test_dimensions_are_the_pixels_that_vary(free: int) -> None:
    """Copies, of which each would be the other's nearest, change nothing, nor does a larger image of the same."""
    labels = np.arange(400) % 2
    images = np.zeros((400, 4, 4, 1), np.uint8)
    images.reshape(400, 16)[:, :free] = np.random.default_rng(0).integers(0, 255, (400, free))

    def dimensions(of: NDArray[np.uint8]) -> float:
        return neighbours(gn.Dataset(of, np.resize(labels, len(of)), ["a", "b"])).dimensions

    measured = dimensions(images)
    assert measured == pytest.approx(free, rel=0.2)
    assert dimensions(np.repeat(images, 2, axis=0)) == pytest.approx(measured, rel=0.1)
    assert dimensions(images.repeat(16, axis=1).repeat(16, axis=2)) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("count", [20, 200])
def test_images_that_are_too_few_or_equally_far_apart_have_no_dimensions(count: int) -> None:
    images = (255 * np.eye(256, dtype=np.uint8)[:count]).reshape(count, 16, 16)
    assert neighbours(gn.Dataset(images, np.arange(count) % 2, ["a", "b"])).dimensions == np.inf
