"""A trained model, loaded from its run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.classification import Outcome, evaluation_numbers
from glassnet.data import Dataset, Likeness, Normalization, load_data
from glassnet.data.files.file_search import find_files
from glassnet.data.images.image_form import MAX_PIXELS, ImageForm
from glassnet.engines import Network, build
from glassnet.engines.base import EVAL_BATCH_SIZE
from glassnet.errors import DataError, class_error
from glassnet.formats import pluralize
from glassnet.nn.checks import check_int
from glassnet.training.config import RunConfig
from glassnet.training.file_predictions import FilePrediction, FilePredictor, rank_classes
from glassnet.training.image_table import ImageTable
from glassnet.training.input_images import ImageReader, Images
from glassnet.training.log_line import name_test_set
from glassnet.training.run_files import Record
from glassnet.training.run_folder import RunFolder
from glassnet.weights import load_weights


@dataclass(frozen=True)
class Prediction:
    """The predicted class of an image, its probability, and the most probable classes, best first.

    ``pixels`` is the image that the network read, float32 (H, W, C) from 0 to 1. Of runs on the built-in digits,
    ``preprocessing`` is what was done to a file, and ``unlike`` the reason why the image looks unlike the training
    images; both are None otherwise.
    """

    label: str
    probability: float
    top: list[tuple[str, float]]
    preprocessing: str | None
    unlike: str | None
    pixels: NDArray[np.float32] = field(compare=False, repr=False)


class Model:
    """The model of a run folder: ``network``, ``config``, ``classes``, ``normalization`` and ``history``."""

    def __init__(self, path: Path, config: dict[str, Any], network: Network, history: list[Record]) -> None:
        self.path, self.config, self.network, self.history = path, config, network, history
        data = config["data"]
        self.classes: list[str] = data["classes"]
        self.normalization = Normalization(data["scale"], tuple(data["mean"]), tuple(data["std"]))
        likeness = Likeness.from_dict(data["likeness"]) if data.get("likeness") else None
        self._reader = ImageReader(_image_form(network, data), self.normalization, data.get("ink", False), likeness)

    def __repr__(self) -> str:
        network, epochs = self.network, len(self.history)
        return (
            f"Model({str(self.path)!r}, {network.spec.preset}, {len(self.classes)} classes, "
            f"{network.parameter_count:,} parameters, {pluralize(epochs, 'epoch')})"
        )

    def predict(self, images: Images, top: int = 5) -> list[Prediction]:
        """Classify image files, or uint8 arrays (H, W, C) or (N, H, W, C) in the pixel values of the training data.

        Files may have any size and mode; they are decoded as the images of a training folder are. Of a run on the
        built-in digits they are drawn digits of any colour, place and size, which are brought to the form of the
        training images, unless the run was trained with ``ink=False``.

        :raises DataError: if a file cannot be read, or an array has another dtype or shape.
        """
        top = check_int("top", top)
        inputs = self._reader.read(images, self.network.dtype)
        if not inputs:
            return []
        logits = self.network.logits(np.concatenate([image.values for image in inputs]))
        return [
            Prediction(*ranked[0], ranked, image.preprocessing, image.unlike, image.pixels)
            for image, ranked in zip(inputs, rank_classes(logits, self.classes, top), strict=True)
        ]

    def predict_files(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        top: int = 5,
        batch_size: int = EVAL_BATCH_SIZE,
        max_pixels: int | None = None,
    ) -> Generator[FilePrediction]:
        """Classify any number of image files: yield the prediction of each, in order, in bounded memory.

        The next files are decoded meanwhile, by processes of their own if there are many. A file that cannot be read
        has its ``error``, and the others are predicted. Files are decoded as by ``predict``.

        :param paths: files; folders, and zip or tar archives, which stand for all images in them, sorted; and patterns
            such as ``photos/**/*.jpg``. They are read as the predictions are.
        :param top: number of classes for each file.
        :param batch_size: number of images that the network computes at once.
        :param max_pixels: largest width · height of a file's image. Default: that of the training.
        :raises ConfigError: if a number is below 1.
        :raises DataError: if paths are something else, while they are read.
        """
        top, batch_size = check_int("top", top), check_int("batch_size", batch_size)
        reader = self._reader if max_pixels is None else self._reader.with_limit(max_pixels)
        return FilePredictor(self.network, self.classes, reader, top, batch_size).predict(find_files(paths))

    @cached_property
    def images(self) -> ImageTable:
        """The images of the run, and those of the runs that its initial weights come from.

        :raises RunError: if their file is missing or damaged.
        """
        return RunFolder(self.path).read_images()

    def evaluate(self, data: Dataset, outcome: Outcome | None = None) -> dict[str, Any]:
        """Return the numbers of the data's test split: loss, accuracy and count, and many more.

        They are those of ``glassnet.classification.evaluation_numbers``: the accuracy's interval, the balanced and the
        top-k accuracies, the calibration error, the scores of each class and the most frequent confusions.

        ``split`` is what the data calls its test split. ``contaminated`` is the number of its images that the run, or
        one that its initial weights come from, was trained on: equal files, or arrays of equal pixels. With any
        ``test_accuracy`` is None, otherwise it is the accuracy.

        :param outcome: that of ``outcome(data)`` if it is known; by default it is computed.
        :raises DataError: if the data has other classes, channels or, for a flatten head, another size.
        """
        numbers = evaluation_numbers(outcome or self.outcome(data), self.classes)
        contaminated = self.images.count_trained(data.test)
        test_accuracy = None if contaminated else numbers["accuracy"]
        return {"split": data.test_name, "test_accuracy": test_accuracy, "contaminated": contaminated, **numbers}

    def name_test_set(self, data: Dataset | None = None) -> str:
        """Return the name of the test set in texts: ``evaluated`` if the run was trained on images in it.

        :param data: the data of the test set; by default that of the training.
        """
        if data is None:
            return name_test_set(self.history[-1] if self.history else {}, self.config["data"].get("test_name", "test"))
        return name_test_set({"contaminated": self.images.count_trained(data.test)}, data.test_name)

    def outcome(self, data: Dataset) -> Outcome:
        """Return the predicted class and its probability for each image of the data's test split.

        :raises DataError: if the data has other classes, channels or, for a flatten head, another size.
        """
        if not isinstance(data, Dataset):
            raise DataError(f"data must be a Dataset, as glassnet.load_data returns. Got {data!r}.")
        if data.classes != self.classes:
            raise class_error(self.classes, data.classes)
        return self.network.evaluate(data.test, dataclasses.replace(self.normalization, scale=data.scale))

    def load_dataset(self) -> Dataset:
        """Load the data that the model was trained on.

        :raises DataError: if it cannot be loaded again, or is no longer the same.
        """
        return load_run_dataset(self.path, self.config)


def _image_form(network: Network, data: dict[str, Any]) -> ImageForm:
    """Return the form in which the run's images were decoded."""
    low_and_high = data.get("value_range")
    return ImageForm(
        network.spec.size,
        network.spec.in_channels,
        data.get("fit", "crop"),
        tuple(low_and_high) if low_and_high else None,
        data.get("max_pixels") or MAX_PIXELS,
    )


