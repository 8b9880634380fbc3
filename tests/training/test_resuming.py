"""Tests of glassnet.training.resuming: what a resumed run says about its images. The rest is in test_loop."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glassnet.errors import RunError
from tests.training.runs import dataset, train


def test_resume_raises_for_other_images_by_name(tmp_path: Path) -> None:
    train(dataset(range(40), range(100, 120)), tmp_path / "run", stop_after_epoch=1)
    told = r"run was trained on: 2 images added \(40.png, 41.png\), 1 removed \(100.png\)\. Restore the images, or"
    with pytest.raises(RunError, match=told):
        train(dataset(range(42), range(101, 120)), tmp_path / "run", resume=True)


def test_resume_names_the_setting_that_differs_rather_than_the_images(tmp_path: Path) -> None:
    data = dataset(range(40), range(100, 120))
    train(data, tmp_path / "run", stop_after_epoch=1, validation_fraction=0.2, seed=1)
    with pytest.raises(RunError, match="seed must be 1 to resume"):
        train(data, tmp_path / "run", validation_fraction=0.2, seed=2, resume=True)


@pytest.mark.parametrize("content", [None, b"", b"half"])
def test_resume_raises_for_a_missing_or_damaged_list_of_images(tmp_path: Path, content: bytes | None) -> None:
    data = dataset(range(40), range(100, 120))
    run = train(data, tmp_path / "run", stop_after_epoch=1).path
    (run / "images.csv.gz").unlink() if content is None else (run / "images.csv.gz").write_bytes(content)
    with pytest.raises(RunError, match=r"images.csv.gz must be the list of the run's images\. Got: .*\."):
        train(data, run, resume=True)


def test_resume_takes_images_under_other_names(tmp_path: Path) -> None:
    data = dataset(range(40), range(100, 120))
    train(data, tmp_path / "run", stop_after_epoch=1)
    data.train.names = tuple(f"new-{name}" for name in data.train.names or ())
    assert len(train(data, tmp_path / "run", resume=True).history) == 2


def images_in(folder: Path) -> Path:
    for number in range(40):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (10, 10), dtype=np.uint8)).save(path)
    return folder


def test_resume_takes_a_folder_with_another_file_that_is_no_image(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "images")
    run = train(folder, tmp_path / "run", stop_after_epoch=1).path
    (folder / "labels.txt").write_text("a and b", encoding="utf-8")
    assert len(train(folder, run, resume=True).history) == 2
    assert "labels.txt" in str(json.loads((run / "config.json").read_text(encoding="utf-8"))["data"]["notes"])


def test_resume_names_the_size_that_differs_rather_than_the_images(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "images")
    run = train(folder, tmp_path / "run", stop_after_epoch=1).path
    with pytest.raises(RunError, match=r"data.image_size must be \(10, 10\) to resume .* Got \(8, 8\)\."):
        train(folder, run, image_size=8, resume=True)
    (folder / "a/0.png").unlink()
    with pytest.raises(RunError, match=r"was trained on: 1 image removed \(a/0.png\)\."):
        train(folder, run, resume=True)
