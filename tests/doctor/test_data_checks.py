"""Each diagnosis of images beside images with which nothing is wrong."""

from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.data import Split
from glassnet.doctor import data_checks
from glassnet.doctor.check import Diagnosis, Reading
from glassnet.doctor.context import Evidence
from glassnet.doctor.image_stats import Neighbours


@pytest.fixture(scope="module")
def good() -> gn.Dataset:
    return gn.load_data("digits", samples=400)


def read(diagnosis: Diagnosis, data: gn.Dataset) -> Reading:
    reading = diagnosis.read(Evidence(dataset=data))
    assert isinstance(reading, Reading), reading
    return reading


def changed(data: gn.Dataset, train: Split, test: Split | None = None, classes: list[str] | None = None) -> gn.Dataset:
    return gn.Dataset.from_splits(train, test or data.test, classes or data.classes, scale=data.scale)


OF_IMAGES = [
    *(data_checks.DuplicatedClass(), data_checks.WrongLabels(), data_checks.BlankImages()),
    *(data_checks.Leak(), data_checks.Duplicates(), data_checks.Unbalanced()),
]


@pytest.mark.parametrize("diagnosis", OF_IMAGES, ids=lambda diagnosis: diagnosis.name)
def test_the_digits_are_sound(diagnosis: Diagnosis, good: gn.Dataset) -> None:
    assert read(diagnosis, good).sure is None


def test_a_duplicated_class(good: gn.Dataset) -> None:
    own = np.flatnonzero(good.train.labels == 3)
    train = Split(
        np.concatenate([good.train.images, good.train.images[own]]),
        np.concatenate([good.train.labels, np.full(len(own), 10)]),
    )
    reading = read(data_checks.DuplicatedClass(), changed(good, train, classes=[*good.classes, "three"]))
    assert reading.sure == "high"
    assert "'3' or 'three'" in reading.says


@pytest.mark.parametrize(("share", "says"), [(0.3, "about so many labels are wrong"), (1.0, "They are shuffled")])
def test_wrong_labels(good: gn.Dataset, share: float, says: str) -> None:
    rng = np.random.default_rng(0)
    labels, chosen = good.train.labels.copy(), rng.permutation(400)[: int(share * 400)]
    labels[chosen] = rng.permutation(labels[chosen])
    reading = read(data_checks.WrongLabels(), changed(good, Split(good.train.images, labels)))
    assert reading.sure in ("medium", "high")
    assert says in reading.says


@pytest.mark.parametrize("digits", [[0, 1], [3, 5, 8], [1, 4, 7, 9]])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_wrong_labels_of_few_digits(digits: list[int], share: float) -> None:
    rng, train = np.random.default_rng(0), gn.load_data("digits").train
    train = train.take(np.flatnonzero(np.isin(train.labels, digits)))
    labels, chosen = np.searchsorted(digits, train.labels), rng.permutation(len(train))[: int(share * len(train))]
    labels[chosen] = rng.permutation(labels[chosen])
    data = gn.Dataset.from_splits(Split(train.images, labels), Split(train.images, labels), list("abcd"[: len(digits)]))
    assert read(data_checks.WrongLabels(), data).sure in ("medium", "high")


@pytest.mark.parametrize("brighter", [0, 30])
def test_images_of_many_dimensions_leave_labels_alone(brighter: int) -> None:
    """Labels of which neighbours know nothing or little, both of them right."""
    labels = np.arange(400) % 2
    images = np.random.default_rng(0).integers(0, 200, (400, 5, 5)) + brighter * labels[:, None, None]
    told = data_checks.WrongLabels().read(Evidence(dataset=gn.Dataset(images.astype(np.uint8), labels, ["a", "b"])))
    assert isinstance(told, str)
    assert told.endswith("dimensions, as photographs do: neighbours by pixels cannot judge their labels")


def test_a_training_at_chance_makes_shuffled_labels_sure(good: gn.Dataset, retold: Any) -> None:
    labels = np.random.default_rng(0).permutation(good.train.labels)
    bad = changed(good, Split(good.train.images, labels))
    for accuracy, sure in ((0.1, "high"), (0.6, "medium")):
        evidence = retold([{"loss": 2.3, "train_accuracy": 0.2, "test_accuracy": accuracy}])
        evidence.dataset = bad
        assert data_checks.WrongLabels().read(evidence).sure == sure