def load(run: str | PathLike[str], weights: str | None = None, engine: str = "numpy", **compute: Any) -> Model:
    """Load the model of a run folder.

    :param weights: ``best`` or ``last``; None means the best weights if validation selected some, otherwise the last.
    :param engine: computes, whichever engine trained.
    :param compute: further fields of ``Compute``, such as ``device``. The dtype is the training's by default.
    :raises RunError: if the folder is missing, or holds no run, no finished epoch or a run of another format.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    path = folder.weights_path(weights)
    settings = RunConfig.parse(config, folder.config_path)
    compute = {"dtype": settings.dtype, **compute}
    network = build(settings.spec, engine, settings.seed, state=load_weights(path), **compute)
    return Model(folder.path, config, network, folder.read_records())


def load_run_dataset(path: Path, config: dict[str, Any]) -> Dataset:
    """Load the data that a run's configuration names.

    :raises DataError: if it cannot be loaded again, or is no longer the same.
    """
    data = RunConfig.parse(config, RunFolder(path).config_path).data
    if data.source in ("arrays", "imported"):
        origin = "it was trained on arrays" if data.source == "arrays" else "it was imported without data"
        raise DataError(f"{path} holds no images: {origin}. Pass the data, as in --data digits.")
    try:
        dataset = load_data(**data.load_arguments())
    except DataError as error:
        raise DataError(
            f"The data of {path} cannot be loaded again: {error} Pass it from where it is now (--data)."
        ) from None
    if dataset.fingerprint != data.fingerprint:
        changed = describe_change(data.source, path, RunFolder(path).read_images(), dataset)
        raise DataError(f"{changed} To evaluate the run on what is there now, pass it: --data {data.source}.")
    return dataset


def describe_change(source: str, run: Path, images: ImageTable, now: Dataset) -> str:
    """Return a sentence on what changed in a source since a run was trained on its images.

    :param images: those of the run.
    """
    place = "" if source == "arrays" else f" in {source}"
    return f"The data{place} is no longer what {run} was trained on: {images.describe_changes(now)}."
