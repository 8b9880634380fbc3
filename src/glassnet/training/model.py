"""A trained model, loaded from its run folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.classification import Outcome, evaluation_numbers
from glassnet.data import Dataset, Likeness, Normalization, load_data
from glassnet.engines import Network, build
from glassnet.errors import DataError
from glassnet.nn.checks import check_int
from glassnet.nn.functional import softmax
from glassnet.training.config import RunConfig
from glassnet.training.input_images import ImageReader, Images, InputImage
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
        self._reader = ImageReader(network.spec, self.normalization, data.get("ink", False), likeness)

    def __repr__(self) -> str:
        network, epochs = self.network, len(self.history)
        return (
            f"Model({str(self.path)!r}, {network.spec.preset}, {len(self.classes)} classes, "
            f"{network.parameter_count:,} parameters, {epochs} {'epoch' if epochs == 1 else 'epochs'})"
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
        probabilities = softmax(self.network.logits(np.concatenate([image.values for image in inputs])))
        return [self._prediction(image, row, top) for image, row in zip(inputs, probabilities, strict=True)]

    def _prediction(self, image: InputImage, probabilities: NDArray[Any], top: int) -> Prediction:
        order = np.argsort(-probabilities, kind="stable")[:top]
        ranked = [(self.classes[index], float(probabilities[index])) for index in order]
        return Prediction(*ranked[0], ranked, image.preprocessing, image.unlike, image.pixels)

    def evaluate(self, data: Dataset, outcome: Outcome | None = None) -> dict[str, Any]:
        """Return the numbers of the data's test split: loss, accuracy and count, and many more.

        They are those of ``glassnet.classification.evaluation_numbers``: the accuracy's interval, the balanced and the
        top-k accuracies, the calibration error, the scores of each class and the most frequent confusions.

        :param outcome: that of ``outcome(data)`` if it is known; by default it is computed.
        :raises DataError: if the data has other classes, channels or, for a flatten head, another size.
        """
        return evaluation_numbers(outcome or self.outcome(data), self.classes)

    def outcome(self, data: Dataset) -> Outcome:
        """Return the predicted class and its probability for each image of the data's test split.

        :raises DataError: if the data has other classes, channels or, for a flatten head, another size.
        """
        if not isinstance(data, Dataset):
            raise DataError(f"data must be a Dataset, as glassnet.load_data returns. Got {data!r}.")
        if data.classes != self.classes:
            raise DataError(f"classes of the data must be {self.classes}, as in the model. Got {data.classes}.")
        device_split = self.network.to_device(data.test, dataclasses.replace(self.normalization, scale=data.scale))
        return self.network.evaluate(device_split)

    def load_dataset(self) -> Dataset:
        """Load the data that the model was trained on.

        :raises DataError: if it cannot be loaded again, or is no longer the same.
        """
        return load_run_dataset(self.path, self.config)


def load(run: str | PathLike[str], weights: str | None = None, engine: str = "numpy") -> Model:
    """Load the model of a run folder.

    :param weights: ``best`` or ``last``; None means the best weights if validation selected some, otherwise the last.
    :param engine: computes, whichever engine trained, in the training's dtype.
    :raises RunError: if the folder is missing, or holds no run, no finished epoch or a run of another format.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    path = folder.weights_path(weights)
    settings = RunConfig.parse(config, folder.config_path)
    network = build(settings.spec, engine, settings.seed, settings.dtype)
    model = Model(folder.path, config, network, folder.read_records())
    network.load_state_dict(load_weights(path))
    return model


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
        raise DataError(f"The data in {data.source} is no longer what {path} was trained on.")
    return dataset
