"""Tests of glassnet.training.resuming: what a resumed run says about its images. The rest is in test_loop."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet.compute import Compute
from glassnet.errors import ConfigError, RunError
from glassnet.progress import Progress
from glassnet.training.config import RunConfig
from glassnet.training.resuming import compute_of_run
from tests.training.runs import assert_same_run, dataset, train

# Settings of every kind, none of them the default.
OWN: dict[str, Any] = {"recipe": "tutorial", "width": 4, "dropout": 0.25, "lr": 0.1, "batch_size": 50, "epochs": 3}
OWN |= {"seed": 5, "dtype": "float64", "kernels": "plain", "samples": 100, "evaluate_train": True, "ink": False}


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


def test_resume_names_images_that_changed_rather_than_their_measured_size(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "images")
    run = train(gn.load_data(folder), tmp_path / "run", stop_after_epoch=1).path
    for path in folder.rglob("*.png"):
        Image.open(path).resize((12, 12)).save(path)
    with pytest.raises(RunError, match=r"is no longer what .*run was trained on: \d+ images .* Restore the images"):
        go_on(run, gn.load_data(folder))


def go_on(run: Path, data: Any = "digits", model: str | None = None, **given: Any) -> gn.Run:
    """Resume a run with these settings alone."""
    return gn.train(model, data, run=run, resume=True, report=False, **{"progress": Progress(), **given})


class Lines(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("model", [None, "tiny"])
def test_resume_takes_the_settings_of_the_run(tmp_path: Path, model: str | None) -> None:
    train("digits", tmp_path / "whole", **OWN)
    train("digits", tmp_path / "parts", **OWN, stop_after_epoch=1)
    log = Lines()
    assert len(go_on(tmp_path / "parts", model=model, progress=log).history) == 3
    assert "[NumPy] resumes after epoch 1, with the run's own settings" in log.lines
    assert not any("settings other than the defaults" in line for line in log.lines)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    configs = [gn.load(tmp_path / name).config for name in ("whole", "parts")]
    assert configs[0] == configs[1]


def test_resume_takes_the_form_of_the_images_from_the_run(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "images")
    form = {"image_size": 8, "fit": "pad", "value_range": (0, 200), "max_pixels": 500, "max_unreadable": 0.5}
    run = train(folder, tmp_path / "run", stop_after_epoch=1, **form).path
    before = gn.load(run).config["data"]
    assert len(go_on(run, folder).history) == 2
    assert gn.load(run).config["data"] == before


def test_resume_names_all_settings_that_are_given_and_differ(tmp_path: Path) -> None:
    run = train("digits", tmp_path / "run", **OWN, stop_after_epoch=1).path
    told = (
        f"seed must be 5, spec.width 4, recipe.lr 0.1, recipe.epochs 3 and data.samples 100 to resume {run}. Got 6, 8, "
        "0.2, 4 and 200. Leave them out to go on with the run's own, or train in another folder."
    )
    with pytest.raises(RunError) as raised:
        go_on(run, seed=6, width=8, lr=0.2, epochs=4, samples=200, batch_size=50, threads=1)
    assert str(raised.value) == told
    with pytest.raises(RunError, match="^spec.preset must be 'tiny' to resume .*. Got 'tiny-bn'. Leave it out to go"):
        go_on(run, model="tiny-bn")
    with pytest.raises(ConfigError, match="model must be one of .* Got 'tniy'; did you mean 'tiny'"):
        go_on(run, model="tniy")
    assert len(go_on(run, threads=1).history) == 3


def test_compute_of_run_is_that_of_the_run_on_its_engine_alone(tmp_path: Path) -> None:
    config = train(dataset(range(40), range(100, 120)), tmp_path / "run", epochs=1).path / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values |= {"engine": "torch", "dtype": "float64", "compile": True, "threads": 7, "device": "cuda:1", "devices": 2}
    stored = RunConfig.parse({**values, "precision": "32-true"}, config)
    own = Compute(engine="torch", dtype="float64", compile=True, precision="32-true")
    assert compute_of_run(stored, None) == compute_of_run(stored, "torch") == own
    assert compute_of_run(stored, "numpy") == Compute(dtype="float64")
    assert compute_of_run(None, None) == Compute()
