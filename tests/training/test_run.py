"""Tests of glassnet.training.run: the images that a run keeps, and those that it must not be tested on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.training.run_folder import RunFolder
from tests.recorded_log import Log
from tests.training.runs import dataset, pool, train


def table_of(run: Path) -> dict[str, list[str]]:
    rows = RunFolder(run).read_images().rows
    return {split: [row.name for row in rows if row.split == split] for split in dict.fromkeys(row[0] for row in rows)}


def names(numbers: range) -> list[str]:
    return [f"{number}.png" for number in numbers]


def test_train_keeps_the_images_and_their_splits(tmp_path: Path) -> None:
    run = train(dataset(range(40), range(40, 60), range(60, 70)), tmp_path / "run").path
    validation, test = names(range(60, 70)), names(range(40, 60))
    assert table_of(run) == {"train": names(range(40)), "validation": validation, "test": test}
    data = json.loads((run / "config.json").read_text(encoding="utf-8"))["data"]
    assert (data["train"], data["validation"], data["test"], data["test_name"]) == (40, 10, 20, "test")
    first = (run / "images.csv.gz").read_bytes()
    again = train(dataset(range(40), range(40, 60), range(60, 70)), tmp_path / "again").path
    assert (again / "images.csv.gz").read_bytes() == first


def test_train_selects_the_epoch_by_the_validation_images_of_the_data(tmp_path: Path) -> None:
    data = dataset(range(40), range(40, 60), range(60, 70))
    run = train(data, tmp_path / "run", epochs=3)
    accuracies = [record["validation_accuracy"] for record in run.history]
    model = gn.load(run.path, "best")
    held = gn.Dataset.from_splits(data.train, data.validation, data.classes)
    assert model.evaluate(held)["accuracy"] == max(accuracies)
    assert model.evaluate(held)["contaminated"] == 10  # they chose the epoch
    with pytest.raises(ConfigError, match="validation_fraction must be 0 for data with validation images of its own"):
        train(data, tmp_path / "other", validation_fraction=0.1)


def test_summary_is_of_the_weights_that_load_takes(digits: gn.Dataset, tmp_path: Path) -> None:
    run = train(digits, tmp_path / "run", validation_fraction=0.2, epochs=3, lr=0.5, seed=1)
    best = RunFolder(run.path).read_checkpoint().best_epoch
    assert best is not None
    record = run.history[best - 1]
    accuracy, loss = f"{record['test_accuracy']:.1%}", f"{record['test_loss']:.4f}"
    assert run.summary == f"Test accuracy {accuracy}, loss {loss}, after epoch {best}, which validation chose"
    assert train(digits, tmp_path / "last").summary.endswith("after epoch 2")


def test_train_keeps_equal_images_on_one_side_of_validation(tmp_path: Path) -> None:
    images = pool(30)
    twice = images.take(np.tile(np.arange(30), 3))
    data = gn.Dataset.from_splits(twice, images.take(np.arange(2)), ["a", "b"])
    table = RunFolder(train(data, tmp_path / "run", validation_fraction=0.2).path).read_images()
    hashes = {split: [row.hash for row in table.rows if row.split == split] for split in ("train", "validation")}
    assert not set(hashes["train"]) & set(hashes["validation"])
    assert len(hashes["validation"]) == 18  # 6 of the 30 different images, three times each


def test_train_names_no_test_accuracy_for_images_that_an_ancestor_trained_on(tmp_path: Path) -> None:
    first = train(dataset(range(40), range(100, 120)), tmp_path / "first")
    assert first.metrics["contaminated"] == 0
    second = train(dataset(range(50, 70), range(100, 120)), tmp_path / "second", model=None, init=first.path)
    log = Log()
    data = dataset(range(70, 90), range(30, 60))
    third = train(data, tmp_path / "third", model=None, init=second.path, progress=log, evaluate_train=True)
    assert table_of(third.path)["ancestor"] == [*names(range(50, 70)), *names(range(40))]
    for record in third.history:
        assert (record["contaminated"], record["test_accuracy"], record["test_loss"]) == (20, None, None)
    assert third.metrics["evaluated_accuracy"] == gn.load(third.path).evaluate(data)["accuracy"]
    assert any(
        "20 of 30 test images are among the training images of this run or of the runs that its weights" in line
        for line in log.lines
    )
    text = "\n".join([*log.lines[-3:], repr(third), third.summary])
    assert "test accuracy" not in text.lower()
    assert "test loss" not in text
    accuracy = f"{third.metrics['evaluated_accuracy']:.1%}"
    assert f"epoch 2 of 2, evaluated accuracy {accuracy} (20 of its images were trained on)" in repr(third)
    assert third.summary.startswith(f"Evaluated accuracy {accuracy} (20 of its images were trained on), loss ")
    resumed = train(data, tmp_path / "third", model=None, init=second.path, resume=True, evaluate_train=True)
    assert resumed.history == third.history


def test_train_counts_test_images_that_are_training_images(tmp_path: Path) -> None:
    run = train(dataset(range(40), range(39, 60)), tmp_path / "run")
    assert (run.metrics["contaminated"], run.metrics["test_accuracy"]) == (1, None)
    assert "(1 of its images was trained on)" in run.summary
    result = gn.load(run.path).evaluate(dataset(range(40), range(39, 60)))
    assert (result["contaminated"], result["test_accuracy"]) == (1, None)


def test_train_inherits_images_from_a_weights_file_in_its_run_folder(tmp_path: Path) -> None:
    first = train(dataset(range(40), range(100, 120)), tmp_path / "first")
    weights, data = first.path / "last.safetensors", dataset(range(50, 70), range(30, 60))
    run = train(data, tmp_path / "run", init=weights)
    assert table_of(run.path)["ancestor"] == names(range(40))
    assert run.metrics["contaminated"] == 20
    elsewhere = train(data, tmp_path / "other", init=shutil.copy(weights, tmp_path))
    assert "ancestor" not in table_of(elsewhere.path)
    assert elsewhere.metrics["contaminated"] == 10  # its own alone: the file says nothing about images


def test_import_weights_inherits_images_from_a_weights_file_in_its_run_folder(tmp_path: Path) -> None:
    first = train(dataset(range(40), range(100, 120)), tmp_path / "first")
    options = {"classes": ["a", "b"], "mean": [0.5], "std": [0.2], "model": gn.load(first.path).network.spec}
    model = gn.import_weights(first.path / "last.safetensors", run=tmp_path / "run", **options)
    assert model.evaluate(dataset(range(50, 70), range(30, 60)))["contaminated"] == 10
    copied = gn.import_weights(shutil.copy(first.path / "last.safetensors", tmp_path), run=tmp_path / "b", **options)
    assert copied.evaluate(dataset(range(50, 70), range(30, 60)))["contaminated"] == 0


def test_train_says_val_where_the_data_does(tmp_path: Path) -> None:
    log = Log()
    run = train(dataset(range(40), range(40, 60), test_name="val"), tmp_path / "run", progress=log)
    assert run.metrics["test_accuracy"] is not None
    assert "val loss" in log.lines[-2]
    assert "test" not in log.lines[-2]
    assert ", val accuracy " in repr(run)
    assert run.summary.startswith("Val accuracy ")
    assert gn.load(run.path).evaluate(dataset(range(40), range(40, 60), test_name="val"))["split"] == "val"


def test_train_logs_and_keeps_the_notes_of_the_data(tmp_path: Path) -> None:
    log, data = Log(), dataset(range(40), range(40, 60))
    data.notes.append("Two images are upside down.")
    run = train(data, tmp_path / "run", progress=log)
    assert sum("Two images are upside down." in line for line in log.lines) == 1
    assert gn.load(run.path).config["data"]["notes"] == ["Two images are upside down."]
