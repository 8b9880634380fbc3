"""Each check of images, with faulty images beside faultless ones."""

from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.data import Split
from glassnet.doctor import data_checks
from glassnet.doctor.check import Check, CheckResult, CheckSkippedError
from glassnet.doctor.context import CheckContext
from glassnet.doctor.image_stats import NeighbourStats


@pytest.fixture(scope="module")
def digits() -> gn.Dataset:
    return gn.load_data("digits", samples=400, test_samples="all")


def run(check: Check, data: gn.Dataset) -> CheckResult:
    return check.run(CheckContext(data=data))


def replace(data: gn.Dataset, train: Split, test: Split | None = None, classes: list[str] | None = None) -> gn.Dataset:
    return gn.Dataset.from_splits(train, test or data.test, classes or data.classes, scale=data.scale)


IMAGE_CHECKS = [
    *(data_checks.DuplicatedClass(), data_checks.WrongLabels(), data_checks.BlankImages()),
    *(data_checks.TrainTestOverlap(), data_checks.DuplicateImages(), data_checks.ClassImbalance()),
    data_checks.FewLevels(),
]


@pytest.mark.parametrize("check", IMAGE_CHECKS, ids=lambda check: check.name)
def test_check_passes_on_digits(check: Check, digits: gn.Dataset) -> None:
    assert run(check, digits).confidence is None


def test_duplicated_class_is_named(digits: gn.Dataset) -> None:
    threes = np.flatnonzero(digits.train.labels == 3)
    train = Split(
        np.concatenate([digits.train.images, digits.train.images[threes]]),
        np.concatenate([digits.train.labels, np.full(len(threes), 10)]),
    )
    result = run(data_checks.DuplicatedClass(), replace(digits, train, classes=[*digits.classes, "three"]))
    assert result.confidence == "high"
    assert "'3' or 'three'" in result.message


@pytest.mark.parametrize(
    ("fraction", "message"), [(0.3, "about this fraction of the labels is wrong"), (1.0, "The labels are shuffled.")]
)
def test_wrong_labels_are_found_in_ten_classes(digits: gn.Dataset, fraction: float, message: str) -> None:
    rng = np.random.default_rng(0)
    labels, indices = digits.train.labels.copy(), rng.permutation(400)[: int(fraction * 400)]
    labels[indices] = rng.permutation(labels[indices])
    result = run(data_checks.WrongLabels(), replace(digits, Split(digits.train.images, labels)))
    assert result.confidence in ("medium", "high")
    assert message in result.message


@pytest.mark.parametrize("classes", [[0, 1], [3, 5, 8], [1, 4, 7, 9]])
@pytest.mark.parametrize("fraction", [0.4, 1.0])
def test_wrong_labels_are_found_in_few_classes(classes: list[int], fraction: float) -> None:
    rng, train = np.random.default_rng(0), gn.load_data("digits").train
    train = train.take(np.flatnonzero(np.isin(train.labels, classes)))
    labels, indices = np.searchsorted(classes, train.labels), rng.permutation(len(train))[: int(fraction * len(train))]
    labels[indices] = rng.permutation(labels[indices])
    split = Split(train.images, labels)
    data = gn.Dataset.from_splits(split, split, list("abcd"[: len(classes)]))
    assert run(data_checks.WrongLabels(), data).confidence in ("medium", "high")


@pytest.mark.parametrize("difference", [0, 30])
def test_wrong_labels_is_skipped_for_images_of_many_dimensions(difference: int) -> None:
    """The labels are right, and neighbours agree with few of them or with none."""
    labels = np.arange(400) % 2
    images = np.random.default_rng(0).integers(0, 200, (400, 5, 5)) + difference * labels[:, None, None]
    with pytest.raises(CheckSkippedError, match=r"dimensions, as photographs have: neighbours by pixels cannot judge"):
        run(data_checks.WrongLabels(), gn.Dataset(images.astype(np.uint8), labels, ["a", "b"]))


@pytest.mark.parametrize(("accuracy", "confidence"), [(0.1, "high"), (0.6, "medium")])
def test_wrong_labels_has_high_confidence_if_the_training_learned_nothing(
    digits: gn.Dataset, make_context: Any, accuracy: float, confidence: str
) -> None:
    labels = np.random.default_rng(0).permutation(digits.train.labels)
    context = make_context([{"loss": 2.3, "train_accuracy": 0.2, "test_accuracy": accuracy}])
    context.dataset = replace(digits, Split(digits.train.images, labels))
    assert data_checks.WrongLabels().run(context).confidence == confidence


def test_wrong_labels_is_skipped_for_few_images(digits: gn.Dataset) -> None:
    with pytest.raises(
        CheckSkippedError,
        match=r"^the data has 80 distinct training images, too few to judge labels by their neighbours$",
    ):
        run(data_checks.WrongLabels(), replace(digits, digits.train.take(np.arange(80))))


@pytest.mark.parametrize(("agreement", "unanimous_fraction", "n_queried"), [(0.3, 0.2, 1500), (0.86, 0.4, 100)])
def test_wrong_labels_is_skipped_for_uninformative_neighbours(
    digits: gn.Dataset,
    monkeypatch: pytest.MonkeyPatch,
    agreement: float,
    unanimous_fraction: float,
    n_queried: int,
) -> None:
    """30% agreement is far above chance, but too little to judge single labels; 40 unanimous neighbourhoods are too
    few."""
    stats = NeighbourStats(
        agreement=agreement,
        chance=0.1,
        disagreement=0.4,
        unanimous_fraction=unanimous_fraction,
        n_queried=n_queried,
        dimensions=5,
    )
    monkeypatch.setattr(data_checks, "measure_neighbours", lambda data: stats)
    reason = (
        f"neighbours by pixels agree with {agreement:.0%} of the labels and are unanimous for about "
        f"{unanimous_fraction * n_queried:.0f} images: too few to judge labels"
    )
    with pytest.raises(CheckSkippedError, match=f"^{reason}$"):
        run(data_checks.WrongLabels(), digits)


