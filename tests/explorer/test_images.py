import dataclasses

import numpy as np
import pytest

import glassnet as gn
from glassnet.explorer.images import N_SAMPLED, select_images
from glassnet.training import Model
from glassnet.training.loop import split_validation


def large(count: int, classes: list[str]) -> gn.Dataset:
    """Random images of the digits' size, too many to travel whole."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 17, (count, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(count) // 2 % 10
    return gn.Dataset(images, labels, classes, test_images=images[::2], test_labels=labels[::2], scale=16)


def test_select_images_takes_all_digits(trained: Model, digits_data: gn.Dataset) -> None:
    images = select_images(trained, digits_data, gn.Recipe())
    assert images.is_complete
    assert not images.is_other
    assert (len(images.train), len(images.test), images.n_data) == (1347, 450, 450)


@pytest.mark.parametrize(("limit", "most"), [("MAX_TRAINED", 2538), ("MAX_PIXEL_BYTES", 1797 * 64)])
def test_select_images_takes_a_sample_where_the_network_or_the_data_is_large(
    trained: Model, digits_data: gn.Dataset, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(f"glassnet.explorer.images.{limit}", most)
    assert select_images(trained, digits_data, gn.Recipe()).is_complete
    monkeypatch.setattr(f"glassnet.explorer.images.{limit}", most - 1)
    images = select_images(trained, digits_data, gn.Recipe())
    assert (len(images.train), len(images.test), images.is_complete) == (0, N_SAMPLED, False)


def test_select_images_leaves_out_those_held_out_for_validation(trained: Model, digits_data: gn.Dataset) -> None:
    recipe = gn.Recipe(validation_fraction=0.2, seed=5)
    images = select_images(trained, digits_data, recipe)
    expected = split_validation(digits_data, recipe)[0]
    np.testing.assert_array_equal(images.train.images, expected.images)
    assert len(images.train) < 1100


@pytest.mark.parametrize("scale", [16, 255])
def test_select_images_takes_a_sample_of_large_data_with_the_errors_first(run: Model, scale: int) -> None:
    data = large(6000, run.classes)
    data.scale = scale
    images = select_images(run, data, gn.Recipe())
    assert images.is_other
    assert not images.is_complete
    assert (len(images.train), len(images.test), images.n_data) == (0, N_SAMPLED, 3000)
    assert images.scale == scale
    outcome = run.network.evaluate(images.test, dataclasses.replace(run.normalization, scale=scale))
    is_error = outcome.predicted != outcome.labels
    assert is_error.tolist() == [True] * 32 + [False] * 32
    assert (np.diff(outcome.confidence[:32]) <= 0).all()
    shapes = {name: array.shape for name, array in images.to_tensors().items()}
    assert shapes == {
        "images.train": (0, 1, 8, 8),
        "labels.train": (0,),
        "images.test": (64, 1, 8, 8),
        "labels.test": (64,),
    }


def test_select_images_fills_up_with_correct_images(run: Model, digits_data: gn.Dataset) -> None:
    predicted = run.network.evaluate(digits_data.test, run.normalization).predicted
    labels = predicted.copy()
    labels[:3] = (labels[:3] + 1) % 10
    relabelled = gn.Dataset(
        digits_data.train.images, digits_data.train.labels, run.classes,
        test_images=digits_data.test.images, test_labels=labels, scale=16,
    )  # fmt: skip
    images = select_images(run, relabelled, gn.Recipe())
    outcome = run.network.evaluate(images.test, run.normalization)
    assert (outcome.predicted != outcome.labels).tolist() == [True] * 3 + [False] * 61


def test_select_images_takes_the_most_confident_errors(run: Model, digits_data: gn.Dataset) -> None:
    before = run.network.evaluate(digits_data.test, run.normalization)
    arrays = digits_data.train.images, digits_data.train.labels, run.classes
    wrong = {"test_images": digits_data.test.images, "test_labels": (before.predicted + 1) % 10}
    images = select_images(run, gn.Dataset(*arrays, scale=16, **wrong), gn.Recipe())
    confidence = run.network.evaluate(images.test, run.normalization).confidence
    np.testing.assert_allclose(confidence, np.sort(before.confidence)[::-1][:N_SAMPLED], rtol=1e-5)


def test_select_images_of_no_data_are_none(trained: Model) -> None:
    images = select_images(trained, None, gn.Recipe())
    assert (len(images.train), len(images.test), images.is_complete) == (0, 0, False)
    assert images.scale == 16
    assert images.to_tensors()["images.test"].shape == (0, 1, 8, 8)
