"""Tests of glassnet.training.evaluation_data."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.errors import ConfigError, DataError
from glassnet.progress import Progress
from glassnet.training.evaluation_data import data_for_model, evaluation_data


def images(folder: Path, count: int, seed: int = 0, mode: str = "RGB") -> Path:
    rng = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{number}.png")
    return folder


class TestEvaluationData:
    @pytest.fixture
    def model(self, tmp_path: Path) -> gn.Model:
        """Trained on 18 of 24 images, two more of which cannot be read."""
        own = images(tmp_path / "own", 12)
        for number in range(2):
            (own / "cat" / f"bad{number}.png").write_bytes(b"hello")
        train = {"run": tmp_path / "run", "epochs": 1, "max_unreadable": 0.1, "progress": Progress()}
        return gn.load(gn.train("tiny", own, report=False, **train).path)

    def test_all_of_a_folder_without_a_split(self, model: gn.Model, tmp_path: Path) -> None:
        held = images(tmp_path / "held", 16, seed=1)
        assert model.evaluate(evaluation_data(model, str(held)))["count"] == 32
        held.rename(tmp_path / "test")
        (tmp_path / "folder").mkdir()
        (tmp_path / "test").rename(tmp_path / "folder/test")
        assert len(evaluation_data(model, str(tmp_path / "folder")).test) == 32

    def test_of_the_runs_own_data_what_was_held_out(self, model: gn.Model, tmp_path: Path) -> None:
        own = model.load_dataset()
        for source in (None, tmp_path / "own", shutil.copytree(tmp_path / "own", tmp_path / "copy")):
            assert evaluation_data(model, source and str(source)).fingerprint == own.fingerprint

    def test_of_the_runs_own_data_that_has_grown_what_is_held_out(self, model: gn.Model, tmp_path: Path) -> None:
        before = set(model.load_dataset().test.names or ())
        for number in range(12):
            (images(tmp_path / "more", 12, seed=2) / f"cat/{number}.png").rename(tmp_path / f"own/cat/more{number}.png")
            shutil.rmtree(tmp_path / "more")
        told = r"The data in .*own is no longer what .*run was trained on: 12 images added \(cat/more0.png, cat/more1.p"
        with pytest.raises(DataError, match=told + r".*\. To evaluate the run on what is there now, pass it: --data "):
            model.load_dataset()
        for source in (tmp_path / "own", shutil.copytree(tmp_path / "own", tmp_path / "copy")):
            data = evaluation_data(model, str(source))
            assert before < set(data.test.names or ())
            assert len(data.test) < len(data.train)
            assert model.evaluate(data)["contaminated"] == 0

    def test_a_note_where_a_part_of_the_images_is_taken(self, model: gn.Model, tmp_path: Path) -> None:
        data = evaluation_data(model, str(tmp_path / "own"))
        own = f"{tmp_path / 'own'} has most of the images that {tmp_path / 'run'} was trained on. "
        assert data.notes[-1] == f"{own}Of its 24 images the {len(data.test)} that the run's split holds out are used."

    def test_all_of_a_folder_with_many_copies_of_a_few_training_images(self, model: gn.Model, tmp_path: Path) -> None:
        other = images(tmp_path / "other", 12, seed=3)
        name = (model.load_dataset().train.names or ("",))[0]
        for number in range(30):
            shutil.copy(tmp_path / "own" / name, other / "cat" / f"copy{number}.png")
        assert len(evaluation_data(model, str(other)).test) == 54

    def test_all_of_a_folder_with_some_images_that_were_trained_on(self, model: gn.Model, tmp_path: Path) -> None:
        held = images(tmp_path / "held", 10, seed=1)
        trained = model.load_dataset().train.names or ()
        for number, name in enumerate(trained[:3] + trained[-3:]):
            shutil.copy(tmp_path / "own" / name, held / Path(name).parent / f"copy{number}.png")
        result = model.evaluate(evaluation_data(model, str(held)))
        assert (result["count"], result["contaminated"], result["test_accuracy"]) == (26, 6, None)
        assert 0 <= result["accuracy"] <= 1

    def test_other_images_in_the_form_of_the_run(self, tmp_path: Path) -> None:
        for name, low in (("own/cat", 300), ("own/dog", 500), ("held/cat", 400), ("held/dog", 900)):
            (tmp_path / name).mkdir(parents=True)
            for number in range(16):
                values = np.random.default_rng(low + number).integers(low, low + 100, (8, 16), np.uint16)
                Image.fromarray(values).save(tmp_path / name / f"{number}.tif")
        train = {"run": tmp_path / "run", "epochs": 1, "image_size": 8, "fit": "squash", "progress": Progress()}
        model = gn.load(gn.train("tiny", tmp_path / "own", report=False, **train).path)
        own, held = model.load_dataset(), evaluation_data(model, str(tmp_path / "held"))
        low, high = own.source["value_range"]
        assert 299 < low < 301
        assert 598 < high < 600
        assert (own.source["fit"], held.source["fit"]) == ("squash", "squash")
        assert held.source["value_range"] == [low, high]
        assert held.test.images[held.test.labels == 1].min() == 255  # all are above the range of the training images

    def test_a_part_of_the_classes(self, model: gn.Model, tmp_path: Path) -> None:
        held = images(tmp_path / "held", 10, seed=1)
        shutil.rmtree(held / "dog")
        result = model.evaluate(evaluation_data(model, str(held)))
        assert (result["count"], result["contaminated"]) == (10, 0)
        assert result["test_accuracy"] == result["accuracy"]

    def test_the_test_folder_where_there_is_one(self, model: gn.Model, tmp_path: Path) -> None:
        images(tmp_path / "split/train", 12, seed=1)
        images(tmp_path / "split/test", 3, seed=2)
        assert len(evaluation_data(model, str(tmp_path / "split")).test) == 6

    def test_gray_images_in_colour(self, model: gn.Model, tmp_path: Path) -> None:
        gray = str(images(tmp_path / "gray", 8, seed=1, mode="L"))
        assert model.evaluate(evaluation_data(model, gray))["count"] == 16
        assert data_for_model(model, gray).channels == 3

    def test_as_many_unreadable_as_in_training(self, model: gn.Model, tmp_path: Path) -> None:
        held = images(tmp_path / "held", 12, seed=1)
        (held / "cat/0.png").write_bytes(b"hello")
        assert len(evaluation_data(model, str(held)).test) == 23

    def test_as_many_unreadable_as_requested(self, model: gn.Model, tmp_path: Path) -> None:
        other = images(tmp_path / "other", 4, seed=4)
        for number in range(4):
            (other / "cat" / f"bad{number}.png").write_bytes(b"hello")
        with pytest.raises(DataError, match="must have at most 3 unreadable images"):
            evaluation_data(model, str(other))
        data = evaluation_data(model, str(other), max_unreadable=0.5)
        assert (len(data.test), len(data.unreadable_files)) == (8, 4)

    def test_a_size_that_is_not_the_runs(self, model: gn.Model) -> None:
        with pytest.raises(
            ConfigError, match=r"run takes images of 8×8, 3 channels: channels must be 1, as the images"
        ):
            evaluation_data(model, "digits")
