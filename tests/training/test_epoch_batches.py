"""The batches of a training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.engines import ProcessGroup
from glassnet.training.epoch_batches import EpochBatches, add_larger_images, recipe_augmentation


def test_epochs_have_every_image_once_and_another_order(digits: gn.Dataset) -> None:
    batches = EpochBatches(digits.train, digits.normalization, gn.Recipe(batch_size=60))
    assert len(batches) == 4
    index_of = {image.tobytes(): index for index, image in enumerate(digits.train.images)}
    epochs = [[index_of[image.tobytes()] for batch in batches.epoch(k) for image in batch.images] for k in (1, 2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(200))
    assert epochs[0] != epochs[1]


def test_a_recipe_s_augmentation_has_all_of_its_fields() -> None:
    recipe = gn.Recipe(augment="flip", rotate=3.0, translate=0.2, jitter=0.1, seed=7)
    augmentation = recipe_augmentation(recipe)
    assert vars(augmentation) == {"augment": "flip", "rotate": 3.0, "translate": 0.2, "jitter": 0.1, "seed": 7}


@pytest.mark.parametrize("batch_size", [60, 199])
def test_processes_see_their_rows_of_the_same_images(digits: gn.Dataset, batch_size: int) -> None:
    recipe = gn.Recipe(batch_size=batch_size, augment="flip-crop", rotate=10.0)
    alone = list(EpochBatches(digits.train, digits.normalization, recipe).epoch(3))
    shards = [
        list(EpochBatches(digits.train, digits.normalization, recipe, ProcessGroup(rank, 3)).epoch(3))
        for rank in range(3)
    ]
    for whole, *parts in zip(alone, *shards, strict=True):
        assert {len(part) for part in parts} == {len(whole)}
        np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)
        np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), whole.labels)
        assert [part.rows for part in parts] == [ProcessGroup(rank, 3).rows(len(whole), 3) for rank in range(3)]


def test_engines_are_given_the_same_images(digits: gn.Dataset) -> None:
    recipe = gn.Recipe(batch_size=40, augment="flip-resized-crop", jitter=0.2, seed=3)
    first, second = (list(EpochBatches(digits.train, digits.normalization, recipe).epoch(1)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        assert one.images.dtype == np.uint8


def test_larger_images_are_added_for_resized_crops_of_files_alone(digits: gn.Dataset, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    data = gn.load_data(tmp_path, image_size=14)
    add_larger_images(data, gn.Recipe(augment="flip-crop"))
    assert data.train.larger is None
    add_larger_images(data, gn.Recipe(augment="resized-crop"))
    assert data.train.larger is not None
    assert data.train.larger.shape == (16, 16, 3)
    add_larger_images(digits, gn.Recipe(augment="resized-crop"))
    assert digits.train.larger is None
