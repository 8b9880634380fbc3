"""The images that travel in the live page: all of small data, or some test images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset, Split
from glassnet.recipe import Recipe
from glassnet.training import Model
from glassnet.training.loop import split_validation

MAX_PIXEL_BYTES = 300_000  # of data that travels whole
MAX_TRAINED = 58_000  # parameters of a network that such data trains
N_SAMPLED, N_CLASSIFIED = 64, 2048  # test images of larger data, and how many are classified to find errors among them


@dataclass(frozen=True)
class PageImages:
    """Images of the training steps, empty unless the data travels whole, and of the test set; ``scale`` is white."""

    train: Split
    test: Split
    n_data: int  # test images of the data
    scale: float
    is_complete: bool
    is_other: bool = False  # than the data of the run's training

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return ``images.`` and ``labels.`` of ``train`` and ``test``: uint8 (N, C, H, W) and int64 (N,)."""
        tensors: dict[str, NDArray[Any]] = {}
        for name, split in (("train", self.train), ("test", self.test)):
            tensors[f"images.{name}"] = split.pixels(range(len(split))).transpose(0, 3, 1, 2)
            tensors[f"labels.{name}"] = split.labels
        return tensors


def select_images(model: Model, dataset: Dataset | None, recipe: Recipe) -> PageImages:
    """Return the images of the page.

    Data of at most ``MAX_PIXEL_BYTES`` travels whole with a network of at most ``MAX_TRAINED``, since its initial
    weights then travel, too: the images that the run's steps used, without those held out for validation, and all test
    images. Of other data, and of data that is not the run's, the page has ``N_SAMPLED`` test images. Half of them are
    misclassified, if there are as many: the most confident errors, which come first.

    :param dataset: None for a page without images.
    """
    none = _no_images(model)
    if dataset is None:
        return PageImages(none, none, 0, model.normalization.scale, is_complete=False)
    is_other = dataset.fingerprint != model.config["data"]["fingerprint"]
    n_data, scale = len(dataset.test), dataset.scale
    is_small = dataset.train.nbytes + dataset.test.nbytes <= MAX_PIXEL_BYTES
    if not is_other and is_small and model.network.parameter_count <= MAX_TRAINED:
        return PageImages(split_validation(dataset, recipe)[0], dataset.test, n_data, scale, is_complete=True)
    sample = _errors_first(model, dataset)
    return PageImages(none, sample, n_data, scale, is_complete=False, is_other=is_other)


def _no_images(model: Model) -> Split:
    shape = (0, *model.network.spec.size, model.network.spec.in_channels)
    return Split(np.empty(shape, np.uint8), np.empty(0, np.int64))


def _errors_first(model: Model, dataset: Dataset) -> Split:
    n_classified = min(len(dataset.test), N_CLASSIFIED)
    test = dataset.test.take(_spread(len(dataset.test), n_classified))
    outcome = model.network.evaluate(test, dataclasses.replace(model.normalization, scale=dataset.scale))
    by_confidence = np.argsort(-outcome.confidence, kind="stable")
    is_error = (outcome.predicted != outcome.labels)[by_confidence]
    errors, correct = by_confidence[is_error], np.sort(by_confidence[~is_error])
    n_errors = min(len(errors), max(N_SAMPLED // 2, N_SAMPLED - len(correct)))
    n_correct = min(len(correct), N_SAMPLED - n_errors)
    return test.take(np.concatenate([errors[:n_errors], correct[_spread(len(correct), n_correct)]]))


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Return ``wanted`` indices of 0..count-1 at equal distances."""
    return np.linspace(0, max(0, count - 1), wanted).round().astype(np.int64)
