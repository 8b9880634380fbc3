"""Runs that say what a test wants them to say."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import glassnet as gn
from glassnet.errors import DataError
from glassnet.training.image_table import ImageTable

CLASSES = ["cat", "dog", "owl"]
SPEC = {"preset": "tiny", "pool": "max", "skip": True}
RECIPE = {"epochs": 2, "lr": 0.1, "seed": 42, "validation_fraction": 0.0}


def data(count: int = 30) -> gn.Dataset:
    """Noise in three classes, ``count`` test images."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (number, 8, 8, 1)).astype(np.uint8) for number in (6, count))
    return gn.Dataset(train, np.arange(6) % 3, CLASSES, test_images=test, test_labels=np.arange(count) % 3)


DATA = data()
RIGHT = DATA.test.labels.tolist()


def wrong_on(*places: int, labels: Sequence[int] = tuple(RIGHT)) -> list[int]:
    """The right names, but at these places the next class's."""
    return [(label + 1) % 3 if place in places else label for place, label in enumerate(labels)]


def fake_run(
    path: str | Path,
    named: Sequence[int] = tuple(RIGHT),
    *,
    seconds: Sequence[float] = (2.0, 1.0),
    parameters: int = 1000,
    dataset: gn.Dataset = DATA,
    engine: str = "numpy",
    spec: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    seed: int = 42,
    machine: str = "Linux",
    fingerprint: str | None = "",
) -> Any:
    """A run that names the test images so, each with probability 0.8."""
    probabilities = np.full((len(named), 3), 0.1)
    probabilities[np.arange(len(named)), named] = 0.8
    accuracy = float((np.array(named) == dataset.test.labels).mean())
    described = {"source": "noise", "fingerprint": dataset.fingerprint if fingerprint == "" else fingerprint}
    described |= {"classes": dataset.classes, "train": len(dataset.train), "test": len(dataset.test)}
    measured = {"loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.75, "test_accuracy": accuracy}

    def load_dataset() -> gn.Dataset:
        raise DataError(f"{path} was trained on arrays.")

    return SimpleNamespace(
        path=Path(path),
        classes=dataset.classes,
        config={
            "format": 1,
            "engine": engine,
            "device": "cpu",
            "seed": seed,
            "spec": SPEC | (spec or {}),
            "recipe": RECIPE | (recipe or {}),
            "data": described,
            "versions": {"platform": machine},
        },
        history=[{"epoch": epoch, "seconds": value} | measured for epoch, value in enumerate(seconds, start=1)],
        network=SimpleNamespace(parameter_count=parameters, engine_title="NumPy", probabilities=probabilities),
        normalization=None,
        load_dataset=load_dataset,
        images=ImageTable(),
        name_test_set=lambda data=None: "test",
    )
