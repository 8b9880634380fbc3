import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from tests.data.images.drawn_digits import STROKES, enlarge, write
from tests.training.runs import train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gn.Model:
    """A run of the default recipe on the built-in digits."""
    return gn.load(train("digits", tmp_path_factory.mktemp("ink") / "run", recipe="default", epochs=10).path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> gn.Model:
    return gn.load(train("digits", tmp_path_factory.mktemp("plain") / "run", epochs=1, ink=False).path)


@pytest.fixture(scope="module")
def test_split() -> tuple[np.ndarray, np.ndarray]:
    split = gn.load_data("digits").test
    return split.images, split.labels


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def accuracy(predictions: list[gn.Prediction], labels: np.ndarray) -> float:
    return float(np.mean([int(p.label) == label for p, label in zip(predictions, labels, strict=True)]))


def test_enlarged_and_shifted_test_digits_lose_at_most_two_points(
    model: gn.Model, test_split: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, labels = test_split
    paths = [save(enlarge(image, n), tmp_path / f"{n}.png") for n, image in enumerate(images)]
    predictions = model.predict(paths)
    assert accuracy(predictions, labels) >= model.history[-1]["test_accuracy"] - 0.02
    assert np.mean([p.unlike is not None for p in predictions]) <= 0.02
    assert all(p.preprocessing and p.preprocessing.startswith("dark ink inverted, ") for p in predictions)


def test_test_digits_saved_as_8x8_files_lose_nothing(
    model: gn.Model, test_split: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images, labels = test_split
    paths = [save(Image.fromarray(image[..., 0] * 15), tmp_path / f"{n}.png") for n, image in enumerate(images)]
    of_files, of_arrays = model.predict(paths), model.predict(images)
    assert accuracy(of_files, labels) >= accuracy(of_arrays, labels) - 0.003  # 240 is 15.06 of 16: one image of 450
    assert np.mean([p.unlike is not None for p in of_files]) <= 0.02
    assert np.mean([p.unlike is not None for p in of_arrays]) <= 0.02
    assert all(p.preprocessing is None for p in of_arrays)
    assert np.array_equal(of_arrays[0].pixels, images[0] / np.float32(16))


def test_most_images_of_clothes_are_unlike(model: gn.Model, tmp_path: Path) -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    images = gn.load_data("fashion-mnist").test.images[::40]
    paths = [save(Image.fromarray(image[..., 0]), tmp_path / f"{n}.png") for n, image in enumerate(images)]
    assert np.mean([p.unlike is not None for p in model.predict(paths)]) >= 0.8


@pytest.mark.parametrize("digit", STROKES)
def test_written_digits_are_classified_correctly(model: gn.Model, digit: int, tmp_path: Path) -> None:
    image = write(digit, pen=6)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90° to the right when it is displayed
    transparent = Image.new("RGBA", image.size)
    transparent.paste("black", mask=image.convert("L").point(lambda value: 255 - value))
    white = Image.new("RGBA", image.size)
    white.paste("white", mask=image.convert("L").point(lambda value: 255 - value))
    paths = [
        save(image, tmp_path / "plain.png"),
        save(image.convert("1"), tmp_path / "bits.png"),
        save(image.transpose(Image.Transpose.ROTATE_90), tmp_path / "turned.jpg", exif=turned),
        save(transparent, tmp_path / "transparent.png"),
        save(white, tmp_path / "white.png"),
        save(write(digit, size=(4000, 3000), height=200, pen=12, at=(2500, 400)), tmp_path / "photo.jpg"),
    ]
    predictions = model.predict(paths)
    assert [p.label for p in predictions] == [str(digit)] * len(paths)
    assert re.search(r" at \(2[45]\d\d, [34]\d\d\) scaled to 8×8$", predictions[-1].preprocessing or "")


def test_an_image_without_ink_is_unlike(model: gn.Model, tmp_path: Path) -> None:
    for colour in ("white", "black"):
        (prediction,) = model.predict(save(Image.new("L", (100, 60), colour), tmp_path / "blank.png"))
        assert prediction.unlike == "no ink was found"
        assert not prediction.pixels.any()


def test_noise_and_several_digits_are_unlike(model: gn.Model, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    two = write(2, size=(400, 200))
    two.paste(write(7), (200, 0))
    paths = [save(Image.fromarray(noise), tmp_path / "noise.png"), save(two, tmp_path / "two.png")]
    reasons = [p.unlike or "" for p in model.predict(paths)]
    assert reasons[0]
    assert reasons[1] == "2 marks are side by side, and the largest was read"


def test_an_array_is_unlike_by_its_distance(model: gn.Model) -> None:
    full = np.full((8, 8, 1), 16, np.uint8)
    (prediction,) = model.predict(full)
    assert prediction.unlike is not None
    assert prediction.unlike.startswith("its distance from the training images is ")


def test_without_ink_files_are_resized_as_they_are(plain: gn.Model, tmp_path: Path) -> None:
    (prediction,) = plain.predict(save(write(3), tmp_path / "3.png"))
    assert (prediction.preprocessing, prediction.unlike) == (None, None)
    assert prediction.pixels[0, 0, 0] == 1  # white paper stays white


def test_evaluate_reads_the_files_of_a_folder_as_predict_does(model: gn.Model, tmp_path: Path) -> None:
    from glassnet.training.evaluation_data import evaluation_data

    for digit in STROKES:
        (tmp_path / str(digit)).mkdir()
        save(write(digit, pen=6), tmp_path / str(digit) / "a.png")
    for digit in set(range(10)) - set(STROKES):  # the classes are those of the run
        (tmp_path / str(digit)).mkdir()
        save(write(7), tmp_path / str(digit) / "a.png")
    result = model.evaluate(evaluation_data(model, str(tmp_path)))
    assert result["accuracy"] == pytest.approx(len(STROKES) / 10)
