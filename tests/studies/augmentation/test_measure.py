import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.data import load_larger
from glassnet.errors import ConfigError
from glassnet.studies.augmentation import run_study
from glassnet.training.epoch_batches import EpochBatches

EVERYTHING = gn.Recipe(augment="flip-crop", rotate=20.0, translate=0.2, jitter=0.3, seed=7, batch_size=50)


def test_run_study_shows_the_images_of_a_training(digits: gn.Dataset) -> None:
    study = run_study(digits, EVERYTHING, n_images=12, n_epochs=2)
    for epoch in (1, 2):
        batches = EpochBatches(digits.train, digits.normalization, EVERYTHING).epoch(epoch)
        trained = {image.tobytes() for batch in batches for image in batch.images}
        for image in study.images:
            assert image.augmented[epoch - 1].tobytes() in trained
            np.testing.assert_array_equal(image.original, digits.train.images[image.index])
            assert image.label == digits.classes[digits.train.labels[image.index]]
    assert len({image.label for image in study.images}) == 10


def test_run_study_names_the_numbers_of_every_change(digits: gn.Dataset) -> None:
    draw = run_study(digits, EVERYTHING, n_images=1, n_epochs=1).images[0].draws[0]
    assert list(draw) == ["crop", "mirrored", "angle", "shift", "factors"]
    assert set(draw["factors"]) == {"brightness", "contrast", "saturation"}
    assert abs(draw["angle"]) <= 20
    mirrored = run_study(digits, gn.Recipe(augment="flip"), n_images=20, n_epochs=3)
    for image in mirrored.images:
        for pixels, numbers in zip(image.augmented, image.draws, strict=True):
            assert numbers == {"mirrored": numbers["mirrored"]}
            np.testing.assert_array_equal(pixels, image.original[:, :: -1 if numbers["mirrored"] else 1])


def test_run_study_measures_the_input_of_the_network(digits: gn.Dataset) -> None:
    study = run_study(digits, gn.Recipe(augment="crop"), n_epochs=3)
    (channel,) = study.channels
    pixels = digits.train.images / 16
    assert (channel.mean, channel.std) == pytest.approx((pixels.mean(), pixels.std()), rel=1e-6)
    assert channel.augmented_mean < 0.8 * channel.mean
    assert study.n_measured == 200
    # A shift of k of 8 pixels with probability 1/9 each from −4 to 4 keeps (1 − |k|/8): 0.722 of each axis.
    assert study.black == pytest.approx(1 - (1 - 20 / 9 / 8) ** 2, abs=0.03)
    assert (study.mirrored, study.crop_area) == (None, None)
    uniform = run_study(digits, gn.Recipe(augment="flip"), n_epochs=1)
    assert uniform.channels[0].augmented_mean == pytest.approx(uniform.channels[0].mean, rel=1e-6)
    assert uniform.black is None


def test_run_study_crops_from_larger_images(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    data = gn.load_data(tmp_path, image_size=14, test_size=0.2, seed=1)
    data.train.larger = load_larger(data)
    study = run_study(data, gn.Recipe(augment="flip-resized-crop"), n_images=2)
    assert (study.image_size, study.crop_from) == ((14, 14), (16, 16))
    low, mean, high = study.crop_area
    assert 0.05 < low < mean < high <= 1
    assert any("Resized crops from 16×16 pixels have" in sentence for sentence in study.summary)
    assert study.images[0].name.endswith(".png")


def test_summary_says_what_was_drawn(digits: gn.Dataset) -> None:
    study = run_study(digits, gn.Recipe(augment="flip", jitter=0.5), n_epochs=2)
    assert study.settings == "augment flip, jitter 0.5"
    assert "with augment flip, jitter 0.5 and seed 42 reads each image of 8×8 pixels" in study.summary[0]
    assert study.summary[1].startswith("The 6 images shown are drawn from its 200 training images")
    assert study.summary[2] == f"{study.mirrored:.1%} of the images in 2 epochs of 200 training images are mirrored."
    assert replace(study, mirrored=0.25).summary[2].startswith("25.0% of the images")
    json.dumps(study.to_dict(), allow_nan=False)


def test_run_study_raises_without_augmentation_or_images(digits: gn.Dataset) -> None:
    with pytest.raises(ConfigError, match=r"augment must be other than none, .*\(--augment flip-crop\)\.$"):
        run_study(digits, gn.Recipe())
    with pytest.raises(ConfigError, match="n_epochs must be an integer of at least 1"):
        run_study(digits, EVERYTHING, n_epochs=0)