@pytest.mark.parametrize(("count", "confidence"), [(1, None), (2, "medium"), (12, "high")])
def test_blank_images_are_counted(digits: gn.Dataset, count: int, confidence: str | None) -> None:
    images = digits.train.images.copy()
    images[:count] = 16
    result = run(data_checks.BlankImages(), replace(digits, Split(images, digits.train.labels)))
    assert (result.confidence, result.value) == (confidence, count / 400)


@pytest.mark.parametrize(("levels", "confidence"), [(3, "high"), (12, "medium"), (17, None), (200, None)])
def test_few_levels_are_found(levels: int, confidence: str | None) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(40, 40 + levels, (200, 8, 8, 3)).astype(np.uint8)
    images[:, 0, 0], images[:, 0, 1] = 40, 39 + levels
    images[:90], images[0, 0, 0] = 7, 255  # neither blank images nor a single bright pixel hide the others
    images[:5, :4] = 250
    split = Split(images, np.arange(200) % 2)
    result = run(data_checks.FewLevels(), gn.Dataset.from_splits(split, split, ["a", "b"]))
    assert (result.confidence, result.value) == (confidence, levels)
    assert result.message.startswith(f"Half of the images span at most {levels} of 256 gray levels; all")


@pytest.mark.parametrize("scale", [1, 255])
def test_few_levels_accepts_black_and_white(scale: int) -> None:
    images = (np.random.default_rng(0).integers(0, 2, (20, 4, 4, 1)) * scale).astype(np.uint8)
    split = Split(images, np.arange(20) % 2)
    data = gn.Dataset.from_splits(split, split, ["a", "b"], scale=scale)
    assert run(data_checks.FewLevels(), data).confidence is None


def test_few_levels_is_skipped_for_blank_images() -> None:
    split = Split(np.zeros((20, 4, 4, 1), np.uint8), np.arange(20) % 2)
    with pytest.raises(CheckSkippedError, match="every training image has a single colour"):
        run(data_checks.FewLevels(), gn.Dataset.from_splits(split, split, ["a", "b"]))


@pytest.mark.parametrize(("count", "confidence"), [(2, None), (6, "medium"), (30, "high")])
def test_train_test_overlap_is_measured(digits: gn.Dataset, count: int, confidence: str | None) -> None:
    images = digits.test.images.copy()
    images[:count] = digits.train.images[:count]
    result = run(data_checks.TrainTestOverlap(), replace(digits, digits.train, Split(images, digits.test.labels)))
    assert (result.confidence, result.value) == (confidence, count / 450)


@pytest.mark.parametrize(("count", "confidence"), [(2, None), (8, "medium"), (30, "high")])
def test_duplicate_images_are_counted(digits: gn.Dataset, count: int, confidence: str | None) -> None:
    train = digits.train.take(np.concatenate([np.arange(400), np.arange(count)]))
    result = run(data_checks.DuplicateImages(), replace(digits, train))
    assert (result.confidence, result.value) == (confidence, pytest.approx(count / (400 + count)))


@pytest.mark.parametrize(("kept", "confidence"), [(20, None), (11, "medium"), (5, "high")])
def test_class_imbalance_names_the_rarest_class(digits: gn.Dataset, kept: int, confidence: str | None) -> None:
    fives = np.flatnonzero(digits.train.labels == 5)
    train = digits.train.take(np.setdiff1d(np.arange(400), fives[kept:]))
    result = run(data_checks.ClassImbalance(), replace(digits, train))
    assert result.confidence == confidence
    assert result.message.endswith(f" times as many as '5' with {kept}." if confidence else "")


def test_class_imbalance_advises_class_weights_unless_the_run_has_them(make_context: Any) -> None:
    check, result = data_checks.ClassImbalance(), CheckResult(4.0, "4")
    remedy = "or give every class the same weight in the loss: --class-weights balanced"
    assert remedy in map(str, check.remedies(make_context(), result))
    assert remedy not in map(str, check.remedies(make_context(recipe__class_weights="balanced"), result))


def test_class_imbalance_passes_if_the_counts_differ_by_chance(digits: gn.Dataset) -> None:
    """Six images of one class and two of another have a ratio of three, but differ by little."""
    order = [np.flatnonzero(digits.train.labels == label)[: 6 if label else 2] for label in range(10)]
    data = replace(digits, digits.train.take(np.concatenate(order)))
    assert run(data_checks.ClassImbalance(), data).confidence is None


@pytest.mark.parametrize(
    ("scale", "mean", "std", "message"),
    [
        (16.0, 0.0, 1.0, ""),  # from 0 to 1, as in the tutorial
        (16.0, 0.305, 0.376, ""),  # mean 0, standard deviation 1
        (1.0, 0.0, 1.0, "normalization was not applied"),
        (1.0, 4.88, 1.0, "normalization was not applied"),  # only the mean was subtracted
        (256.0, 0.0, 1.0, "normalization was applied twice"),
        (16.0, 0.305 + 0.305 * 0.376, 0.376**2, "normalization was applied twice"),  # twice by mean and std
    ],
)
def test_wrong_normalization_says_which_fault(
    make_context: Any, scale: float, mean: float, std: float, message: str
) -> None:
    context = make_context(data__scale=scale, data__mean=[mean], data__std=[std])
    result = data_checks.WrongNormalization().run(context)
    assert result.confidence == ("high" if message else None)
    assert message in result.message
