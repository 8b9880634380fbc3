import numpy as np
import pytest
from numpy.typing import NDArray

import glassnet as gn
from glassnet.doctor.image_stats import find_duplicates, is_uniform, measure_neighbours


def numbered(train: list[int], labels: list[int], test: list[int], test_labels: list[int]) -> gn.Dataset:
    """Images 2×2 by number: equal numbers are equal images, and 0 is a uniform one."""
    images = np.array([[[0, 0], [0, 0]], *[[[k, k], [k, 0]] for k in range(1, 50)]], np.uint8)
    return gn.Dataset(
        images[train], np.array(labels), list("abc"), test_images=images[test], test_labels=np.array(test_labels)
    )


def test_is_uniform_compares_every_channel() -> None:
    images = np.zeros((3, 2, 2, 2), np.uint8)
    images[1] = (7, 9)
    images[2, 0, 0, 1] = 1
    assert is_uniform(images).tolist() == [True, True, False]


def test_find_duplicates_is_0_for_distinct_images() -> None:
    stats = find_duplicates(numbered([1, 2, 3, 4], [0, 1, 2, 0], [5, 6], [0, 1]))
    assert (stats.in_training, stats.in_both, stats.in_pair) == (0, 0, 0)


def test_find_duplicates_counts_copies_within_a_class_of_the_training_set() -> None:
    assert find_duplicates(numbered([1, 1, 2, 3], [0, 0, 1, 2], [5, 6], [0, 1])).in_training == 0.25


def test_find_duplicates_counts_test_images_in_the_training_set() -> None:
    assert find_duplicates(numbered([1, 2, 3, 4], [0, 1, 2, 0], [1, 6, 7, 8], [0, 1, 2, 0])).in_both == 0.25


def test_find_duplicates_names_the_classes_with_common_images() -> None:
    stats = find_duplicates(numbered([1, 2, 1, 3], [0, 1, 2, 1], [5, 5], [0, 2]))
    assert (stats.class_pair, stats.in_pair) == ((0, 2), 1)
    assert stats.in_training == 0


def test_find_duplicates_ignores_uniform_images() -> None:
    stats = find_duplicates(numbered([0, 0, 0, 1], [0, 0, 1, 2], [0, 0], [0, 1]))
    assert (stats.in_training, stats.in_both, stats.in_pair) == (0, 0, 0)


@pytest.fixture
def clusters() -> gn.Dataset:
    """Three kinds of images that differ strongly, 60 of each."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    images = (labels[:, None, None] * 100 + rng.integers(0, 20, (180, 4, 4))).astype(np.uint8)
    return gn.Dataset(images, labels, test_images=images[:6], test_labels=labels[:6])


def relabel(data: gn.Dataset, labels: NDArray[np.int64]) -> gn.Dataset:
    return gn.Dataset(data.train.images, labels, test_images=data.test.images, test_labels=data.test.labels)


def test_measure_neighbours_agrees_with_right_labels(clusters: gn.Dataset) -> None:
    stats = measure_neighbours(clusters)
    assert (stats.agreement, stats.disagreement, stats.unanimous_fraction, stats.n_queried) == (1, 0, 1, 180)
    assert stats.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("fraction", [0.1, 0.2])
def test_measure_neighbours_disagrees_with_the_fraction_of_wrong_labels(clusters: gn.Dataset, fraction: float) -> None:
    wrong = np.random.default_rng(1).permutation(180)[: round(180 * fraction)]
    labels = clusters.train.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    assert measure_neighbours(relabel(clusters, labels)).disagreement == pytest.approx(fraction, abs=0.03)


@pytest.mark.parametrize("size", [1, 4])
def test_measure_neighbours_ignores_uniform_images(size: int) -> None:
    images = np.repeat(np.arange(20, dtype=np.uint8), size * size).reshape(20, size, size, 1)
    assert measure_neighbours(gn.Dataset(images, np.arange(20) % 2, ["a", "b"])).n_queried == 0


def test_measure_neighbours_is_at_chance_for_shuffled_labels(clusters: gn.Dataset) -> None:
    labels = np.random.default_rng(2).permutation(clusters.train.labels)
    assert measure_neighbours(relabel(clusters, labels)).agreement < 0.45


def test_measure_neighbours_excludes_copies() -> None:
    """Otherwise each image's copy would be its nearest neighbour."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (60, 3, 3)).astype(np.uint8)
    labels = rng.permutation(np.arange(60) % 3)
    doubled = gn.Dataset(
        np.concatenate([images, images]), np.tile(labels, 2), test_images=images[:3], test_labels=labels[:3]
    )
    assert measure_neighbours(doubled).n_queried == 60


@pytest.mark.parametrize("free", [2, 3, 4])
def test_dimensions_is_the_number_of_varying_pixels(free: int) -> None:
    """Neither copies nor larger pixels change it."""
    labels = np.arange(400) % 2
    images = np.zeros((400, 4, 4, 1), np.uint8)
    images.reshape(400, 16)[:, :free] = np.random.default_rng(0).integers(0, 255, (400, free))

    def dimensions(images: NDArray[np.uint8]) -> float:
        return measure_neighbours(gn.Dataset(images, np.resize(labels, len(images)), ["a", "b"])).dimensions

    measured = dimensions(images)
    assert measured == pytest.approx(free, rel=0.2)
    assert dimensions(np.repeat(images, 2, axis=0)) == pytest.approx(measured, rel=0.1)
    assert dimensions(images.repeat(16, axis=1).repeat(16, axis=2)) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("count", [20, 200])
def test_dimensions_is_infinite_for_few_or_equidistant_images(count: int) -> None:
    images = (255 * np.eye(256, dtype=np.uint8)[:count]).reshape(count, 16, 16)
    assert measure_neighbours(gn.Dataset(images, np.arange(count) % 2, ["a", "b"])).dimensions == np.inf