def test_too_few_images_to_judge_labels(good: gn.Dataset) -> None:
    data = changed(good, good.train.take(np.arange(80)))
    told = data_checks.WrongLabels().read(Evidence(dataset=data))
    assert told == "80 training images are too few to judge labels by their neighbours"


@pytest.mark.parametrize(("agreement", "clear", "asked"), [(0.3, 0.2, 1500), (0.86, 0.4, 100)])
def test_neighbours_that_are_no_judges(good: gn.Dataset, agreement: float, clear: float, asked: int) -> None:
    """Of photographs, pixels say little: 30 % agreement is far from chance, and far from a judge's. Of few images
    few neighbourhoods are clear."""
    evidence = Evidence(dataset=good)
    evidence.neighbours = Neighbours(
        agreement=agreement, chance=0.1, contradicted=0.4, clear=clear, asked=asked, dimensions=5
    )
    told = data_checks.WrongLabels().read(evidence)
    assert told == (
        f"neighbours by pixels agree with {agreement:.0%} of the labels, and with one another about "
        f"{clear * asked:.0f} images: too few to judge labels"
    )


@pytest.mark.parametrize(("count", "sure"), [(1, None), (2, "medium"), (12, "high")])
def test_blank_images(good: gn.Dataset, count: int, sure: str | None) -> None:
    images = good.train.images.copy()
    images[:count] = 16
    assert read(data_checks.BlankImages(), changed(good, Split(images, good.train.labels))).sure == sure


@pytest.mark.parametrize(("count", "sure"), [(2, None), (6, "medium"), (30, "high")])
def test_images_in_both_splits(good: gn.Dataset, count: int, sure: str | None) -> None:
    images = good.test.images.copy()
    images[:count] = good.train.images[:count]
    reading = read(data_checks.Leak(), changed(good, good.train, Split(images, good.test.labels)))
    assert reading.sure == sure


@pytest.mark.parametrize(("count", "sure"), [(2, None), (8, "medium"), (30, "high")])
def test_duplicates(good: gn.Dataset, count: int, sure: str | None) -> None:
    twice = good.train.take(np.concatenate([np.arange(400), np.arange(count)]))
    assert read(data_checks.Duplicates(), changed(good, twice)).sure == sure


@pytest.mark.parametrize(("kept", "sure"), [(20, None), (11, "medium"), (5, "high")])
def test_unbalanced_classes(good: gn.Dataset, kept: int, sure: str | None) -> None:
    fives = np.flatnonzero(good.train.labels == 5)
    train = good.train.take(np.setdiff1d(np.arange(400), fives[kept:]))
    reading = read(data_checks.Unbalanced(), changed(good, train))
    assert reading.sure == sure
    assert f"times as many as '5' with {kept}." in reading.says


def test_counts_that_chance_explains(good: gn.Dataset) -> None:
    """Six images of one class and two of another are three to one, and nothing."""
    order = [np.flatnonzero(good.train.labels == label)[: 6 if label else 2] for label in range(10)]
    assert read(data_checks.Unbalanced(), changed(good, good.train.take(np.concatenate(order)))).sure is None


@pytest.mark.parametrize(
    ("scale", "mean", "std", "says"),
    [
        (16.0, 0.0, 1.0, ""),  # the tutorial's: 0 to 1
        (16.0, 0.305, 0.376, ""),  # 0 ± 1
        (1.0, 0.0, 1.0, "normalization was forgotten"),
        (1.0, 4.88, 1.0, "normalization was forgotten"),  # the mean alone taken off
        (256.0, 0.0, 1.0, "normalization was doubled"),
        (16.0, 0.305 + 0.305 * 0.376, 0.376**2, "normalization was doubled"),  # what was 0 ± 1, once more
    ],
)
def test_normalization(retold: Any, scale: float, mean: float, std: float, says: str) -> None:
    evidence = retold(data__scale=scale, data__mean=[mean], data__std=[std])
    reading = data_checks.WrongNormalization().read(evidence)
    assert reading.sure == ("high" if says else None)
    assert says in reading.says
