"""The input of every check: a run, its images or both. Costly measures are made once, on first use."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.data import Dataset, Normalization, load_data
from glassnet.data.images.image_form import MAX_PIXELS, Fit
from glassnet.data.load_options import MAX_UNREADABLE
from glassnet.doctor.image_stats import DuplicateStats, find_duplicates
from glassnet.doctor.loss_range import loss_range
from glassnet.engines import Network, build
from glassnet.engines.class_weights import balanced_weights
from glassnet.errors import DataError, GlassnetError, RunError
from glassnet.recipe import Recipe
from glassnet.training.config import RunConfig
from glassnet.training.initial_weights import InitialWeights
from glassnet.training.model import load, load_run_dataset
from glassnet.training.run_files import Record
from glassnet.training.run_folder import RunFolder

# The parts that a check may require, and the reason to skip the check if the part is missing.
PARTS = {
    "run": "there is no run, only images",
    "recipe": "the run has no recipe: its weights were trained elsewhere",
    "history": "the run has no finished epoch",
    "weights": "the run has no weights",
    "data": "there are no images",
}
_MAX_VALUES = 4_000_000  # values in one layer's output: bounds the number of images that are computed together


class CheckContext:
    """A run folder, its images or both.

    ``missing`` has a reason for each missing part. ``config`` and ``spec`` (part run), ``recipe``, ``network`` (part
    weights), ``dataset`` (part data) and ``normalization`` (run or data) are set if their part is there. ``history``
    may be empty; ``failure`` is the record of what ended the training, or None.
    """

    config: RunConfig
    spec: ResNetSpec
    recipe: Recipe
    network: Network
    dataset: Dataset
    normalization: Normalization

    def __init__(
        self,
        path: Path | None = None,
        data: str | PathLike[str] | Dataset | None = None,
        *,
        image_size: int | None = None,
        fit: Fit | None = None,
        max_unreadable: float = MAX_UNREADABLE,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Read a run folder and its images, or other images in their place.

        :param data: a dataset or what ``load_data`` takes, with ``image_size``, ``fit``, ``max_unreadable`` and
            ``max_pixels``; the form of the images is the run's by default. Default: the images that the run was
            trained on.
        :raises RunError: if the folder is missing, damaged or no run folder.
        :raises DataError: if the images cannot be read or do not fit the run's network.
        """
        self.path = path
        self.history: list[Record] = []
        self.failure: Record | None = None
        self.missing: dict[str, str] = {}
        self.short_runs: dict[tuple[str, float], Any] = {}  # by what they change, for the checks that compare them
        if path is None:
            self.missing = {part: PARTS["run"] for part in PARTS if part != "data"}
        else:
            self._read_run(RunFolder(path))
        if isinstance(data, Dataset):
            self.dataset = data
        elif data is not None:
            size = self.spec.image_size if image_size is None and self.has("run") else image_size
            options: dict[str, Any] = {"fit": fit or "crop", "max_unreadable": max_unreadable, "max_pixels": max_pixels}
            if self.has("run"):
                own = self.config.data
                options |= {"channels": self.spec.in_channels, "value_range": own.value_range, "fit": fit or own.fit}
            self.dataset = load_data(data, image_size=size, **options)
        elif path is not None:
            self._load_run_data(path)
        self._set_normalization()
        if self.has("run", "data"):
            self._check_fit()

    def _read_run(self, folder: RunFolder) -> None:
        self.config = RunConfig.parse(folder.read_config(), folder.config_path)
        self.history, self.failure, self.spec = folder.read_records(), folder.read_failure(), self.config.spec
        if self.config.recipe is None:
            self.missing["recipe"] = self.missing["history"] = PARTS["recipe"]
        else:
            self.recipe = self.config.recipe
            if not self.history:
                self.missing["history"] = PARTS["history"]
        if folder.last_path.is_file():
            self.network = load(folder.path, "last").network
        else:
            self.missing["weights"] = f"{folder.path} has no {folder.last_path.name}"

    def _load_run_data(self, path: Path) -> None:
        try:
            self.dataset = load_run_dataset(path, self.config.to_dict())
        except GlassnetError as error:
            self.missing["data"] = str(error)

    def _set_normalization(self) -> None:
        """Set the normalization of the run's training, in the scale of the images."""
        if not self.has("run"):
            self.normalization = self.dataset.normalization
            return
        recorded = self.config.data
        is_same = not self.has("data") or self.dataset.fingerprint == recorded.fingerprint
        scale = recorded.scale if is_same else self.dataset.scale
        self.normalization = Normalization(scale, recorded.mean, recorded.std)

    def _check_fit(self) -> None:
        spec, dataset = self.spec, self.dataset
        for name, of_run, of_data in (
            ("classes", list(self.config.data.classes), dataset.classes),
            ("channels", spec.in_channels, dataset.channels),
            *([("image size", spec.size, dataset.image_size)] if spec.head == "flatten" else []),
        ):
            if of_run != of_data:
                raise DataError(f"The data's {name} must be {of_run}, as in {self.path}. Got {of_data}.")

    def has(self, *parts: str) -> bool:
        """Return whether all of these parts are there."""
        return not self.missing_reason(parts)

    def missing_reason(self, requires: tuple[str, ...]) -> str:
        """Return why the first missing one of these parts is missing; an empty text if all are there."""
        return next((self.missing[part] for part in requires if part in self.missing), "")

    @property
    def label_smoothing(self) -> float:
        """The label smoothing of the training losses; 0 without a recipe."""
        return self.recipe.label_smoothing if self.has("recipe") else 0.0

    @property
    def has_class_weights(self) -> bool:
        """Whether the training losses have class weights."""
        return self.has("recipe") and self.recipe.class_weights != "none"

    @property
    def loss_ratio(self) -> float:
        """The last epoch's training loss as in ``loss_ratio_to_chance``; infinite if the training failed or has no
        finished epoch."""
        if self.failure is not None or not self.history or self.history[-1].get("loss") is None:
            return math.inf
        return self.loss_ratio_to_chance(self.history[-1]["loss"])

    def loss_ratio_to_chance(self, loss: float) -> float:
        """Return a training loss on a scale from 0, the minimum under label smoothing, to 1, the loss of a network that
        gives every class the same probability."""
        minimum, chance = self.loss_range
        return (loss - minimum) / (chance - minimum)

    @cached_property
    def loss_range(self) -> tuple[float, float]:
        """The minimum of the training loss, and the loss of a network that gives every class the same probability."""
        if not (self.has_class_weights and self.label_smoothing):  # weights alone change neither
            return loss_range(np.ones(self.spec.classes), np.ones(self.spec.classes), self.label_smoothing)
        assert self.path is not None
        rows = RunFolder(self.path).read_images().rows
        trained = Counter(row.label for row in rows if row.split == "train")
        counts = np.array([trained[name] for name in self.config.data.classes])
        return loss_range(counts, balanced_weights(counts), self.label_smoothing)

    @cached_property
    def duplicates(self) -> DuplicateStats:
        """Statistics of the images that the data contains more than once."""
        return find_duplicates(self.dataset)

    @cached_property
    def initial_network(self) -> Network:
        """The network before the run's first step, on the NumPy engine.

        :raises GlassnetError: if the weights that the run started from are missing or have changed.
        """
        network = build(self.spec, "numpy", self.config.seed, threads=1)
        if recorded := self.config.init:
            initial_weights = InitialWeights.load(recorded["from"])
            if initial_weights.metadata != recorded:
                raise RunError(f"The weights in {recorded['from']} are no longer those that the training began with.")
            initial_weights.apply_to(network)
        return network

    def batch(self, max_count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return normalized training images, float32 (N, C, H, W), and their labels (N,): the same random ones in
        every call, at most ``max_count`` and fewer for a large network."""
        height, width = self.dataset.image_size
        max_images = _MAX_VALUES // (height * width * (self.spec.width if self.has("run") else 1))
        split = self.dataset.train
        count = max(2, min(max_count, max_images, len(split)))
        sample = np.random.default_rng(0).permutation(len(split))[:count]
        return self.normalization.apply(split.pixels(sample), np.float32), split.labels[sample]
